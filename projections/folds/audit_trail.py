"""The audit trail: which agency did what, when, and each changed value before and after.

Folding the changes of a case's trail gives the case's state back: the trail is complete, not a
summary.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field, JsonValue

from ledger.events.event import ActionRecorded
from ledger.procedure.case_state import CaseState
from ledger.procedure.registry import RegisteredKey, Registry, SignatureState
from ledger.signing.signed_action import Mark, signed_in_clear
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime, format_utc
from projections.folds.state_json import Document


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
    in_clear: Mapping[str, JsonValue] = {}
    """The ``case`` fields that an older version of the kind signed in the clear."""
    changes: tuple[Change, ...]
    """Its changes: the fewest values whose replacement gives the state after it."""
    approved_by: str | None = Field(default=None, exclude_if=lambda key: key is None)
    """The id of the key of the member who approved the action, where one did."""
    mark: Mark | None = Field(default=None, exclude_if=lambda mark: mark is None)
    """The marks on the form of the event (``signed_action.Mark``).

    A document has this member only where there is something to say. The kind of an event that is
    not understood is ``not_understood``. Its times are that of recording, and its agency is the
    one that it claims, or empty.
    """


def trail_document(
    event: ActionRecorded,
    registry: Registry,
    signature: SignatureState,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    mark: Mark | None,
) -> Document:
    """Return the :class:`TrailEntry` of a recorded event as its JSON document.

    ``before`` and ``after`` are the documents of the case, or of the registry, before and after the
    event. Raises ``ValueError`` if the event is not recorded yet.
    """
    if event.position is None or event.recorded_at is None:
        raise ValueError("the event is not recorded yet")
    action = event.action
    agency = registry.agreement.of_event(event).agencies_by_id.get(action.agency)
    document: Document = {
        "case_id": str(event.originator_id),
        "version": event.originator_version,
        "position": event.position,
        "action_id": str(action.id),
        "kind": action.kind,
        "agency": action.agency,
        "party": agency.party if agency is not None else "",
        "acted_at": format_utc(action.acted_at),
        "signed_at": format_utc(action.signed_at),
        "recorded_at": format_utc(event.recorded_at),
        "key_id": action.key_id,
        "signature": signature.value,
        "fields": {k: v for k, v in action.fields.items() if k not in ("acted_at", "protocol")},
        "in_clear": signed_in_clear(action),
        "changes": [
            {"path": path, "before": was, "after": is_now}
            for path, was, is_now in differences("", before, after)
        ],
    }
    if action.approval is not None:
        document["approved_by"] = action.approval.key_id
    return document if mark is None else document | {"mark": mark.value}


class RegistryDocuments:
    """The registry's states as documents, each made of the one before it."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[RegisteredKey, Document]] = {}
        self._last: tuple[Registry, Document] | None = None

    def of(self, registry: Registry | None) -> Document:
        """Return the document of ``registry``, which callers must not change.

        The document is empty before the adoption.
        """
        if registry is None:
            return {}
        last = self._last
        if last is not None and last[0] is registry:
            return last[1]
        same_keys = last is not None and last[0].keys is registry.keys
        made: Document = {
            "protocol": registry.protocol_id,
            "keys": last[1]["keys"] if last and same_keys else self._of_keys(registry),
            "log_policy": str(registry.policies[-1].policy) if registry.policies else None,
            "log_policies_proposed": {
                party: vote.policy for party, vote in registry.proposed.items()
            },
            "readings": {
                party: {"entries": anchored.entries, "head": anchored.head.hex()}
                for party, anchored in registry.readings.items()
            },
            "country_keys": {party: key.id for party, key in registry.country_keys.items()},
            "key_proposals": {
                str(action): {
                    "change": proposal.change.value,
                    "key_id": proposal.key.id,
                    "agency": proposal.key.agency,
                    "by": proposal.by,
                }
                for action, proposal in registry.proposals.items()
            },
        }
        if registry.recoveries:  # so that documents of before stay as they are
            made["key_recoveries"] = {
                kid: {
                    "agency": recovery.grant.agency,
                    "since": format_utc(recovery.since),
                    "parties": sorted(recovery.parties),
                }
                for kid, recovery in registry.recoveries.items()
            }
        if absences := _absences(registry):
            made["absences"] = absences
        if registry.amendments:
            made["protocol_version"] = registry.agreement.latest.protocol.version
            made["amendments"] = {
                str(one.proposal): {
                    "version": one.version,
                    "digest": one.digest,
                    "by": one.by,
                    "state": one.state.value,
                    "accepted": sorted(one.accepted),
                }
                for one in registry.amendments
            }
        if registry.agreement.changes:
            made["agencies"] = _agencies(registry)
        if registry.proposed_agencies:
            made["agency_proposals"] = {
                str(action): {
                    "change": one.change.kind.value,
                    "agency": one.change.agency,
                    "by": one.change.by,
                }
                for action, one in registry.proposed_agencies.items()
            }
        if registry.contacts:
            made["contact_points"] = {
                str(one.id): {
                    "party": one.party,
                    "agency": one.agency,
                    "function": one.function,
                    "deputy": one.deputy,
                    "office": one.office.model_dump(mode="json", exclude_none=True),
                    **({"card": str(one.card.id)} if one.card is not None else {}),
                }
                for one in registry.contacts
                if one.ended_at is None
            }
        if registry.policies and registry.policies[-1].without:
            made["log_policy_without"] = sorted(registry.policies[-1].without)
        self._last = (registry, made)
        return made

    def _of_keys(self, registry: Registry) -> Document:
        for key in registry.keys.values():
            known = self._keys.get(key.id)
            if known is None or known[0] is not key:
                self._keys[key.id] = (key, _key_document(key))
        return {kid: self._keys[kid][1] for kid in registry.keys}


