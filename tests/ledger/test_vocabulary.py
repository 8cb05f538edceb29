"""The vocabulary's promises: every field has a level, and the ledger carries no free text."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, Action
from ledger.vocabulary.action import ledger_part
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import AgeGroup, Stage

CLOSED_FORMATS = {"date", "date-time", "uuid"}


def open_strings(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every part of a JSON schema that would admit free text or an open object."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    for option in schema.get("anyOf", []):
        yield from open_strings(option, definitions)
    if "items" in schema:
        yield from open_strings(schema["items"], definitions)
    closed_object = schema.get("additionalProperties") is False
    if closed_object:
        for field in schema["properties"].values():
            yield from open_strings(field, definitions)
    closed = (
        closed_object
        or "enum" in schema
        or "const" in schema
        or "pattern" in schema
        or schema.get("format") in CLOSED_FORMATS
    )
    if schema.get("type") in ("string", "object") and not closed:
        yield schema


@pytest.mark.parametrize("model", CASE_ACTIONS.values(), ids=CASE_ACTIONS.keys())
def test_ledger_fields_cannot_carry_free_text(model: type[Action]) -> None:
    schema = ledger_part(model).model_json_schema()
    for name, field in schema["properties"].items():
        assert not list(open_strings(field, schema.get("$defs", {}))), f"{model.kind}.{name}"


def test_the_free_text_test_itself_finds_free_text() -> None:
    assert list(open_strings(CaseOpened.model_json_schema()["properties"]["address"], {}))


def test_a_field_without_a_level_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="declares no field level"):

        class Careless(Action):
            kind = "careless"
            stage = Stage.COORDINATION
            note: str


def test_all_five_stages_and_coordination_have_actions() -> None:
    assert {m.stage for m in CASE_ACTIONS.values()} == set(Stage)


def test_case_and_personal_values_are_not_among_the_ledger_claims() -> None:
    action = CaseOpened(
        acted_at=datetime(2025, 12, 3, 10, tzinfo=UTC),
        age_group=AgeGroup.CHILD,
        countries=("XK",),
        ground="police_action",
        indicators=("unaccompanied_child",),
        first_name="Marker",
    )
    assert "Marker" not in str(action.ledger_claims())
    assert action.disclosable_claims()["first_name"] == "Marker"
    assert action.ledger_claims()["acted_at"] == "2025-12-03T10:00:00Z"
    ledger_part(CaseOpened).model_validate(action.ledger_claims())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"countries": ["ZZ"]}, "ISO 3166"),
        ({"acted_at": "2025-12-03T10:00:00"}, "timezone"),
        ({"first_name": "in the clear"}, "Extra inputs"),
        ({"age_group": "minor"}, "child"),
    ],
)
def test_bad_ledger_claims_are_refused(change: dict[str, object], complaint: str) -> None:
    claims: dict[str, object] = {
        "acted_at": "2025-12-03T10:00:00Z",
        "age_group": "child",
        "countries": ["XK"],
    }
    with pytest.raises(ValidationError, match=complaint):
        ledger_part(CaseOpened).model_validate({**claims, **change})


def test_models_are_frozen_everywhere() -> None:
    for model in ALL_ACTIONS.values():
        assert issubclass(model, BaseModel)
        assert model.model_config["frozen"] is True
