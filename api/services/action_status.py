"""The outcomes of actions: recorded in this node's ledger, or as its outbox has them."""

from uuid import UUID

from api.client.schemas import Outcome
from api.client.schemas.problem import ProblemDetails
from api.services.receipts import receipt_document
from ledger.application import Ledger
from ledger.procedure.protocol import COORDINATOR, Agency
from ledger.replication.outbox import Outbox, Outgoing
from ledger.replication.outcomes import OutboxState


class Outcomes:
    """Outcomes of the actions that were handed in here or are recorded."""

    def __init__(self, ledger: Ledger, outbox: Outbox) -> None:
        self._ledger = ledger
        self._outbox = outbox

    def of(self, action_id: UUID) -> Outcome | None:
        """Return the outcome of one action, or ``None`` if it is not known here."""
        outgoing = self._outbox.get(action_id)
        recorded = self._recorded(action_id)
        return recorded if outgoing is None else _told(outgoing, recorded)

    def last(self, agency: Agency, *, limit: int) -> list[Outcome]:
        """Return the agency's actions that were put into the outbox last, with their outcomes.

        For a coordinator they are its whole country's.
        """
        found = (
            self._outbox.of_party(agency.party, limit=limit)
            if agency.role == COORDINATOR
            else self._outbox.of_agency(agency.id, limit=limit)
        )
        return [_told(outgoing, self._recorded(outgoing.action_id)) for outgoing in found]

    def _recorded(self, action_id: UUID) -> Outcome | None:
        row = self._ledger.row_of_action(action_id)
        if row is None:
            return None
        action = row.event().action
        return Outcome(
            action_id=row.action_id,
            agency=action.agency,
            case_id=action.case_id,
            case_version=row.version - 1,
            state=OutboxState.RECORDED,
            received_at=row.recorded_at,
            decided_at=row.recorded_at,
            receipt=receipt_document(row),
        )


def _told(outgoing: Outgoing, recorded: Outcome | None) -> Outcome:
    if recorded is not None:
        return recorded.model_copy(update={"received_at": outgoing.received_at})
    return Outcome(
        action_id=outgoing.action_id,
        agency=outgoing.agency,
        case_id=outgoing.case_id,
        case_version=outgoing.case_version,
        state=outgoing.state,
        received_at=outgoing.received_at,
        decided_at=outgoing.decided_at,
        problem=outgoing.answer and ProblemDetails.model_validate(outgoing.answer),
    )
