"""Cases that may be of one person."""

from uuid import UUID

from api.client.schemas.document import Document
from ledger.vocabulary.duplicates import DuplicateState, Finding, MatchKind
from ledger.vocabulary.types import Country, UtcDatetime


class DuplicateDocument(Document):
    """A case of the caller's country, and another that may be the same person's."""

    id: UUID
    """The same in both countries."""
    case_id: UUID
    country: Country
    """The country of the other case, which may be the caller's own."""
    reference: UUID
    """The name of the other country's case between the two. It is no case's id."""
    other_case_id: UUID | None
    """The other case, where the caller's country is party to it."""
    agrees: tuple[MatchKind, ...]
    """In what the two agree."""
    strength: int
    """Of 100."""
    found_at: UtcDatetime
    state: DuplicateState
    finding: Finding | None
    """The finding of the caller's country."""
    assessed_at: UtcDatetime | None
    other_finding: Finding | None
    """The finding of the other country."""
    other_assessed_at: UtcDatetime | None


class DuplicatePage(Document):
    """Duplicates, the last one found first."""

    duplicates: tuple[DuplicateDocument, ...]


class DuplicateAssessment(Document):
    """The coordinator's finding."""

    finding: Finding
