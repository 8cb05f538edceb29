"""Checks which other case an action names, when the country's node takes it in.

The ledger node does not see which case is linked or proposed. The node of the agency's country
does, and has every case in its copy of the ledger.
"""

from uuid import UUID

from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.procedure.rules import has_part
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.action import Action
from ledger.vocabulary.linking import CasesLinked, MergeProposed


def check_linked_case(
    ledger: Ledger, protocol: Protocol, action: SignedAction, whole: Action
) -> None:
    """Check the other case that an action names, and the countries that are told of it.

    Each country that is told is party to the other case, so that a link tells no country of a case
    that it may not see. The agency of a proposal may not see the other case: then it tells its own
    country and the one that it asks alone. The answer is the same for a case that does not exist.
    An action that is recorded already is not judged again. Raises ``Refusal``.
    """
    asked: frozenset[str] = frozenset()
    named: UUID | None
    if isinstance(whole, CasesLinked):
        named, field = whole.linked_case, "linked_case"
    elif isinstance(whole, MergeProposed):
        named, field = whole.continues_in, "continues_in"
        if (to := protocol.agencies_by_id.get(whole.addressee)) is not None:
            asked = frozenset({to.party})
    else:
        return
    agency = protocol.agencies_by_id.get(action.agency)
    if agency is None or ledger.receipt_of(action) is not None:
        return
    other = ledger.case(named) if named not in (None, action.case_id) else None
    seen = other if other is not None and has_part(agency, other.state, other.history) else None
    if named == action.case_id or (seen is None and isinstance(whole, CasesLinked)):
        raise Refusal(
            Ground.INVALID,
            "unknown-linked-case",
            "Name another case in which your country takes part.",
            f"act.{field}",
        )
    may_see = {agency.party, *asked, *(seen.state.parties if seen is not None else ())}
    if not set(whole.told) <= may_see:
        raise Refusal(
            Ground.INVALID,
            "told",
            "Name only countries that are party to the other case too.",
            "act.told",
        )
