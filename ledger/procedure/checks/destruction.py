"""Check the destruction of what an annulled action disclosed, by two parties."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure.approving_parties import other_holders
from ledger.procedure.case_fold import withheld_ids
from ledger.procedure.case_state import Destruction
from ledger.procedure.checks.erasure import check_unheld
from ledger.procedure.checks.proposal import (
    CLOCK_SKEW,
    Check,
    Proposal,
    acts_for,
)
from ledger.refusals import invalid, not_allowed, out_of_procedure
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.types import format_utc


def _destruction_proposed(p: Proposal) -> None:
    check_unheld(p)
    named = p.history.get(UUID(p.act.fields["annulled"]))
    if named is None or named.kind == NOT_UNDERSTOOD:
        raise invalid("unknown-action", "No such action in this case.", "annulled")
    if named.id not in withheld_ids(p.history.values()):
        raise out_of_procedure(
            "not-annulled",
            "This action counts: only what an annulled action disclosed is destroyed. Annul it by a"
            " correction first.",
            "act.annulled",
        )
    if not named.digests:
        raise out_of_procedure(
            "nothing-disclosed", "This action discloses nothing.", "act.annulled"
        )
    if not acts_for(p, named.agency):
        raise not_allowed(
            "own-action",
            "The agency that recorded the action proposes this, or that country's coordinator.",
        )
    if any(one.annulled == named.id and one.order for one in p.state.destructions.values()):
        raise out_of_procedure(
            "already-ordered", "The destruction is ordered already.", "act.annulled"
        )


def _destruction_approved(p: Proposal) -> None:
    check_unheld(p)
    proposal = UUID(p.act.fields["proposal"])
    proposed = p.state.destructions.get(proposal)
    if proposed is None or proposed.order is not None:
        raise invalid("no-such-proposal", "No such destruction is proposed.", "proposal")
    if p.history[proposal].key_id == p.act.key_id:
        raise not_allowed(
            "second-person", "A second person approves, with a key of their own; this one proposed."
        )
    if p.protocol.edition >= 2:
        _approved_by_holder(p, proposed)


def _approved_by_holder(p: Proposal, proposed: Destruction) -> None:
    """Check that no agency, and no country alone, has destroyed what another country holds.

    If other countries received the action's disclosures, one of them approves. A country that came
    into the case after the annulment received nothing. Raises ``Refusal`` (``second-party``).
    """
    if p.protocol.answering_for(proposed.by).id == p.agency.id:
        raise not_allowed(
            "second-party", f"{proposed.by} proposed this; an agency does not approve it itself."
        )
    others = other_holders(proposed.annulled, p.history.values(), p.protocol)
    if others and p.agency.party not in others:
        raise not_allowed(
            "second-party",
            f"{', '.join(sorted(others))} received what would be destroyed: a coordinator or an"
            " oversight body there approves it.",
        )


def _destruction_confirmed(p: Proposal) -> None:
    order = UUID(p.act.fields["order"])
    ordered = next((one for one in p.state.destructions.values() if one.order == order), None)
    if ordered is None:
        raise invalid("no-such-order", "No such destruction was approved.", "order")
    if p.agency.party not in ordered.pending:
        raise out_of_procedure(
            "already-confirmed", "This country has confirmed or owes no destruction."
        )
    if ordered.stoppable_until is not None and ordered.is_stoppable(p.now + CLOCK_SKEW):
        raise out_of_procedure(
            "destruction-grace",
            "The destruction can be stopped still; it is carried out after"
            f" {format_utc(ordered.stoppable_until)}.",
        )


CHECKS: Mapping[str, Check] = {
    "destruction_proposed": _destruction_proposed,
    "destruction_approved": _destruction_approved,
    "destruction_confirmed": _destruction_confirmed,
}
