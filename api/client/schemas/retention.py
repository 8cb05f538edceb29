"""Periods of retention, and erasures when they are over."""

from enum import StrEnum
from uuid import UUID

from api.client.schemas.document import Document
from ledger.procedure.erasures import ErasedData
from ledger.vocabulary.picklists import ClosureReason
from ledger.vocabulary.types import AgencyId, Country, UtcDatetime
from projections.folds.case_view import HoldView


class RetentionStatus(StrEnum):
    """The status of a closed case before the end of its period of retention."""

    KEPT = "kept"
    """The period is not over, and nothing is announced."""
    DUE = "due"
    """The period is over, and no erasure is announced."""
    ANNOUNCED = "announced"
    HELD = "held"
    """A legal hold stops any erasure."""
    ERASED = "erased"
    """This country's vault has erased it, and its confirmation is on its way."""


class RetainedCase(Document):
    """A closed case whose period of retention ends or is over."""

    case_id: UUID
    status: RetentionStatus
    closure: ClosureReason | None
    closed_at: UtcDatetime | None
    kept_days: int
    grace_days: int
    """For so many days an erasure stands announced before it."""
    period_ends: UtcDatetime
    erase_from: UtcDatetime | None
    """Nothing is erased before this moment, nor before witnesses have cosigned it."""
    announcement: UUID | None
    announced_at: UtcDatetime | None
    announced_by: AgencyId | None
    holds: tuple[HoldView, ...]
    confirmed_by: tuple[Country, ...]
    """The countries that have confirmed the erasure."""


class RetentionPage(Document):
    """Cases whose period of retention ends, the earliest first."""

    cosigned_until: UtcDatetime | None
    """The time that a quorum of witnesses cosigned last. Periods count by it."""
    cases: tuple[RetainedCase, ...]
    next: str | None


class ErasedCase(Document):
    """A case of whose person this country's vault holds nothing any more."""

    case_id: UUID
    erased: ErasedData
    confirmed_by: tuple[Country, ...]
    pending: tuple[Country, ...]


class ErasedPage(Document):
    """The erasures in this country's vault, the newest first."""

    cases: tuple[ErasedCase, ...]
    next: UtcDatetime | None
