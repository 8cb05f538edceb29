"""An event: one case action as recorded, and its mapping to the store's rows."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Notification, StoredEvent
from pydantic_core import from_json

from ledger import entry
from ledger.case_state import Act
from ledger.signing import SignedAction
from ledger.upcasting import upcasters


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
        originator = stored_event.originator_id
        return recorded(
            stored_event.state,
            originator if isinstance(originator, UUID) else UUID(originator),
            stored_event.originator_version,
            stored_event.id if isinstance(stored_event, Notification) else None,
        )


def recorded(
    state: bytes, originator_id: UUID, version: int, position: int | None
) -> ActionRecorded:
    """Read back an event that the ledger accepted before, without validating it again.

    What ``signing.read_recorded`` reads, at a fraction of the time, for whoever reads many.
    Raises ``ValueError``, ``KeyError`` or ``TypeError`` for bytes that are not an event's.
    """
    sd_jwt, recorded_at = entry.unseal(state)
    header, encoded, _ = sd_jwt.split(".", 2)
    payload = from_json(urlsafe_b64decode(encoded + "=="))
    fields = payload["act"]
    case = payload.get("case")
    algorithm, key_id = _header(header)
    digests, schema = tuple(fields.pop("_sd", ())), payload.get("version", 1)
    action = SignedAction(
        sd_jwt=sd_jwt,
        algorithm=algorithm,
        id=UUID(payload["jti"]),
        agency=payload["iss"],
        key_id=key_id,
        signed_at=datetime.fromtimestamp(payload["iat"], UTC),
        protocol=payload["protocol"],
        case_id=UUID(case) if case else None,
        kind=payload["kind"],
        digests=digests,
        fields=upcasters().upcast(payload["kind"], schema, fields),
        version=schema,
    )
    return ActionRecorded(originator_id, version, action, position, recorded_at)


@lru_cache(maxsize=4096)
def _header(encoded: str) -> tuple[str, str]:
    """``alg`` and ``kid`` of a header: an agency's actions all have the same one."""
    header = from_json(urlsafe_b64decode(encoded + "=="))
    return str(header["alg"]), str(header["kid"])