def _agencies(registry: Registry) -> Document:
    """Return the agencies that their countries changed, after the last change of each."""
    known = registry.directory.agencies_by_id
    changed = dict.fromkeys(change.agency for change in registry.agreement.changes)
    return {
        agency: known[agency].model_dump(mode="json", exclude_none=True, exclude={"id"})
        for agency in changed
    }


def _absences(registry: Registry) -> Document:
    """Return the open announcements that a party is away, by the announcement's action."""
    return {
        str(one.action): {
            "party": one.party,
            "subjects": sorted(one.subjects),
            "by": one.by,
            "since": format_utc(one.recorded_at),
        }
        for one in registry.announced
        if one.ended_at is None
    }


def registry_document(registry: Registry | None) -> Document:
    """Return the registry's state as the protocol trail shows it."""
    return RegistryDocuments().of(registry)


def _key_document(key: RegisteredKey) -> Document:
    return {
        "agency": key.agency,
        "valid_from": format_utc(key.valid_from),
        "valid_until": format_utc(key.valid_until),
        "revoked_at": _optional_utc(key.revoked_at),
        "compromised_since": _optional_utc(key.compromised_since),
    }


def state_after(trail: Sequence[TrailEntry]) -> CaseState | None:
    """Fold a trail into the state of its case.

    Raises ``ValueError`` if an entry does not fit the entries before it.
    """
    if not trail:
        return None
    document: dict[str, Any] = {}
    for entry in trail:
        for change in entry.changes:
            _apply(document, change)
    if not document:
        return None  # no event that is understood has opened the case
    last = trail[-1]
    return CaseState.model_validate(
        document
        | {
            "version": last.version,
            "position": last.position,
            "last_recorded_at": last.recorded_at,
        }
    )


def differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each difference of two JSON documents as path, value before and value after.

    Objects are compared member by member.
    """
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        names = before if before.keys() == after.keys() else dict.fromkeys((*before, *after))
        for name in names:
            was, is_now = before.get(name), after.get(name)
            if was is not is_now:
                yield from differences(f"{path}/{name}", was, is_now)
        # An empty object that appears or goes is no member's change.
    elif before != after and not (before is None and after == {}):
        yield path, before, after


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
