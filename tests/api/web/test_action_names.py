"""A row of a case says which service, state or measure it is about, in the reader's language."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import JsonValue

from api.paper.languages.found import shipped
from api.paper.subject_access.wording import wording
from api.web.action_names import Recorded, action_names
from api.web.case_text import with_title
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    InvestigationState,
    ProtectionMeasureKind,
    ServiceEnd,
    ServiceKind,
)

EARLIER, LATER = UUID(int=1), UUID(int=2)


def one(number: int, kind: str, **fields: Any) -> Recorded:
    return Recorded(UUID(int=number), kind, fields)


def name_of(*actions: Recorded, language: str = "en") -> str:
    """Return the name of the last of some actions."""
    return action_names(actions, wording(language))[actions[-1].id]


@pytest.mark.parametrize("language", shipped())
def test_a_row_has_the_value_that_tells_it_from_its_like(language: str) -> None:
    words = wording(language)
    for kind, field, value in (
        ("service_started", "service", ServiceKind.PSYCHOSOCIAL),
        ("investigated", "state", InvestigationState.OPENED),
        ("protection_measure_taken", "measure", next(iter(ProtectionMeasureKind))),
    ):
        said = name_of(one(1, kind, **{field: value.value}), language=language)
        assert said == f"{words.kind(kind)}: {words.picked(value)}"
    said = name_of(one(1, "return_decided", destination="ME"), language=language)
    assert said == f"{words.kind('return_decided')}: {words.country('ME')}"


def test_the_end_of_a_service_names_the_service() -> None:
    words = wording("en")
    started = one(1, "service_started", service=ServiceKind.PSYCHOSOCIAL.value)
    ended = one(2, "service_ended", service_action=str(EARLIER), reason=next(iter(ServiceEnd)))
    service, reason = words.picked(ServiceKind.PSYCHOSOCIAL), words.picked(next(iter(ServiceEnd)))
    assert name_of(started, ended) == f"{words.kind('service_ended')}: {service}, {reason}"
    effect = next(iter(CorrectionEffect))
    corrected = one(3, "correction", corrects=str(LATER), effect=effect.value)
    assert name_of(started, ended, corrected).endswith(f": {service}, {words.picked(effect)}")
    lifted = one(2, "protection_measure_ended", measure_action=str(EARLIER))
    assert name_of(lifted) == words.kind("protection_measure_ended"), "of an unknown action"
    itself = one(1, "service_ended", service_action=str(EARLIER))
    assert name_of(itself) == words.kind("service_ended"), "of itself"


def test_a_long_list_is_cut_and_counted() -> None:
    kinds = [value.value for value in ServiceKind][:5]
    said = name_of(one(1, "death_notified", notified=kinds))
    assert said.endswith(" +3")


def test_a_row_without_such_a_value_is_the_kind_alone() -> None:
    words = wording("en")
    assert name_of(one(1, "charged")) == words.kind("charged")
    assert name_of(one(1, "cases_linked", told=["XK", "ME"])) == words.kind("cases_linked")
    assert name_of(one(1, "not_understood")) == words.kind("not_understood")


def test_who_decided_is_not_the_subject_of_a_decision() -> None:
    said = name_of(one(1, "refusal_recorded", refused_by="person", subject="identification"))
    assert "refus" in said.lower()
    by = name_of(one(1, "appeal_filed", filed_by="prosecutor"))
    assert by != wording("en").kind("appeal_filed"), "if nothing else tells it"


def test_a_released_field_is_told_by_its_action_and_a_document_by_its_title() -> None:
    """Neither a page nor a paper shows a person the digests that were signed."""
    action = EARLIER
    released: JsonValue = {"action": str(action), "digests": ["A" * 43, "B" * 43]}
    named = {str(action): "3. Identity recorded"}
    told = wording("en").value("information_released", "released", [released], named)
    assert told == ("3. Identity recorded (fields: 2)",)
    disclosed: JsonValue = {"title": "Letter\u202efdp"}
    assert with_title("Document added", {"case_document": disclosed}) == (
        "Document added: Letter[U+202E]fdp"
    )
    assert with_title("Document added", {"case_document": None}) == "Document added"
