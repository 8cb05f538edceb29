"""The table of the audit trail: one row for each event."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from psycopg import Cursor
from psycopg.rows import DictRow

from ledger.registry import SignatureState
from projections.audit_trail import TrailEntry, registry_document, state_document, trail_entry
from projections.folding import CaseStep, RegistryStep, Step
from projections.view import View

_INSERT = """
INSERT INTO views.audit_trail (slot, case_id, version, position, key_id, signature, document)
VALUES (%(slot)s, %(case_id)s, %(version)s, %(position)s, %(key_id)s, %(signature)s,
    %(document)s::jsonb)
"""

# The state of a signature is the one thing about an event that a later event tells.
_MARK = """
UPDATE views.audit_trail
SET signature = %(state)s,
    document = jsonb_set(document, '{signature}', to_jsonb(%(state)s::text))
WHERE slot = %(slot)s AND key_id = %(key_id)s AND signature = ANY(%(before)s)
  AND (%(since)s::timestamptz IS NULL OR (document->>'recorded_at')::timestamptz >= %(since)s)
"""


class AuditTrails(View):
    """The complete trail of every case, and of the protocol's own acts."""

    name: ClassVar[str] = "audit_trail"
    table: ClassVar[str] = "audit_trail"

    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        pending: list[dict[str, Any]] = []
        for step in steps:
            pending.append(self._row(_entry(step)))
            if step.event.action.kind in ("key_revoked", "key_compromised"):
                curs.executemany(_INSERT, pending)
                pending.clear()
                self._mark(curs, step.event.action.fields)
        if pending:
            curs.executemany(_INSERT, pending)

    def _row(self, entry: TrailEntry) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "case_id": entry.case_id,
            "version": entry.version,
            "position": entry.position,
            "key_id": entry.key_id,
            "signature": entry.signature.value,
            "document": entry.model_dump_json(),
        }

    def _mark(self, curs: Cursor[DictRow], fields: Mapping[str, Any]) -> None:
        """Tell what was signed with a key that it is revoked, and since when compromised."""
        valid = [SignatureState.VALID.value]
        revoked = SignatureState.VALID_KEY_SINCE_REVOKED.value
        key = {"slot": self.slot, "key_id": fields["key_id"]}
        curs.execute(_MARK, key | {"before": valid, "state": revoked, "since": None})
        if (since := fields.get("since")) is not None:
            compromised = SignatureState.KEY_COMPROMISED_THEN.value
            curs.execute(_MARK, key | {"before": [revoked], "state": compromised, "since": since})


def _entry(step: Step) -> TrailEntry:
    match step:
        case CaseStep(event, before, after, registry):
            return trail_entry(
                event,
                state_document(before.state if before else None),
                state_document(after.state),
                registry,
            )
        case RegistryStep(event, before, after):
            # A key that revokes itself signs that validly; it is marked like all it signed.
            signing = before or after
            return trail_entry(event, registry_document(before), registry_document(after), signing)
