"""The agencies that may read the fields of a proposed destruction, to decide on it."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import holders
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import COORDINATOR, COURT, OVERSIGHT, Agency, Protocol
from ledger.refusals import Ground, Refusal


def reviewed_action(
    proposal: UUID,
    agency: Agency,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
    at: datetime,
) -> UUID:
    """Return the annulled action of which an agency may read the disclosures at a time.

    The readers are the courts and oversight bodies of each country that received the disclosures,
    and the coordinators of these countries other than the one whose agency recorded the action.
    They read from the proposal on, while the destruction can be approved or stopped. Raises
    ``Refusal`` (``no-such-proposal``, ``not-a-reviewer``).
    """
    destruction = state.destructions.get(proposal)
    if destruction is None or (destruction.order is not None and not destruction.is_stoppable(at)):
        raise Refusal(
            Ground.INVALID,
            "no-such-proposal",
            "No such destruction is proposed, or it cannot be stopped any more.",
            "proposal",
        )
    annulled = destruction.annulled
    author = protocol.agencies_by_id[history[annulled].agency].party
    received = holders(annulled, history.values(), protocol)
    may_read = agency.role in (COURT, OVERSIGHT) or (
        agency.role == COORDINATOR and agency.party != author
    )
    if (
        not may_read
        or agency.party not in received
        or agency.international
        or agency.retired_at is not None
    ):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "not-a-reviewer",
            "What an annulled action disclosed is opened only to review its destruction: by courts"
            " and oversight bodies of the countries that received it, and by the coordinators of"
            " those other than the country that recorded it.",
            "iss",
        )
    return annulled
