"""Get pseudonymised records of the own country's cases."""

from api.client.connection import Connection
from api.client.schemas.statistics import RecordsRequest, RecordsResult
from ledger.procedure.readings import OwnPurpose
from projections.statistics.person_records import PersonRecords


class StatisticsClient(Connection):
    """Gets records for an analyst."""

    def statistics_records(self) -> PersonRecords:
        """Return a new release of records. Raises ``RefusedError``."""
        asked = RecordsRequest(purpose=OwnPurpose.STATISTICS)
        answer = self._send_document("/v1/statistics/records", asked)
        return RecordsResult.model_validate_json(answer.content).records
