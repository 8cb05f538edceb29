"""Recorded SD-JWTs with those disclosures that another country, or a person, is to have."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from ledger.signing import sd_jwt
from ledger.store.event_rows import RecordedRow
from ledger.store.recorder import LedgerRecorder
from ledger.vault.held_fields import Held


def presentations(rows: LedgerRecorder, held: Iterable[Held]) -> tuple[str, ...]:
    """Return recorded SD-JWTs with the disclosures of these fields, and no others."""
    return tuple(presentations_by_action(rows, held).values())


def presentations_by_action(rows: LedgerRecorder, held: Iterable[Held]) -> Mapping[UUID, str]:
    """Return the presentation of each action that is recorded here, by the action's id."""
    found: dict[UUID, str] = {}
    for one in held:
        if one.action_id not in found:
            row = rows.find_action(one.action_id)
            if row is None:
                continue
            found[one.action_id] = recorded_text(row)
        found[one.action_id] = sd_jwt.with_disclosures(found[one.action_id], [one.encoded])
    return found


def recorded_text(row: RecordedRow) -> str:
    """Return the SD-JWT of a recorded action, without disclosures."""
    return row.event().action.sd_jwt
