"""Whom a case waits for, and until when: an agency's list shows the step that is due first."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

from ledger.procedure.protocol import shipped_protocol
from projections.folds.due_index import UNDATED, waiting
from projections.folds.expected_steps import ExpectedStep

PROTOCOL = shipped_protocol()
FIRST = datetime(2026, 2, 1, 23, tzinfo=UTC)


def answer(agency: str, due: datetime | None) -> ExpectedStep:
    return ExpectedStep(
        action="information_provided", party=agency[:2].upper(), agency=agency, due=due
    )


def test_an_agency_that_owes_two_answers_stands_by_the_earlier_one() -> None:
    owed = [answer("me-nac", due) for due in (FIRST, FIRST + timedelta(days=9), None)]
    for steps in permutations(owed):
        found = waiting(steps, "ME", PROTOCOL)
        assert (found.next_due, found.until) == (FIRST, {"me-nac": FIRST})


def test_each_agency_and_role_has_its_own_first_date() -> None:
    later = FIRST + timedelta(days=3)
    by_role = ExpectedStep(
        action="risk_assessed", party=None, roles=("police", "shelter"), due=FIRST
    )
    steps = (answer("me-nac", later), answer("me-police-thb", None), by_role)
    for ordered in permutations(steps):
        found = waiting(ordered, "ME", PROTOCOL)
        assert found.next_due == FIRST
        assert found.until == {
            "me-nac": later, "me-police-thb": UNDATED, "police": FIRST, "shelter": FIRST
        }  # fmt: skip


def test_another_countrys_steps_are_not_waited_for() -> None:
    found = waiting([answer("al-nac", FIRST)], "ME", PROTOCOL)
    assert (found.next_due, dict(found.until)) == (None, {})
