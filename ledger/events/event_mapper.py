"""The mapping of events to the rows of ``eventsourcing``'s recorders, and back."""

from dataclasses import dataclass
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Notification, StoredEvent

from ledger.events.event import ActionRecorded, recorded


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
        originator = stored_event.originator_id
        return recorded(
            stored_event.state,
            originator if isinstance(originator, UUID) else UUID(originator),
            stored_event.originator_version,
            stored_event.id if isinstance(stored_event, Notification) else None,
        )
