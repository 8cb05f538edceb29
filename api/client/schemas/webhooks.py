"""The webhooks of an agency for what happens in cases."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.vocabulary.types import UtcDatetime


class WebhookDocument(Document):
    """One webhook for cases. Its address is the operator's alone."""

    id: UUID
    position: int
    """Everything up to this position of the ledger was received."""
    attempts: int
    """The number of times that the next message was not received."""
    next_attempt_at: UtcDatetime
    failing_since: UtcDatetime | None
    disabled_at: UtcDatetime | None
    """Nothing is sent any more, until a replay enables it."""


class WebhookPage(Document):
    """The webhooks of the caller's agency for cases."""

    webhooks: tuple[WebhookDocument, ...]


class WebhookReplay(Document):
    """The position after which a webhook gets everything again."""

    after: Annotated[int, Field(ge=0, lt=2**53)]
