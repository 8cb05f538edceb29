"""The audit of a country's access log across cases."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from api.client.schemas.document import Document
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Reading
from ledger.vocabulary.picklists import Purpose
from ledger.vocabulary.types import AgencyId


class AuditRequest(Document):
    """The entries of the access log to see. What is left out limits nothing."""

    agency: AgencyId | None = None
    operation: Operation | None = None
    purpose: Purpose | None = None
    case_id: UUID | None = None
    """An entry on no single case has the id of zeros."""
    granted: bool | None = None
    recorded_from: AwareDatetime | None = None
    recorded_before: AwareDatetime | None = None
    with_nodes: bool = False
    """Whether entries of the country's node are among them."""
    before: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    """``next`` of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AuditedReadings(Document):
    """Entries of the access log, the last one first."""

    look: Reading
    """The entry that this request made."""
    readings: tuple[Reading, ...]
    changed: tuple[int, ...] = ()
    """The numbers of entries that do not hold: somebody changed the log."""
    next: int | None = None


class AuditStanding(Document):
    """The progress of the ledger in fixing the access log, and the state of the views' check."""

    entries: int
    anchored: int
    """So many entries are fixed by the ledger."""
    unanchored_since: AwareDatetime | None
    """When the first entry was written that is not fixed."""
    anchor_is_late: bool
    views_checked_at: AwareDatetime | None
    """When the last complete check of the views ended."""
    views_differing: dict[str, int]
    """Rows of views that differ from the ledger, by view."""
