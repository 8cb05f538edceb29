"""A deadline that the protocol only assumes makes no party late; a sourced or adopted one does."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from api.notifying.notices import OwedNotice, notices
from api.notifying.subscriptions import Subscription
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import (
    Accountability,
    Protocol,
    WithdrawalTerms,
    shipped_protocol,
    with_assumptions_adopted,
)
from ledger.procedure.protocol_changes import changes
from ledger.procedure.withdrawals import Withdrawal
from ledger.vocabulary.coordination import CaseClosed, InformationRequested
from ledger.vocabulary.erasure import ErasureProposed
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, Danger, ErasureGround, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.sharing import BreakGlassOpened
from projections.folds.expected_steps import expected_steps
from projections.folds.obligation_terms import ObligationKind
from projections.folds.obligations import Obligation, obligations
from projections.reports.accountability import overdue
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

SHIPPED = shipped_protocol()
NEVER = START + timedelta(days=5000)


def marked(standing: Standing | None) -> Protocol:
    """Return the shipped text with one mark on every deadline."""
    mark = {"standing": standing, "source": "A published text"}
    expected = tuple(one.model_copy(update=mark) for one in SHIPPED.expected)
    terms = Accountability(review_days=3, erasure_days=7, **mark)
    return SHIPPED.model_copy(update={"expected": expected, "accountability": terms})


def case_under(protocol: Protocol) -> RecordedCase:
    case = RecordedCase(Agencies(protocol), second_persons=Agencies(protocol))
    case.take("xk-dhtqnj", opening(("XK", "ME")))
    case.take(
        "xk-nac",
        BreakGlassOpened(
            acted_at=START + timedelta(days=1),
            danger=Danger.THREAT_TO_LIFE,
            groups=(FieldGroup.IDENTITY,),
            until=START + timedelta(days=1, hours=12),
        ),
    )
    return case


def owed_under(protocol: Protocol) -> list[Obligation]:
    case = case_under(protocol)
    return list(obligations(case.acts, Agreement.of(protocol)).by_id.values())


@pytest.mark.parametrize("standing", [Standing.SOURCE, Standing.ADOPTED, None])
def test_a_deadline_with_authority_makes_late(standing: Standing | None) -> None:
    found = owed_under(marked(standing))
    late = {one.action for one in overdue(found, NEVER)}
    assert {"guardian_appointed", "risk_assessed", "break_glass_reviewed"} <= late
    assert all(one.expected_by is None for one in found)
    assert {one.standing for one in found if one.due is not None} == {standing}


def test_an_assumed_deadline_is_shown_and_makes_nobody_late() -> None:
    found = owed_under(marked(Standing.ASSUMPTION))
    assert overdue(found, NEVER) == []
    by_action = {one.action: one for one in found}
    for action, days in (("guardian_appointed", 1), ("risk_assessed", 1)):
        one = by_action[action]
        assert (one.due, one.expected_by) == (None, START + timedelta(days=days))
        assert one.standing is Standing.ASSUMPTION
    review = by_action["break_glass_reviewed"]
    assert (review.due, review.expected_by) == (None, START + timedelta(days=1 + 3))


def test_the_shipped_text_reports_no_state_late_until_its_parties_adopt_it() -> None:
    assert overdue(owed_under(SHIPPED), NEVER) == []
    assert overdue(owed_under(with_assumptions_adopted(SHIPPED)), NEVER) != []
    case = case_under(SHIPPED)
    assert case.case is not None
    assert case.case.state is not None
    for step in expected_steps(
        case.case.state, Agreement.of(SHIPPED), {a.id: a for a in case.acts}
    ):
        assert step.due is None


def test_no_e_mail_tells_of_an_assumed_deadline() -> None:
    subscription = Subscription("xk-csw-prishtina", email="desk@example.org")
    for protocol, some in ((SHIPPED, False), (with_assumptions_adopted(SHIPPED), True)):
        owed = [
            OwedNotice(one, one.due, ("XK", "ME"))
            for one in owed_under(protocol)
            if one.due is not None
        ]
        now = START + timedelta(days=10)
        told = list(notices(owed, [subscription], protocol, now, timedelta(days=2)))
        assert bool(told) is some


def marks_of(protocol: Protocol) -> Iterator[tuple[str, Any]]:
    for name in ("expected", "duties", "retention"):
        for part in getattr(protocol, name):
            yield name, part
    for name in ("accountability", "withdrawal", "person_record", "quorum"):
        if (part := getattr(protocol, name)) is not None:
            yield name, part


def test_every_deadline_and_duty_of_the_shipped_text_says_what_it_stands_on() -> None:
    for name, part in marks_of(SHIPPED):
        assert part.standing is not None, (name, part)
        assert part.standing is not Standing.ADOPTED, "no party has signed anything yet"


def test_a_source_is_named() -> None:
    with pytest.raises(ValidationError, match="needs a source"):
        Accountability(standing=Standing.SOURCE)


def test_the_change_of_a_mark_is_a_change_of_the_text() -> None:
    found = changes(SHIPPED, with_assumptions_adopted(SHIPPED))
    assert {one.id for one in found} == {"standing", "form_changed"}
    marks = [one.values for one in found if one.id == "standing"]
    assert {(one["before"], one["after"]) for one in marks} == {("assumption", "adopted")}


def with_mark(name: str, standing: Standing) -> Protocol:
    part = getattr(SHIPPED, name)
    return SHIPPED.model_copy(update={name: part.model_copy(update={"standing": standing})})


def test_no_assumption_makes_a_country_late_when_a_child_comes_of_age() -> None:
    for standing in (Standing.ASSUMPTION, Standing.ADOPTED):
        protocol = with_mark("person_record", standing)
        case = RecordedCase(Agencies(protocol))
        case.take("xk-dhtqnj", opening(("XK", "ME"), of_age_from=date(2026, 7, 1)))
        found = obligations(case.acts, Agreement.of(protocol)).by_id.values()
        of_age = [one for one in found if one.kind is ObligationKind.COMING_OF_AGE]
        assert of_age
        assert {one.standing for one in of_age} == {standing}
        late = {one.kind for one in overdue(of_age, NEVER)}
        assert bool(late) is (standing is Standing.ADOPTED)
        assert all((one.due is None) is (one.expected_by is not None) for one in of_age)


def test_terms_that_no_text_has_are_assumed() -> None:
    bare = SHIPPED.model_copy(update={"withdrawal": None, "accountability": None})
    for terms in (bare.withdrawal_terms, bare.accountability_terms):
        assert terms.standing is Standing.ASSUMPTION
    earlier = bare.model_copy(update={"edition": 1})
    assert earlier.withdrawal_terms.standing is None


def awaited(protocol: Protocol) -> list[Obligation]:
    """Return the approvals that a proposed erasure waits for."""
    case = RecordedCase(Agencies(protocol))
    case.take("xk-dhtqnj", opening(("XK", "ME")))
    closed = CaseClosed(acted_at=START + timedelta(days=1), reason=ClosureReason.LOST_CONTACT)
    case.take("xk-nac", closed)
    ground = ErasureGround.PERSONS_REQUEST
    case.take("xk-nac", ErasureProposed(acted_at=START + timedelta(days=2), ground=ground))
    found = obligations(case.acts, Agreement.of(protocol)).by_id.values()
    return [one for one in found if one.kind is ObligationKind.APPROVAL]


def test_an_approval_is_late_only_by_a_period_that_the_parties_adopted() -> None:
    adopted = with_assumptions_adopted(SHIPPED)
    terms = adopted.accountability_terms.model_copy(update={"approval_days": None})
    without = adopted.model_copy(update={"accountability": terms})
    for protocol, is_late in ((SHIPPED, False), (adopted, True), (without, False)):
        owed = awaited(protocol)
        assert {one.debtor for one in owed} == {"XK", "ME"}
        assert bool(overdue(owed, NEVER)) is is_late
        assert all(one.expected_by is not None for one in owed) is not is_late


def left(protocol: Protocol, later: Protocol | None = None) -> Obligation:
    """Return the erasure that Albania owes, which left; the others then adopted ``later``."""
    case = RecordedCase(Agencies(protocol))
    case.take("xk-dhtqnj", opening(("XK", "AL")))
    leaves = Withdrawal(UUID(int=1), "AL", START.date() + timedelta(days=100), "al-nac", 1, START)
    agreement = Agreement.of(protocol).with_withdrawals((leaves,))
    if later is not None:
        day = START + timedelta(days=200)
        agreement = agreement.followed_by(ProtocolVersion(later, 4, day))
    risk = RiskAssessed(acted_at=START + timedelta(days=300), risk_level=RiskLevel.HIGH)
    case.take("xk-dhtqnj", risk)
    found = obligations(case.acts, agreement).by_id.values()
    (one,) = (one for one in found if one.kind is ObligationKind.ERASURE)
    return one


def test_a_party_that_left_is_late_by_no_assumption_and_by_no_later_text() -> None:
    bare = SHIPPED.model_copy(update={"withdrawal": None})
    owed = left(bare)
    assert (owed.due, owed.standing) == (None, Standing.ASSUMPTION)
    assert overdue([owed], NEVER) == []
    terms = WithdrawalTerms(erase_within_days=30, standing=Standing.ADOPTED)
    adopted = SHIPPED.model_copy(update={"withdrawal": terms})
    stricter = terms.model_copy(update={"erase_within_days": 1})
    later = adopted.model_copy(update={"withdrawal": stricter, "version": 2})
    assert left(adopted, later).due == left(adopted).due


def amended(within_days: int, standing: Standing, *, to_open: bool = True) -> Protocol:
    """Return the shipped text with another deadline for the assessment of risks."""
    expected = tuple(
        one.model_copy(
            update={"within_days": within_days, "standing": standing, "applies_to_open": to_open}
        )
        if one.action == "risk_assessed"
        else one
        for one in SHIPPED.expected
    )
    return SHIPPED.model_copy(update={"expected": expected})


def risk_of(*versions: tuple[Protocol, timedelta]) -> Obligation:
    """Return the assessment of risks that a case owes, opened under the first version."""
    first, *others = versions
    case = RecordedCase(Agencies(first[0]))
    case.take("xk-dhtqnj", opening(("XK", "ME")))
    agreement = Agreement.of(first[0])
    for number, (text, after) in enumerate(others, start=2):
        numbered = text.model_copy(update={"version": number})
        agreement = agreement.followed_by(ProtocolVersion(numbered, 3, START + after))
    request = InformationRequested(
        acted_at=START + timedelta(days=90),
        addressee="me-nac",
        topics=("family",),
        purpose="protection",
    )
    case.take("xk-nac", request)
    found = obligations(case.acts, agreement).by_id.values()
    (one,) = (one for one in found if one.action == "risk_assessed")
    return one


DAY = timedelta(days=1)
ADOPTED_ON = 60 * DAY


def test_a_deadline_that_is_adopted_today_counts_from_its_adoption() -> None:
    """No step of the past is late by a text that applies to open cases."""
    assumed = amended(2, Standing.ASSUMPTION, to_open=False)
    adopted = amended(2, Standing.ADOPTED)
    alone = risk_of((assumed, DAY))
    assert (alone.due, alone.expected_by) == (None, START + 2 * DAY)
    now = risk_of((assumed, DAY), (adopted, ADOPTED_ON))
    assert (now.due, now.standing) == (START + ADOPTED_ON + 2 * DAY, Standing.ADOPTED)
    # A later text that leaves the deadline as it is does not let the days begin anew.
    renamed = adopted.model_copy(update={"title": "Another title"})
    again = risk_of((assumed, DAY), (adopted, ADOPTED_ON), (renamed, 80 * DAY))
    assert again.due == START + ADOPTED_ON + 2 * DAY
    # Neither does one that applies to new steps alone: the step keeps what it had.
    new_alone = amended(1, Standing.ADOPTED, to_open=False)
    kept = risk_of((assumed, DAY), (adopted, ADOPTED_ON), (new_alone, 80 * DAY))
    assert kept.due == START + ADOPTED_ON + 2 * DAY


def test_a_deadline_that_no_version_changed_counts_from_the_beginning() -> None:
    adopted = amended(2, Standing.ADOPTED)
    renamed = adopted.model_copy(update={"title": "Another title"})
    assert risk_of((adopted, DAY), (renamed, ADOPTED_ON)).due == START + 2 * DAY
    old = risk_of((adopted, DAY), (amended(1, Standing.ADOPTED, to_open=False), ADOPTED_ON))
    assert old.due == START + 2 * DAY
