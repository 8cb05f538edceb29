"""An entry of a vault's access log: who asked for which personal fields, when, and what for."""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from ledger.procedure.protocol import Operation
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose
from ledger.vocabulary.types import UtcDatetime


class BasisNamed(LedgerModel):
    """The legal basis of a reading, and the recorded action that it stands on."""

    kind: LegalBasis
    action: UUID


class OwnPurpose(StrEnum):
    """A purpose that no action of a case states: no country asks another one for it."""

    STATISTICS = "statistics"


class Asked(LedgerModel):
    """The reader, and the fields that the reader asks for."""

    agency: str
    role: str
    person: str | None = None
    """The person's pseudonym, where a person signed in."""
    key_id: str | None = None
    """The agency's key, where its system asked."""
    case_id: UUID
    operation: Operation
    groups: tuple[FieldGroup, ...]
    purpose: Purpose | OwnPurpose


class CopyKind(StrEnum):
    """The kind of a download of a document."""

    MARKED = "marked"
    """A copy on which each page says who got it, when, for what and of which case."""
    ORIGINAL = "original"
    """The content whose digest was signed."""


class Sought(LedgerModel):
    """The suspect and the span of time of a report on a breach. One of the suspects is named."""

    key_id: str | None = None
    member: UUID | None = None
    person: str | None = None
    agency: str | None = None
    since: UtcDatetime
    until: UtcDatetime


class Reading(LedgerModel):
    """One entry of the access log. It holds nothing of what was read."""

    seq: int
    at: UtcDatetime
    asked: Asked
    granted: bool
    refused_by: str | None = None
    """The rule that refused it."""
    bases: Mapping[FieldGroup, BasisNamed] = {}
    copy_kind: CopyKind | None = None
    """Of a download: the signed original, or a copy with a visible mark."""
    concerning: UUID | None = None
    """The release that the fields were taken out for, the annulled action that was reviewed, or the
    action whose document was opened."""
    sought: Sought | None = None
    """Of a report on a breach: so the log has that it was made, about whom, and of which time."""
