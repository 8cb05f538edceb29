"""The desk of an agency: duties, arrivals, notes, reminders and flags."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.vocabulary.types import Country, UtcDatetime
from projections.folds.arrivals import ArrivalSort
from projections.folds.obligations import Obligation


class NoteDocument(Document):
    """A note of the agency on a case; with a day, a reminder."""

    id: UUID
    case_id: UUID
    day: date | None
    text: str | None
    """``null``: the text does not open."""
    written_at: UtcDatetime
    done_at: UtcDatetime | None


class NotePage(Document):
    """Notes, the newest first; reminders, the earliest day first."""

    notes: tuple[NoteDocument, ...]


class NewNote(Document):
    """A note to keep; with a day, a reminder of that day."""

    text: Annotated[str, Field(min_length=1, max_length=2_000)]
    day: date | None = None


class FlagPage(Document):
    """The cases that the agency flagged, the last flagged first."""

    cases: tuple[UUID, ...]


class ArrivalDocument(Document):
    """An action of another agency that came to the caller's agency."""

    case_id: UUID
    action_id: UUID
    position: int
    sort: ArrivalSort
    kind: str
    agency: str
    country: Country | None
    recorded_at: UtcDatetime
    form_number: int | None


class ArrivalPage(Document):
    """The unread arrivals, the newest first."""

    arrivals: tuple[ArrivalDocument, ...]


class ReadUpto(Document):
    """All that came up to a position is read."""

    upto: Annotated[int, Field(ge=0, le=2**53)]


class DutyPage(Document):
    """Open obligations of one side, the longest overdue first."""

    obligations: tuple[Obligation, ...]
    number: int
    """How many there are; 501 stands for more than 500."""
    overdue: int
