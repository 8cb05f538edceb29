"""The parts that a program needs to read a protocol's text, and the nodes that read it already."""

import enum
import types
import typing
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from ledger.procedure import text_parts
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.text_parts import names_nothing_new
from tests.support.parties import auditor_script

TEXT = text_of(shipped_protocol())
ROLE = next(iter(TEXT["access"]))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_text_parts")


def picked_of(annotation: Any, place: str = "") -> Iterator[str]:
    """Yield each place of the model whose values, or names, are of a list that the program has."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        yield from picked_of(inner[0], place)
    elif origin is typing.Literal:
        yield place
    elif origin in (typing.Union, types.UnionType, tuple, list):
        for one in inner:
            yield from picked_of(one, place)
    elif origin in (dict, Mapping):
        yield from (f"{place}{{}}" for _ in picked_of(inner[0], place))
        yield from picked_of(inner[1], f"{place}.*")
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        yield place
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from picked_of(field.annotation, f"{place}.{name}".lstrip("."))


def test_no_part_with_a_list_of_values_counts_as_free(script: ModuleType) -> None:
    found = set(picked_of(Protocol))
    values = {one for one in found if not one.endswith("{}")}
    assert "access.*.*" in values
    assert values.isdisjoint(text_parts._FREE)
    assert [one for one in values if one.startswith(text_parts._FREE_BELOW)] == []
    names = {one.removesuffix("{}") for one in found if one.endswith("{}")}
    assert names <= text_parts._KEYED_BY_LIST
    assert names.isdisjoint(text_parts._KEYED_BY_DATA)
    assert (script.FREE, script.FREE_BELOW) == (text_parts._FREE, text_parts._FREE_BELOW)
    assert script.KEYED_BY_LIST == text_parts._KEYED_BY_LIST
    assert script.KEYED_BY_DATA == text_parts._KEYED_BY_DATA


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        ({"title": "Another"}, False),
        ({"roles": TEXT["roles"] | {"of_tomorrow": "A role"}}, False),
        ({"access": TEXT["access"] | {"of_tomorrow": TEXT["access"][ROLE]}}, False),
        ({"edition": 1}, False),
        ({"edition": 99}, True),
        ({"edition": "2"}, True),
        ({"of_tomorrow": []}, True),
        ({"actions": TEXT["actions"] | {"of_tomorrow": {"roles": []}}}, True),
        ({"access": {ROLE: {"of_tomorrow": []}}}, True),
        ({"access": {ROLE: {"read": ["of_tomorrow"]}}}, True),
        ({"parties": [TEXT["parties"][0] | {"of_tomorrow": 1}]}, True),
    ],
    ids=str,
)
def test_a_text_names_something_new_or_nothing(
    script: ModuleType, change: dict[str, Any], *, is_new: bool
) -> None:
    text = TEXT | change
    assert names_nothing_new(text, [TEXT]) is not is_new
    assert script.names_nothing_new(text, [TEXT]) is not is_new
    assert names_nothing_new(text, [TEXT, text | {"edition": TEXT["edition"]}]) is not (
        is_new and "edition" in change
    )
