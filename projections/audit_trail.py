"""The audit trail: who did what, when, and what it changed, before and after.

Folding the changes of a case's trail gives the case's state back: the trail is
complete, not a summary.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from ledger.case_state import CaseState
from ledger.event import ActionRecorded
from ledger.registry import Registry, SignatureState
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime, format_utc

_OWN_COLUMNS = ("version", "position", "last_recorded_at")
"""Parts of the state that every event changes and every entry carries anyway."""


class Change(LedgerModel):
    """One value of the case's state, before and after an event."""

    path: str
    """Where in the state, as a JSON Pointer (RFC 6901)."""
    before: JsonValue = None
    after: JsonValue = None


class TrailEntry(LedgerModel):
    """One event on the trail."""

    case_id: UUID
    version: int
    position: int
    action_id: UUID
    kind: str
    agency: str
    party: str
    acted_at: UtcDatetime
    signed_at: UtcDatetime
    recorded_at: UtcDatetime
    key_id: str
    signature: SignatureState
    fields: Mapping[str, JsonValue]
    """The action's ``ledger`` fields."""
    changes: tuple[Change, ...]
    """What it changed: the fewest values whose replacement gives the state after it."""


def trail_entry(
    event: ActionRecorded,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    registry: Registry,
) -> TrailEntry:
    """The entry of a recorded event, its signature verified again by ``registry``."""
    if event.position is None or event.recorded_at is None:
        raise ValueError("the event is not recorded yet")
    action = event.action
    agency = registry.protocol.agencies_by_id.get(action.agency)
    return TrailEntry(
        case_id=event.originator_id,
        version=event.originator_version,
        position=event.position,
        action_id=action.id,
        kind=action.kind,
        agency=action.agency,
        party=agency.party if agency is not None else "",
        acted_at=action.acted_at,
        signed_at=action.signed_at,
        recorded_at=event.recorded_at,
        key_id=action.key_id,
        signature=registry.signature_state(action, event.recorded_at),
        fields={k: v for k, v in action.fields.items() if k not in ("acted_at", "protocol")},
        changes=changes(before or {}, after),
    )


def state_document(state: CaseState | None) -> dict[str, Any]:
    """A case's state as the trail tells it. Empty before the case is opened."""
    if state is None:
        return {}
    document = state.model_dump(mode="json")
    return {key: value for key, value in document.items() if key not in _OWN_COLUMNS}


def registry_document(registry: Registry | None) -> dict[str, Any]:
    """The registry's state as the trail of the protocol tells it."""
    if registry is None:
        return {}
    return {
        "protocol": registry.protocol.id,
        "keys": {
            key.id: {
                "agency": key.agency,
                "valid_from": format_utc(key.valid_from),
                "valid_until": format_utc(key.valid_until),
                "revoked_at": _optional_utc(key.revoked_at),
                "compromised_since": _optional_utc(key.compromised_since),
            }
            for key in registry.keys.values()
        },
        "log_policy": str(registry.policies[-1].policy) if registry.policies else None,
        "log_policies_proposed": dict(registry.proposed),
        "readings": {
            party: {"entries": anchored.entries, "head": anchored.head.hex()}
            for party, anchored in registry.readings.items()
        },
        "country_keys": {party: key.id for party, key in registry.country_keys.items()},
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The differences of two JSON documents, objects compared member by member."""
    return tuple(_differences("", before, after))


def state_after(trail: Sequence[TrailEntry]) -> CaseState | None:
    """Fold a trail into the state of its case. Raises ``ValueError`` where it does not fit."""
    if not trail:
        return None
    document: dict[str, Any] = {}
    for entry in trail:
        for change in entry.changes:
            _apply(document, change)
    last = trail[-1]
    return CaseState.model_validate(
        document
        | {
            "version": last.version,
            "position": last.position,
            "last_recorded_at": last.recorded_at,
        }
    )


def _differences(path: str, before: Any, after: Any) -> Iterable[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from _differences(f"{path}/{name}", before.get(name), after.get(name))
        # An empty object that appears or goes is no member's change.
    elif before != after and not (before is None and after == {}):
        yield Change(path=path, before=before, after=after)


def _apply(document: dict[str, Any], change: Change) -> None:
    *parents, name = change.path.strip("/").split("/")
    target = document
    for parent in parents:
        target = target.setdefault(parent, {})
    if target.get(name) != change.before:
        raise ValueError(f"the trail does not hold together at {change.path}")
    if change.after is None:
        target.pop(name, None)
    else:
        target[name] = change.after


def _optional_utc(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)
