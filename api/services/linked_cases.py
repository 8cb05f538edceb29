"""Checks which other case an action names, when the country's node takes it in.

The ledger node does not see which case is linked or proposed. The node of the agency's country
does, and has every case in its copy of the ledger.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from ledger.application import Ledger
from ledger.procedure.checks.taking_part import has_part
from ledger.procedure.protocol import Protocol
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.action import Action
from ledger.vocabulary.linking import (
    CaseMerged,
    CasesLinked,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
)

Named = Callable[[UUID, UUID], Any]
"""Returns the case that a proposal names, of a case and the proposal, as the node's vault holds it.
``None`` if the proposal names none."""


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
    has_other = other is not None and has_part(agency, other.state, other.history, protocol)
    seen = other if has_other else None
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


def check_merge(ledger: Ledger, action: SignedAction, whole: Action, named: Named) -> None:
    """Check an action on a merge by what the ledger node does not see, or may see too late.

    A case ends only in the case that its proposal names. A proposal is accepted once, and is
    declined no more after that. An action that is recorded already is not judged again. Raises
    ``Refusal``.
    """
    if not isinstance(whole, CaseMerged | MergeAccepted | MergeDeclined):
        return
    if action.case_id is None or ledger.receipt_of(action) is not None:
        return
    if isinstance(whole, CaseMerged):
        case, other = ledger.case(action.case_id), ledger.case(whole.continues_in)
        proposed = case.state.merge_proposal if case is not None else None
        if proposed is None or other is None:
            return  # the rules say so
        if named(action.case_id, proposed.proposal) not in (None, str(whole.continues_in)):
            raise _other_merge("The proposal names another case; it was accepted in the wrong one.")
        return
    ended = action.case_id if isinstance(whole, MergeDeclined) else whole.ended_case
    case = ledger.case(ended)
    if case is None or whole.proposal not in case.history:
        return
    since = case.history[whole.proposal].position
    if _is_accepted(ledger, whole.proposal, since):
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "merge-accepted",
            "This proposal was accepted. Undo that merge first (merge_undone) in the case that"
            " accepted it.",
            "act.proposal",
        )
    if isinstance(whole, MergeAccepted) and named(ended, whole.proposal) not in (
        None,
        str(action.case_id),
    ):
        raise _other_merge("The proposal names another case; accept it there, or decline it.")


def _is_accepted(ledger: Ledger, proposal: UUID, since: int) -> bool:
    """Return whether a case has taken another one in by a proposal, and not undone that."""
    accepting: Iterable[UUID] = ledger.subjects_of_kinds(
        [MergeAccepted.kind], after=since, upto=ledger.head()
    )
    return any(
        taken.proposal == proposal
        for case_id in accepting
        if (case := ledger.case(case_id)) is not None
        for taken in case.state.taken_in.values()
    )


def _other_merge(message: str) -> Refusal:
    return Refusal(Ground.INVALID, "other-merge", message, "act")
