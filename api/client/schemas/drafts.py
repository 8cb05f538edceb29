"""Drafts: actions that wait for the approval of another member of the agency."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.vocabulary.types import UtcDatetime


class DraftDocument(Document):
    """A draft without its content."""

    action_id: UUID
    case_id: UUID
    kind: str
    author: UUID
    """The member who signed the action."""
    state: str
    """``waiting``; ``returned`` by a colleague, or because the ledger node refused the approved
    action; ``approved``: it is on its way into the ledger."""
    case_version: int
    """The version of the case that the author acted on; 0 for a new case."""
    sent_at: UtcDatetime
    until: UtcDatetime
    """The action is recorded before, or not at all."""
    decided_by: UUID | None
    """The member who returned or approved it."""
    decided_at: UtcDatetime | None
    refused_by: str | None
    """The rule by which the approved action was refused."""
    may_approve: bool
    """True if the member who asks may approve it."""


class DraftPage(Document):
    """The drafts of the agency, the oldest first."""

    drafts: tuple[DraftDocument, ...]


class NewDraft(Document):
    """An action that its author signed, and that waits for an approval."""

    signed: Annotated[str, Field(min_length=1, max_length=256 * 1024)]
    """The signed action with its disclosures, as it would be sent to be recorded."""
    case_version: Annotated[int, Field(ge=0)]
    """The version of the case that the author acted on; 0 for a new case."""
    form: dict[str, Any] | None = None
    """The values of the author's form, by which a page fills it in again. They are sealed too."""
    replaces: UUID | None = None
    """An earlier draft of the author, which is taken back."""


class OpenedDraft(Document):
    """A draft as it will be recorded and kept."""

    draft: DraftDocument
    signed: str
    """Sign the approval over this text."""
    fields: dict[str, Any]
    """All fields, those that are disclosed among them."""
    form: dict[str, Any] | None
    """For its author alone."""
    remark: str | None


class DraftApproval(Document):
    """The approval of a draft."""

    approval: Annotated[str, Field(min_length=1, max_length=4096)]
    """The signed approval, a JWT."""
    case_version: Annotated[int, Field(ge=0)]
    """The version of the case that the member who approves saw; 0 for a new case."""


class DraftRemark(Document):
    """The reason why a draft goes back to its author."""

    remark: Annotated[str, Field(min_length=1, max_length=1000)]
