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


class ObstacleKind(StrEnum):
    """A reason for which a case is not erased yet, or something that its erasure would cut off."""

    LEGAL_HOLD = "legal_hold"
    MERGED_CASE = "merged_case"
    """A case that was merged with it is held, or is not ended yet."""
    NOT_ANNOUNCED = "not_announced"
    """The period is over. An erasure has to stand announced for the days of grace."""
    NOT_COSIGNED = "not_cosigned"
    """No witness cosigned a time, and periods count by these times alone."""
    APPROVAL = "approval"
    """An erasure or a destruction is proposed, and nobody approved it."""
    OBLIGATION = "obligation"
    """A country or an agency owes something else in the case."""


class RetentionObstacle(Document):
    """An obstacle or an open matter before the erasure of a case."""

    kind: ObstacleKind
    blocks: bool
    """True if nothing is erased while it stands. Otherwise it only should be settled before."""
    party: Country | None = None
    """The country that placed the hold, or that owes."""
    agency: AgencyId | None = None
    action: str | None = None
    """The kind of action that is owed."""
    due: UtcDatetime | None = None


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
    obstacles: tuple[RetentionObstacle, ...] = ()
    """Those that block the erasure first, then what is still open in the case."""


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
