"""The ledger's events by position."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.vocabulary.types import UtcDatetime

LeafHash = Annotated[str, Field(description="RFC 6962 leaf hash of the event, base64")]


class Event(Document):
    """One event, with the exact bytes that are hashed and signed."""

    position: int
    case_id: UUID
    case_version: int
    action_id: UUID
    kind: str
    recorded_at: UtcDatetime
    leaf_hash: LeafHash
    entry: str


class EventPage(Document):
    """Events by position."""

    events: tuple[Event, ...]
    next: int
    """Give this as ``after`` to go on, now or later."""
