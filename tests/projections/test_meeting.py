"""The agenda of a sitting: its order, and what counts as discussed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import shipped_protocol
from ledger.vocabulary.picklists import CaseStatus, Priority
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.obligations import Obligation
from projections.tables.meeting import Meeting, SharedCase, agenda, next_case

AGREEMENT = Agreement.of(shipped_protocol())
BEGUN = datetime(2026, 6, 1, tzinfo=UTC)
SITTING = Meeting("XK", "ME", BEGUN)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def view(
    priority: Priority = Priority.NORMAL, status: CaseStatus = CaseStatus.ACTIVE, opened: int = 1
) -> CaseView:
    return CaseView.model_construct(
        case_id=uuid4(),
        priority=priority,
        status=status,
        opened_position=opened,
        parties=("XK", "ME"),
    )


def owed(case: CaseView, due: datetime | None, debtor: str = "XK") -> Obligation:
    return Obligation.model_construct(id=uuid4(), case_id=case.case_id, debtor=debtor, due=due)


def entry(
    case: CaseView, kind: str, at: datetime = BEGUN + HOUR, agency: str = "me-nac", **fields: Any
) -> TrailEntry:
    return TrailEntry.model_construct(
        case_id=case.case_id, action_id=uuid4(), kind=kind, agency=agency,
        party=agency[:2].upper(), acted_at=at, recorded_at=at, position=7, fields=fields,
    )  # fmt: skip


def met(case: CaseView, at: datetime = BEGUN + HOUR, *countries: str) -> TrailEntry:
    return entry(case, "meeting_held", at, countries=list(countries or ("XK", "ME")))


def told(cases: list[CaseView], owing: Any = (), entries: Any = ()) -> tuple[SharedCase, ...]:
    return agenda(SITTING, cases, owing, entries, AGREEMENT)


def ids(cases: tuple[SharedCase, ...]) -> list[UUID]:
    return [one.view.case_id for one in cases]


def test_priority_comes_first_then_what_is_longest_overdue_then_the_last_meeting() -> None:
    urgent, high, late, soon, long_ago, lately, never = order = [
        view(Priority.URGENT), view(Priority.HIGH), *(view(opened=n) for n in range(2, 7)),
    ]  # fmt: skip
    owing = [owed(soon, BEGUN + DAY), owed(late, BEGUN - DAY, "ME"), owed(late, BEGUN + 9 * DAY),
             owed(high, BEGUN + DAY), owed(lately, None)]  # fmt: skip
    entries = [met(long_ago, BEGUN - 90 * DAY), met(lately, BEGUN - DAY)]
    for cases in (order, order[::-1]):
        found = told(cases, owing, entries)
        assert ids(found) == [
            one.case_id for one in (urgent, high, late, soon, never, long_ago, lately)
        ]
    by_id = {one.view.case_id: one for one in found}
    assert by_id[lately.case_id].last_meeting == BEGUN - DAY
    assert not by_id[lately.case_id].discussed
    assert len(by_id[late.case_id].owed_by("XK")) == len(by_id[late.case_id].owed_by("ME")) == 1


def test_a_case_is_discussed_by_a_meeting_of_both_countries_in_this_sitting() -> None:
    cases = [view(opened=n) for n in range(1, 7)]
    both, before, alone, other, annulled, none = cases
    mistaken = met(annulled)
    entries = [
        met(both), met(before, BEGUN - HOUR), met(alone, BEGUN + HOUR, "XK"),
        met(other, BEGUN + HOUR, "ME", "AL"), mistaken,
        entry(annulled, "correction", corrects=str(mistaken.action_id), effect="annulled"),
        entry(none, "joint_action_agreed"),
    ]  # fmt: skip
    found = told(cases, (), entries)
    assert [one.view.case_id for one in found if one.discussed] == [both.case_id]
    assert [one.recorded for one in found if one.view is none] == [(entries[-1],)]


def test_a_clarified_meeting_stands() -> None:
    case = view()
    held = met(case)
    clarified = entry(case, "correction", corrects=str(held.action_id), effect="clarified")
    assert told([case], (), [held, clarified])[0].discussed


def test_what_others_record_that_day_is_no_part_of_the_sitting() -> None:
    case = view()
    by_court = entry(case, "case_prioritised", agency="xk-court-prishtina", priority="high")
    by_third = entry(case, "case_prioritised", agency="al-nac", priority="high")
    ours = entry(case, "case_prioritised", agency="xk-nac", priority="urgent")
    (found,) = told([case], (), [by_court, by_third, ours, met(case)])
    assert [one.agency for one in found.recorded] == ["xk-nac", "me-nac"]


def test_a_closed_case_is_there_for_what_was_said_of_it() -> None:
    said, unsaid = (view(status=CaseStatus.CLOSED) for _ in range(2))
    found = told([said, unsaid], (), [met(said), met(unsaid, BEGUN - DAY)])
    assert ids(found) == [said.case_id]
    assert next_case(found, uuid4()) is None


def test_the_next_case_is_the_one_below_and_then_from_the_top() -> None:
    cases = [view(opened=n) for n in range(1, 5)]
    found = told(cases, (), [met(cases[1])])
    for place, expected in enumerate((2, 2, 3, 0)):
        following = next_case(found, cases[place].case_id)
        assert following is not None
        assert following.view is cases[expected], place
    alone = told(cases[:1])
    assert next_case(alone, cases[0].case_id) is None
