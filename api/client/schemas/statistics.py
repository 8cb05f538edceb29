"""Pseudonymised records for a country's own analysts."""

from api.client.schemas.document import Document
from ledger.procedure.readings import OwnPurpose
from projections.statistics.person_records import PersonRecords


class RecordsRequest(Document):
    """A request for records, which have one purpose alone."""

    purpose: OwnPurpose


class RecordsResult(Document):
    """One release of records."""

    records: PersonRecords
