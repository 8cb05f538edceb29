"""Check holds, retention and the erasure of what is held on a person."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from ledger.procedure.approving_parties import other_parties
from ledger.procedure.case_state import CaseState
from ledger.procedure.checks.proposal import (
    CLOCK_SKEW,
    Check,
    Proposal,
    leads,
)
from ledger.procedure.held_parts import others_may_lift
from ledger.procedure.merged_cases import all_concluded, erased_with, held_elsewhere
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.procedure.retention import (
    erasable_from,
    must_be_announced,
    retention_over,
    retention_rule,
)
from ledger.refusals import Refusal, invalid, not_allowed, out_of_procedure
from ledger.vocabulary.types import format_utc

_OTHERS_LIFT_SINCE = 2
"""From this edition on, others lift the holds of a party that left, after its days are over."""

ANNOUNCED_AFTER_AT_MOST = timedelta(days=2 * 366)
"""So long after the earliest time an erasure by retention may be announced, by a node.

The clocks of a node and its witnesses may be a year ahead."""

POSTPONED_AT_MOST = timedelta(days=10 * 366)
"""So long after the earliest time, by a coordinator, who may do it again."""


def _hold_lifted(p: Proposal) -> None:
    hold = p.state.holds.get(UUID(p.act.fields["hold"]))
    if hold is None:
        raise invalid("no-such-hold", "No such hold is in force in this case.", "hold")
    if hold.party == p.agency.party:
        return
    if p.protocol.edition >= _OTHERS_LIFT_SINCE and others_may_lift(
        hold.party, p.agency.party, p.state.parties, p.protocol, p.now
    ):
        return
    raise not_allowed(
        "own-hold",
        "The country that placed a hold lifts it. If it left the agreement, another country of the"
        " case may lift it once its days for the erasure are over.",
    )


def _erasable(p: Proposal) -> None:
    if not p.state.is_closed:
        raise out_of_procedure(
            "open-case", "The case is open; what is held on the person is needed."
        )
    check_unheld(p)


def check_unheld(p: Proposal) -> None:
    """Check that no hold is in force in the case or in one that was merged with it."""
    if p.state.holds:
        raise out_of_procedure("legal-hold", "A legal hold is in force; nothing may be erased.")
    if not all_concluded(p.state, p.others):
        raise out_of_procedure(
            "merge-not-concluded",
            "This case took in another one that has not ended yet; record case_merged there, or"
            " undo the merge.",
        )
    if held_elsewhere(p.state, p.others):
        raise out_of_procedure(
            "legal-hold",
            "A legal hold is in force in a case that was merged with this one; nothing may be"
            " erased.",
        )


def _retention_announced(p: Proposal) -> None:
    _erasable(p)
    rule, over = retention_rule(p.state, p.protocol), retention_over(p.state, p.protocol)
    if rule is None or over is None or p.state.closed_at is None:
        raise out_of_procedure(
            "no-retention-rule", "The protocol sets no period of retention for this closing."
        )
    fields = p.act.fields
    if datetime.fromisoformat(fields["closed_at"]) != p.state.closed_at:
        raise invalid(
            "no-such-closing",
            f"The case was closed at {format_utc(p.state.closed_at)}; name that time.",
            "closed_at",
        )
    if fields["kept_days"] != rule.days:
        raise invalid("retention-rule", f"The protocol's period is {rule.days} days.", "kept_days")
    erase_from = datetime.fromisoformat(fields["erase_from"])
    if erase_from < over:
        raise invalid(
            "retention", f"The period of retention ends at {format_utc(over)}.", "erase_from"
        )
    graced = p.now + timedelta(days=rule.grace_days)
    if erase_from < graced - CLOCK_SKEW:
        raise invalid(
            "retention-grace",
            f"An erasure is announced {rule.grace_days} days before it, so that people can stop"
            f" it: name a time after {format_utc(graced)}.",
            "erase_from",
        )
    # An announcement with a time that never comes would stop the erasure for ever.
    margin = POSTPONED_AT_MOST if p.agency.role == COORDINATOR else ANNOUNCED_AFTER_AT_MOST
    latest = max(over, graced) + margin
    if erase_from > latest:
        raise invalid(
            "retention-late",
            f"Name a time before {format_utc(latest)}; a coordinator may postpone it again.",
            "erase_from",
        )
    announced = p.state.retention
    if announced is not None and (
        p.agency.role != COORDINATOR or erase_from <= announced.erase_from
    ):
        raise out_of_procedure(
            "already-announced",
            f"The erasure is announced from {format_utc(announced.erase_from)} on; a coordinator"
            " may announce a later time.",
            "act.erase_from",
        )


def _erasure_proposed(p: Proposal) -> None:
    _erasable(p)
    if not leads(p):
        raise not_allowed("lead", "The lead agency or its coordinator proposes an erasure.")


def _erasure_approved(p: Proposal) -> None:
    _erasable(p)
    erasure = p.state.erasure
    if erasure is None or erasure.proposal != UUID(p.act.fields["proposal"]):
        raise invalid("no-such-proposal", "No such erasure is proposed.", "proposal")
    if p.state.taken_in and erasure.by is not None:
        _approved_by_another_party(p, p.protocol.agencies_by_id[erasure.by].party)
    if p.protocol.actions[p.act.kind].reviews is not None:
        return  # another agency approves, see _independent
    proposer = erasure.by
    if proposer is not None and p.protocol.answering_for(proposer).id != p.agency.id:
        raise not_allowed("same-agency", f"Both persons are of {proposer}, which proposed it.")
    if p.history[erasure.proposal].key_id == p.act.key_id:
        raise not_allowed(
            "second-person", "A second person approves, with a key of their own; this one proposed."
        )


def _approved_by_another_party(p: Proposal, proposing: str) -> None:
    """Check that the erasure of merged cases is approved by a party other than the proposing one.

    Where no other country has a part in the cases, the own oversight body approves.
    """
    others = other_parties(p.state, proposing, p.protocol)
    if others and p.agency.party == proposing:
        raise not_allowed(
            "other-party",
            "This case took in another one: its erasure is approved by a coordinator or an"
            f" oversight body of {' or '.join(others)}.",
        )


def _erasure_confirmed(p: Proposal) -> None:
    upto = p.act.fields.get("upto")
    if upto is not None and upto >= p.act.version:
        raise invalid("upto", "The case has no such version yet; name one that it has.", "upto")
    erasure, order = p.state.erasure, p.act.fields.get("order")
    if erasure is not None and p.state.is_erased:
        if p.agency.party not in erasure.pending:
            raise out_of_procedure(
                "already-confirmed", "This country has confirmed or owes no erasure."
            )
        if erasure.order != (UUID(order) if order else None):
            raise invalid("no-such-order", "The erasure was ordered otherwise.", "order")
        return
    continuing = erased_with(p.state.merged_into, p.others) if p.state.merged_into else None
    if continuing is not None and continuing.erasure is not None:
        check_unheld(p)
        if continuing.erasure.order != (UUID(order) if order else None):
            raise invalid("no-such-order", "The erasure was ordered otherwise.", "order")
        return
    if p.agency.party in p.protocol.left_parties:
        _erased_on_leaving(p, order)
        return
    if p.state.merged_into is not None:
        raise out_of_procedure(
            "merged-case", "What is held in this case is erased with the case that it continues in."
        )
    if order is not None:
        raise invalid("no-such-order", "No such erasure was approved.", "order")
    due = retention_over(p.state, p.protocol)
    if due is None or p.now + CLOCK_SKEW < due:
        raise out_of_procedure(
            "retention", "The period of retention is not over, or a hold is in force."
        )
    check_unheld(p)
    if must_be_announced(p.protocol):
        _announced_long_enough(p)


def _erased_on_leaving(p: Proposal, order: str | None) -> None:
    """Check that a party that left confirms the erasure of what it had received in the case.

    Its part in the case ends with it. Raises ``Refusal`` if it may not.
    """
    if order is not None:
        raise invalid("no-such-order", "No such erasure was approved.", "order")
    refusal = _keeps_part(p.state, p.agency.party, p.protocol)
    if refusal is not None:
        raise refusal


def ends_part(state: CaseState, party: str, protocol: Protocol) -> bool:
    """Return whether a party that left may confirm now that it erased what it had received."""
    is_ordered = state.erasure is not None and state.is_erased
    return party in state.parties and not is_ordered and not _keeps_part(state, party, protocol)


def _keeps_part(state: CaseState, party: str, protocol: Protocol) -> Refusal | None:
    """Return why a party that left cannot end its part in a case yet."""
    if state.parties == (party,):
        return out_of_procedure("nothing-received", "No other country took part in this case.")
    if state.holds:
        return out_of_procedure("legal-hold", "A legal hold is in force; nothing may be erased.")
    for request in state.open_requests.values():
        asked = protocol.agencies_by_id[request.addressee]
        by = protocol.agencies_by_id[request.by]
        if asked.party == party and by.party in protocol.party_codes:
            return out_of_procedure(
                "answer-first",
                f"{asked.id} owes {by.id} an answer; answer or decline the request first.",
            )
    return None


def _announced_long_enough(p: Proposal) -> None:
    allowed = erasable_from(p.state, p.protocol)
    if allowed is None:
        raise out_of_procedure(
            "not-announced",
            "No erasure is announced in this case; record retention_announced first, and wait for"
            " the days of grace.",
        )
    if p.now + CLOCK_SKEW < allowed:
        raise out_of_procedure(
            "retention-grace",
            f"The announcement allows the erasure from {format_utc(allowed)} on.",
        )


CHECKS: Mapping[str, Check] = {
    "legal_hold_lifted": _hold_lifted,
    "retention_announced": _retention_announced,
    "erasure_proposed": _erasure_proposed,
    "erasure_approved": _erasure_approved,
    "erasure_confirmed": _erasure_confirmed,
}
