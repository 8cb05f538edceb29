"""A deadline that the protocol only assumes makes no party late; a sourced or adopted one does."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from api.notifying.notices import OwedNotice, notices
from api.notifying.subscriptions import Subscription
from ledger.procedure.agreement import Agreement
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import (
    Accountability,
    Protocol,
    shipped_protocol,
    with_assumptions_adopted,
)
from ledger.procedure.protocol_changes import changes
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Danger
from ledger.vocabulary.sharing import BreakGlassOpened
from projections.folds.expected_steps import expected_steps
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
