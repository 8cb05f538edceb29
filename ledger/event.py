"""An event: one case action as recorded, and its mapping to the store's rows."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Notification, StoredEvent

from ledger import entry
from ledger.case_state import Act
from ledger.signing import SignedAction, read_recorded


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
        """What the fold of a case needs of this event."""
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


@dataclass(frozen=True)
class UnsealedEvent(StoredEvent):
    """An event on its way to the recorder, which seals its bytes with the time."""

    action_id: UUID


class ActionMapper(Mapper[UUID]):
    """Keeps the signed bytes as they are, instead of transcoding objects."""

    def __init__(self) -> None:
        super().__init__(transcoder=JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        if not isinstance(domain_event, ActionRecorded):
            raise TypeError(f"{type(domain_event).__name__} is not an action")
        return UnsealedEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=domain_event.action.kind,
            state=domain_event.action.sd_jwt.encode("ascii"),
            action_id=domain_event.action.id,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> ActionRecorded:
        sd_jwt, recorded_at = entry.unseal(stored_event.state)
        return ActionRecorded(
            originator_id=UUID(str(stored_event.originator_id)),
            originator_version=stored_event.originator_version,
            action=read_recorded(sd_jwt),
            position=stored_event.id if isinstance(stored_event, Notification) else None,
            recorded_at=recorded_at,
        )
