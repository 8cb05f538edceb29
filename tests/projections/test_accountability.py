"""Response times, what is overdue, and who owes whom: whole numbers of rows and a moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.folds.obligation_terms import (
    Dimension,
    ObligationKind,
    ObligationOutcome,
    ObligationState,
)
from projections.folds.obligations import Deed, Obligation
from projections.reports.accountability import (
    Debt,
    ObligationStanding,
    overdue,
    reciprocity,
    response_times,
    tally,
)

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = START + 365 * DAY

DEBTS = st.builds(
    lambda kind, debtor, agency, creditors, opened, due, lasted, lapsed: debt(
        kind,
        debtor,
        agency,
        tuple(c for c in creditors if c != debtor),
        opened,
        due,
        lasted,
        lapsed,
    ),
    st.sampled_from(ObligationKind),
    st.sampled_from(("XK", "ME", "AL", None)),
    st.sampled_from((None, "xk-nac", "me-nac")),
    st.sets(st.sampled_from(("XK", "ME", "AL"))),
    st.integers(0, 400),
    st.none() | st.integers(0, 30),
    st.none() | st.integers(0, 60),
    st.booleans(),
)


def debt(
    kind: ObligationKind = ObligationKind.ANSWER,
    debtor: str | None = "ME",
    agency: str | None = "me-nac",
    creditors: tuple[str, ...] = ("XK",),
    opened: int = 0,
    due: int | None = 7,
    lasted: int | None = None,
    lapsed: bool = False,
) -> Debt:
    """One that was opened, was due and was closed after so many days."""
    opened_at = START + opened * DAY
    state = ObligationState.OPEN
    if lasted is not None:
        state = ObligationState.LAPSED if lapsed else ObligationState.DISCHARGED
    judged = state is ObligationState.DISCHARGED and due is not None
    return Debt(
        kind=kind,
        debtor=debtor,
        agency=agency,
        creditors=creditors,
        opened_at=opened_at,
        due=None if due is None else opened_at + due * DAY,
        closed_at=None if lasted is None else opened_at + lasted * DAY,
        state=state,
        late=(lasted or 0) > (due or 0) if judged else None,
    )


@pytest.mark.parametrize(
    ("days", "standing"),
    [
        (-1, None),
        (0, ObligationStanding.OPEN),
        (7, ObligationStanding.OPEN),
        (8, ObligationStanding.OVERDUE),
        (9, ObligationStanding.LATE),
    ],
)
def test_how_one_stands_is_asked_of_a_moment(
    days: int, standing: ObligationStanding | None
) -> None:
    assert debt(lasted=9).standing(START + days * DAY) is standing


def test_what_nobody_can_do_any_more_makes_nobody_late() -> None:
    """The agreement to an error closing counts until its day."""
    agreement = replace(debt(lasted=None), action="error_closing_accepted")
    assert agreement.standing(START + 7 * DAY) is ObligationStanding.OPEN
    assert agreement.standing(START + 8 * DAY) is ObligationStanding.LAPSED


def test_how_one_stands_in_the_end() -> None:
    assert debt(lasted=7).standing(LATER) is ObligationStanding.ON_TIME
    assert debt(lasted=7, due=None).standing(LATER) is ObligationStanding.UNDATED
    assert debt(lasted=7, lapsed=True).standing(LATER) is ObligationStanding.LAPSED
    assert debt().standing(LATER) is ObligationStanding.OVERDUE
    assert debt(due=None).standing(LATER) is ObligationStanding.OPEN


def test_quantiles_are_times_that_were() -> None:
    debts = [debt(lasted=days) for days in (10, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    debts += [debt(), debt(due=None), debt(lasted=90, lapsed=True), debt(debtor="XK", lasted=1)]
    xk, me = sorted(response_times(debts, LATER), key=lambda t: t.country != "XK")
    assert (me.country, me.agency, me.kind) == ("ME", None, ObligationKind.ANSWER)
    assert (me.owed, me.on_time, me.late, me.undated) == (13, 7, 3, 0)
    assert (me.open, me.overdue, me.lapsed) == (1, 1, 1)
    day = 86400
    assert (me.median_seconds, me.p90_seconds, me.max_seconds) == (5 * day, 9 * day, 10 * day)
    assert me.share_on_time == 7000 // 11  # of the eleven that were due
    assert (xk.country, xk.median_seconds, xk.share_on_time) == ("XK", day, 1000)


def test_what_any_may_do_is_no_countrys() -> None:
    (times,) = response_times([debt(debtor=None, agency=None)], LATER, tuple(Dimension))
    assert (times.country, times.agency, times.share_on_time) == ("any", "any", 0)
    assert times.median_seconds is None


def test_what_was_signed_as_done_before_it_was_asked_took_no_time() -> None:
    early = replace(debt(), state=ObligationState.DISCHARGED, closed_at=START - DAY, late=False)
    (times,) = response_times([early], LATER)
    assert times.max_seconds == 0


def test_a_balance_has_two_directions() -> None:
    debts = [
        debt(lasted=1),
        debt(lasted=9),
        debt(debtor="XK", agency="xk-nac", creditors=("ME", "AL")),
        debt(debtor="ME", creditors=("ME",)),  # within a country
        debt(debtor=None, creditors=()),
    ]
    al_me, al_xk, me_xk = reciprocity(debts, LATER, ("XK", "ME", "AL"))
    assert me_xk.countries == ("ME", "XK")
    assert me_xk.first_owes == tally([ObligationStanding.ON_TIME, ObligationStanding.LATE])
    assert me_xk.second_owes == tally([ObligationStanding.OVERDUE])
    assert (al_xk.first_owes.owed, al_xk.second_owes.overdue) == (0, 1)
    assert al_me.first_owes == al_me.second_owes == tally([])


@given(st.lists(DEBTS, max_size=30), st.integers(0, 500))
def test_every_one_is_counted_once(debts: list[Debt], days: int) -> None:
    moment = START + days * DAY
    opened = [one for one in debts if one.opened_at <= moment]
    for by in ((), (Dimension.KIND,), (Dimension.COUNTRY, Dimension.AGENCY, Dimension.KIND)):
        groups = response_times(debts, moment, by)
        assert sum(group.owed for group in groups) == len(opened)
        for group in groups:
            parts = (group.on_time, group.late, group.undated)
            assert group.owed == sum(parts) + group.open + group.overdue + group.lapsed
            if group.max_seconds is None:
                assert sum(parts) == 0
            else:
                assert group.median_seconds is not None
                assert group.p90_seconds is not None
                assert 0 <= group.median_seconds <= group.p90_seconds <= group.max_seconds
            assert group.share_on_time is None or 0 <= group.share_on_time <= 1000
    balances = reciprocity(debts, moment, ("XK", "ME", "AL"))
    assert len(balances) == 3
    between = [one for one in opened if one.debtor is not None]
    assert sum(b.first_owes.owed + b.second_owes.owed for b in balances) == sum(
        len(one.creditors) for one in between
    )
    assert reciprocity(debts[::-1], moment, ("AL", "ME", "XK")) == balances


def obligation(due: datetime | None, outcome: ObligationOutcome | None = None) -> Obligation:
    deed = Deed(
        position=1,
        action=uuid4(),
        kind="information_requested",
        agency="xk-nac",
        party="XK",
        acted_at=START,
        recorded_at=START,
    )
    done = outcome in (ObligationOutcome.DONE, ObligationOutcome.DECLINED)
    lapsed = ObligationState.DISCHARGED if done else ObligationState.LAPSED
    return Obligation(
        id=uuid4(),
        case_id=uuid4(),
        kind=ObligationKind.ANSWER,
        action="information_provided",
        debtor="ME",
        creditors=("XK",),
        opened=deed,
        due=due,
        state=ObligationState.OPEN if outcome is None else lapsed,
        outcome=outcome,
        closed=None if outcome is None else deed,
    )


def test_the_longest_overdue_is_the_first() -> None:
    late = [obligation(START + days * DAY) for days in (3, 1, 2)]
    others = [
        obligation(None),
        obligation(START + 20 * DAY),
        obligation(START, ObligationOutcome.DONE),
        obligation(START, ObligationOutcome.CASE_CLOSED),
    ]
    found = overdue([*others, *late], START + 10 * DAY)
    assert found == [late[1], late[2], late[0]]
    assert overdue(late, START) == []


def test_what_was_annulled_was_never_owed() -> None:
    assert Debt.of(obligation(START, ObligationOutcome.ANNULLED)) is None
    known = Debt.of(obligation(START, ObligationOutcome.CASE_CLOSED))
    assert known is not None
    assert known.standing(LATER) is ObligationStanding.LAPSED
