"""Documents of a case, and their uploads."""

from uuid import UUID

from api.client.schemas.document import Document


class UploadState(Document):
    """How far an upload is."""

    id: UUID
    size: int
    received: int
    """The bytes that are durable at the node."""
    is_whole: bool
    """Every byte is there, and their SHA-256 is the declared one: an action can name it."""
