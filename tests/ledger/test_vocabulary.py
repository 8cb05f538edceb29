"""The vocabulary's promises: every field has a level, and the ledger carries no free text."""

import enum
import types
import typing
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, Action
from ledger.vocabulary.action import OnLedger, ledger_part
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import AgeGroup, Stage

CODES = {"Country", "AgencyId"}


def leaf_types(annotation: object) -> set[object]:
    if typing.get_origin(annotation) is typing.Annotated:
        base, *metadata = typing.get_args(annotation)
        constrained = any(getattr(m, "pattern", None) for m in metadata)
        return {"pattern"} if base is str and constrained else leaf_types(base)
    args = [a for a in typing.get_args(annotation) if a not in (type(None), Ellipsis)]
    if typing.get_origin(annotation) in (tuple, types.UnionType, typing.Union):
        return set().union(*(leaf_types(a) for a in args))
    return {annotation}


@pytest.mark.parametrize("model", CASE_ACTIONS.values(), ids=CASE_ACTIONS.keys())
def test_ledger_fields_cannot_carry_free_text(model: type[Action]) -> None:
    for name in model.ledger_fields():
        field = model.model_fields[name]
        annotation = typing.cast("object", field.annotation)
        for item in field.metadata:
            annotation = typing.Annotated[annotation, item]
        for leaf in leaf_types(annotation):
            closed = leaf in ("pattern", UUID, date, datetime, bool) or (
                isinstance(leaf, type) and issubclass(leaf, enum.Enum)
            )
            assert closed, f"{model.kind}.{name}: {leaf}"


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
    assert OnLedger is not None
