"""The parties that approve what another one proposes to remove. Rules and obligations ask it."""

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import holders
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol


def other_parties(state: CaseState, proposing: str, protocol: Protocol) -> Sequence[str]:
    """Return the countries of a case, besides the proposing one, that have not left."""
    return [one for one in state.parties if one != proposing and one not in protocol.left_parties]


def other_holders(annulled: UUID, acts: Collection[Act], protocol: Protocol) -> AbstractSet[str]:
    """Return the countries that received what another country's annulled action disclosed.

    ``acts`` are the case's actions, the annulled one among them.
    """
    author = next(act.agency for act in acts if act.id == annulled)
    return holders(annulled, acts, protocol) - {protocol.agencies_by_id[author].party}
