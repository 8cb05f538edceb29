"""The table of the audit trail: one row for each event."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from psycopg import Cursor
from psycopg.rows import DictRow
from pydantic_core import to_json

from ledger.procedure.registry import Registry, SignatureState, ended_keys
from projections.folds.arrivals import arrivals
from projections.folds.audit_trail import RegistryDocuments, trail_document
from projections.folds.case_folder import CaseStep, RegistryStep, Step
from projections.folds.registry_history import RegistryHistory
from projections.folds.state_json import Document
from projections.tables.view import Row, View

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
    columns: ClassVar[Mapping[str, str]] = {
        "slot": "text",
        "case_id": "uuid",
        "version": "int8",
        "position": "int8",
        "key_id": "text",
        "signature": "text",
        "action_id": "uuid",
        "arrives": "text[]",
        "document": "jsonb",
    }
    identity: ClassVar[tuple[str, ...]] = ("slot", "case_id", "version")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._registries = RegistryDocuments()

    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        pending: list[Row] = []
        for step in steps:
            told = _signature_state(step)
            pending.append(self._row(step, told))
            ended = [*ended_keys(step.before, step.after)] if isinstance(step, RegistryStep) else []
            if ended:
                self.insert(curs, pending)
                pending.clear()
            for key_id, since in ended:
                self._mark(curs, key_id, since)
        self.insert(curs, pending)

    def lasting(self, step: Step, history: RegistryHistory, *, is_last: bool) -> Iterator[Row]:  # noqa: ARG002
        told = _signature_state(step)
        yield self._row(step, history.marked(told, step.event))

    def _row(self, step: Step, signature: SignatureState) -> Row:
        event = step.event
        before, after = self._documents(step)
        return (
            self.slot,
            event.originator_id,
            event.originator_version,
            event.position,
            event.action.key_id,
            signature.value,
            event.action.id,
            list(_arrivals(step)),
            _storable(trail_document(event, _signing(step), signature, before, after, step.mark)),
        )

    def _documents(self, step: Step) -> tuple[Document, Document]:
        if isinstance(step, CaseStep):
            return step.document_before, step.document_after
        return self._registries.of(step.before), self._registries.of(step.after)

    def _mark(self, curs: Cursor[DictRow], key_id: str, since: datetime | None) -> None:
        """Mark all events signed with a key as signed with a revoked or a compromised key.

        ``since`` is the time since when the key is compromised, if it is.
        """
        valid = [SignatureState.VALID.value]
        revoked = SignatureState.VALID_KEY_SINCE_REVOKED.value
        key = {"slot": self.slot, "key_id": key_id}
        curs.execute(_MARK, key | {"before": valid, "state": revoked, "since": None})
        if since is not None:
            compromised = SignatureState.KEY_COMPROMISED_THEN.value
            curs.execute(_MARK, key | {"before": [revoked], "state": compromised, "since": since})


def _arrivals(step: Step) -> tuple[str, ...]:
    """Return the receivers of an event. An event without effect comes to nobody."""
    if not isinstance(step, CaseStep) or step.after is None:
        return ()
    if step.mark is not None and not step.mark.has_effect:
        return ()
    protocol = step.registry.agreement.of_event(step.event)
    return arrivals(step.before, step.after, step.event.as_act(), protocol)


def _storable(document: Document) -> bytes:
    """Return the document as JSON for ``jsonb``, with U+FFFD in place of each NUL.

    Earlier programs recorded texts with a NUL, in comments of a policy.
    """
    made = to_json(document)
    return to_json(_without_nul(document)) if b"\\u0000" in made else made


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_without_nul(name): _without_nul(part) for name, part in value.items()}
    return [_without_nul(part) for part in value] if isinstance(value, list | tuple) else value


def _signing(step: Step) -> Registry:
    """Return the registry by which a step's signature is judged."""
    if isinstance(step, CaseStep):
        return step.registry
    # A key that revokes itself signs that validly; it is marked like all it signed.
    return step.before or step.after


def _signature_state(step: Step) -> SignatureState:
    event = step.event
    if event.recorded_at is None or event.position is None:
        raise ValueError("the event is not recorded yet")
    return _signing(step).signature_state(event.action, event.recorded_at, event.position)
