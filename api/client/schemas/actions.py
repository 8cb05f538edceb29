"""Actions that an agency handed in: receipts, outcomes, and statements on those that wait."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from api.client.schemas.events import LeafHash
from api.client.schemas.problem import ProblemDetails
from ledger.replication.node_statements import MAX_CHARACTERS
from ledger.replication.outcomes import OutboxState
from ledger.vocabulary.types import AgencyId, Country, UtcDatetime


class Receipt(Document):
    """Proof that an action is recorded, durably."""

    action_id: UUID
    case_id: UUID
    position: int
    case_version: int
    recorded_at: UtcDatetime
    leaf_hash: LeafHash


class Outcome(Document):
    """The outcome of an action that was sent to a country's node."""

    action_id: UUID
    agency: AgencyId
    case_id: UUID | None
    case_version: int
    """The version that the agency acted on."""
    state: OutboxState
    received_at: UtcDatetime
    decided_at: UtcDatetime | None
    receipt: Receipt | None = None
    """Once it is recorded, and verified in this node's own copy of the ledger."""
    problem: ProblemDetails | None = None
    """The reason of the refusal, if it was refused."""


class OutboxPage(Document):
    """Actions that were handed in, the last one first."""

    outcomes: tuple[Outcome, ...]


class StatedSubmissions(Document):
    """Statements that a country's node signed on actions that wait."""

    statements: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_CHARACTERS)], ...],
        Field(min_length=1, max_length=100),
    ]


class SubmissionDocument(Document):
    """Another country's statement on an action that waits, and this copy's record of the action."""

    party: Country
    action_id: UUID
    digest: str
    """SHA-256 of the signed action without disclosures, base64url."""
    submitted_at: UtcDatetime
    """When it came to that country's node, by that node's word."""
    received_at: UtcDatetime
    """When the statement came to this node first."""
    position: int | None
    """Where the action is recorded; ``null`` while this node's copy has no such action."""
    recorded_at: UtcDatetime | None
    statement: str
    """The statement as the other node signed it."""


class SubmissionPage(Document):
    """Statements of other countries' nodes."""

    submissions: tuple[SubmissionDocument, ...]
