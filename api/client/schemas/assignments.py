"""The members to whom an agency assigned its cases."""

from typing import Literal
from uuid import UUID

from api.client.schemas.document import Document
from ledger.vocabulary.types import UtcDatetime


class AssignmentInput(Document):
    """The member who works on a case, and the deputy."""

    member: UUID
    deputy: UUID | None = None
    expected: UUID | Literal["nobody"] | None = None
    """The member who had the case when the caller looked. If another has it, nothing changes."""


class AssignmentDocument(Document):
    """An assignment of a case, as the own agency sees it."""

    case_id: UUID
    member: UUID
    deputy: UUID | None = None
    by_member: UUID | None
    """The member who assigned the case; none for a system of the agency."""
    assigned_at: UtcDatetime


class HandOver(Document):
    """The member who takes over all cases."""

    to: UUID


class HandedOver(Document):
    """The number of cases that were handed over."""

    cases: int
