"""An event: one case action as recorded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ledger.events import event_bytes
from ledger.events.act import Act
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class ActionRecorded:
    """A case action at its place in the ledger.

    ``position`` and ``recorded_at`` are ``None`` until the recorder has given them.
    """

    originator_id: UUID
    originator_version: int
    action: SignedAction
    position: int | None = None
    recorded_at: datetime | None = None

    def as_act(self) -> Act:
        """Return the fields of this event that the fold of a case needs.

        Raises ``ValueError`` if the event is not recorded yet.
        """
        if self.position is None or self.recorded_at is None:
            raise ValueError("the event is not recorded yet")
        return Act(
            id=self.action.id,
            kind=self.action.kind,
            case_id=self.originator_id,
            version=self.originator_version,
            position=self.position,
            agency=self.action.agency,
            acted_at=self.action.acted_at,
            recorded_at=self.recorded_at,
            fields=self.action.fields,
            key_id=self.action.key_id,
            digests=frozenset(self.action.digests),
        )


def recorded(
    state: bytes, originator_id: UUID, version: int, position: int | None
) -> ActionRecorded:
    """Read back a recorded event. Any bytes are read: see ``signed_action.read_recorded``."""
    action, recorded_at = readable(state)
    return ActionRecorded(originator_id, version, action, position, recorded_at)


def readable(state: bytes) -> tuple[SignedAction, datetime]:
    """Return the action in an event's bytes, and its time of recording.

    Bytes that no node writes give an action that is not understood, recorded in 1970.
    """
    try:
        text, recorded_at = event_bytes.unseal(state)
    except ValueError:
        return signed_action.read_recorded(state.decode("latin-1")), _NEVER
    return signed_action.read_recorded(text, recorded_at), recorded_at
