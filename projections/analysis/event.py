"""One recorded action as an analyst's view folds it: frozen, typed, and of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

Plain = tuple[Any, ...]
"""An event's values in the order of its fields, in which nothing is frozen."""


@dataclass(frozen=True, slots=True)
class Event:
    """One recorded action. Nothing of it can be changed."""

    position: int
    recorded_at: datetime
    acted_at: datetime
    signed_at: datetime
    action_id: str
    case_id: str | None
    """``None`` for acts on the protocol itself."""
    case_version: int
    agency: str
    party: str
    role: str
    kind: str
    stage: str
    signing_key: str
    schema_version: int
    fields: Mapping[str, Any]
    """The action's own ``ledger`` fields that are set: texts, numbers, dates, times, tuples."""


_NAMES = tuple(Event.__dataclass_fields__)


def plain(event: Event) -> Plain:
    """Return an event's values, to be given to another process."""
    return tuple(_thawed(getattr(event, name)) for name in _NAMES)


def from_plain(values: Plain) -> Event:
    """Return the event of the values that :func:`plain` returned."""
    named = dict(zip(_NAMES, values, strict=True))
    return Event(**(named | {"fields": frozen(named["fields"])}))


def frozen(value: Any) -> Any:
    """Return a copy of a value in which no list or mapping can be changed."""
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return MappingProxyType({name: frozen(part) for name, part in value.items()})
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)  # whatever object stands for that zone
    if isinstance(value, tuple):
        return tuple(_thawed(item) for item in value)
    if isinstance(value, MappingProxyType):
        return {name: _thawed(part) for name, part in value.items()}
    return value
