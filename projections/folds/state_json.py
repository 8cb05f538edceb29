"""Frozen models as JSON documents, each made of the one before it where that is at hand.

The result is that of ``model_dump(mode="json")``, without writing parts again that did not change:
a fold leaves most of a state as it was, and those parts are the same objects.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from ledger.procedure.case_state import CaseState
from ledger.vocabulary.types import format_utc

Document = dict[str, Any]

_OWN_COLUMNS = frozenset({"version", "position", "last_recorded_at"})
"""Parts of the state that every event changes and every entry carries anyway."""
STATE_FIELDS = tuple(name for name in CaseState.model_fields if name not in _OWN_COLUMNS)
"""The other parts, which a state's document has."""


def document(model: BaseModel) -> Document:
    """Return the model's fields as JSON values."""
    values = model.__dict__
    return {name: json_value(values[name]) for name in type(model).model_fields}


def json_value(value: Any) -> Any:
    """Return the JSON value of a value of a type that models use.

    Raises ``TypeError`` if the value has another type.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        write = _writer(value)
        _WRITERS[type(value)] = write
    return write(value)


def following(state: CaseState, before: CaseState, of_before: Document) -> Document:
    """Return the document of ``state``, which shares unchanged parts with ``of_before``."""
    made: Document = {}
    new, old = state.__dict__, before.__dict__
    for name in STATE_FIELDS:
        value, previous = new[name], old[name]
        if value is previous:
            made[name] = of_before[name]
        elif type(value) is dict and type(previous) is dict:
            made[name] = _mapping_following(value, previous, of_before[name])
        else:
            made[name] = json_value(value)
    return made


def state_document(state: CaseState | None) -> Document:
    """Return a case's state as the audit trail shows it, which is empty before the opening."""
    if state is None:
        return {}
    values = state.__dict__
    return {name: json_value(values[name]) for name in STATE_FIELDS}


class StateDocuments:
    """The documents of the states that were asked for last, a case each."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept: OrderedDict[UUID, tuple[CaseState, Document]] = OrderedDict()

    def of(self, state: CaseState | None) -> Document:
        """Return the document of ``state``, which callers must not change."""
        if state is None:
            return {}
        known = self._kept.pop(state.case_id, None)
        if known is None:
            made = state_document(state)
        elif known[0] is state:
            made = known[1]
        else:
            made = following(state, *known)
        self._kept[state.case_id] = (state, made)
        if len(self._kept) > self._keep:
            self._kept.popitem(last=False)
        return made


def _mapping_following(
    value: Mapping[Any, Any], before: Mapping[Any, Any], of_before: Document
) -> Document:
    made: Document = {}
    for key, part in value.items():
        name = _key(key)
        made[name] = of_before[name] if before.get(key) is part else json_value(part)
    return made


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    return key if type(key) is str else str(json_value(key))


_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: _same,
    int: _same,
    float: _same,
    bool: _same,
    type(None): _same,
    datetime: format_utc,
    UUID: str,
}


def _writer(value: Any) -> Callable[[Any], Any]:
    """Return the function that writes values of this value's type.

    The function is found once for each type.
    """
    match value:
        case BaseModel():
            return document
        case Enum():
            return lambda member: member.value
        case Mapping():
            return lambda parts: {_key(key): json_value(part) for key, part in parts.items()}
        case list() | tuple():
            return lambda parts: [json_value(part) for part in parts]
    raise TypeError(f"{type(value).__name__} has no JSON value here")
