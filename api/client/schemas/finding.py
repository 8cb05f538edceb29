"""File numbers, and searches for cases."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from api.client.schemas.document import Document
from ledger.vocabulary.picklists import Purpose
from ledger.vocabulary.types import AgencyId


class FileNumberText(Document):
    """The number that an agency gives a case."""

    number: Annotated[str, Field(min_length=1, max_length=200)]


class FileNumberDocument(Document):
    """An agency's own number of a case."""

    case_id: UUID
    agency: AgencyId
    number: str | None
    """``None`` if the number does not open at this node."""
    changed_at: AwareDatetime


class FileNumberList(Document):
    """The file numbers of some cases, the asking agency's own first."""

    numbers: tuple[FileNumberDocument, ...]


class SearchRequest(Document):
    """A text of the search box, and the purpose for which a person may be searched for."""

    text: Annotated[str, Field(min_length=1, max_length=200)]
    purpose: Purpose | None = None


class MatchedPerson(Document):
    """The match of the person of a case."""

    is_exact: bool
    """Whether each word is written alike; else one or more are similar."""
    is_earlier: bool
    """Whether only earlier statements match, which were stated anew since."""
    name: str | None
    """The name, where the caller may read the identity in this case now."""


class FoundCase(Document):
    """A case that a search found."""

    case_id: UUID
    reference: str
    file_numbers: tuple[FileNumberDocument, ...]
    """Those of the country's agencies, the caller's own first."""
    opened_at: AwareDatetime
    opened_by: AgencyId | None
    """``None`` until the audit trail has the opening."""
    lead_agency: AgencyId
    by_number: bool
    """Whether the text is its file number."""
    person: MatchedPerson | None
    """Where the text is a person's name or number."""


class SearchResult(Document):
    """The cases that a text means, the best match first."""

    cases: tuple[FoundCase, ...]
    has_more: bool
    """Whether more cases match than are listed."""
    needs_purpose: bool
    """Whether the text can only be a person's, who is searched for with a purpose alone."""
