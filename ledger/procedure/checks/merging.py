"""Check merges of two cases of one person, and their undoing."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from ledger.procedure.case_state import MergedInto
from ledger.procedure.checks.linking import check_told
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    acts_for,
    leads,
)
from ledger.procedure.merge_conditions import (
    age_group_before,
    lacking,
    leaving,
    part_unsettled,
    parties_before,
    unsettled,
)
from ledger.procedure.merged_cases import all_concluded, held_elsewhere
from ledger.refusals import invalid, not_allowed, out_of_procedure
from ledger.vocabulary.picklists import MergeDeclineReason
from ledger.vocabulary.types import format_utc

_MERGES_SINCE = 2
"""From this edition on, cases may be merged: the rules of a merge rest on lasting actions."""


def _merge_proposed(p: Proposal) -> None:
    if not leads(p):
        raise not_allowed("lead", "The lead agency or its coordinator proposes a merge.")
    if p.protocol.edition < _MERGES_SINCE:
        raise out_of_procedure(
            "edition",
            f"The text in force has edition {p.protocol.edition} of the rules, and a merge needs"
            f" edition {_MERGES_SINCE}. Adopt an amendment with edition = {_MERGES_SINCE} first.",
        )
    if p.state.merge_proposal is not None:
        raise out_of_procedure("merge-proposed", "A merge is proposed already; withdraw it first.")
    _settled(p)
    to = p.protocol.agencies_by_id[p.act.fields["addressee"]]
    if to.id == p.agency.id:
        raise invalid("own-proposal", "A merge is proposed to another agency.", "addressee")
    if to.international or to.role not in p.protocol.actions["merge_accepted"].roles:
        raise invalid("lead-role", f"A {to.role} leads no case; name the lead agency.", "addressee")
    check_told(p, to.party)


def _settled(p: Proposal) -> None:
    """Check that nothing in the action's own case stands against a merge. Raises ``Refusal``."""
    if (refusal := unsettled(p.state)) is not None:
        raise refusal
    if held_elsewhere(p.state, p.others):
        raise out_of_procedure(
            "unsettled-hold",
            "A legal hold of a case that was merged with this one holds this case too. A merge"
            " waits until it is lifted there (legal_hold_lifted).",
        )


def _same_age_group(p: Proposal, other: str | None) -> None:
    """Check that both cases say the same of the person's age. Raises ``Refusal``."""
    if other != p.state.age_group:
        raise out_of_procedure(
            "other-age-group",
            f"In this case the person counts as {p.state.age_group.value}, and in the other one as"
            f" {other}: a merge must not take a child's safeguards away. Record age_assessed, so"
            " that both cases say the same.",
        )


def _merge_accepted(p: Proposal) -> None:
    if not leads(p):
        raise not_allowed("lead", "The lead agency of this case or its coordinator accepts.")
    fields = p.act.fields
    ended, proposal = UUID(fields["ended_case"]), UUID(fields["proposal"])
    if any(taken.case == ended for taken in p.state.taken_in.values()):
        raise out_of_procedure(
            "taken-in", "This case has taken in that case already.", "act.ended_case"
        )
    if p.state.merge_proposal is not None:
        raise out_of_procedure(
            "merge-proposed", "This case is proposed to end itself; withdraw that first."
        )
    _settled(p)
    other = p.others.get(ended) if ended != p.state.case_id else None
    proposed = other.history.get(proposal) if other is not None else None
    to = (
        p.protocol.agencies_by_id.get(proposed.fields["addressee"])
        if proposed is not None and proposed.kind == "merge_proposed"
        else None
    )
    if other is None or proposed is None or to is None or to.party != p.agency.party:
        # Says the same of a case that does not exist and of one that the agency may not see.
        raise invalid(
            "no-such-merge", "That case has no proposal of a merge to this country.", "proposal"
        )
    if (own := other.state.merge_proposal) is None or own.proposal != proposal:
        raise invalid(
            "no-such-merge",
            "The proposal is open no more: it was declined, withdrawn or concluded.",
            "proposal",
        )
    if proposed.agency == p.agency.id:
        raise not_allowed(
            "second-agency", "This agency proposed the merge; another one accepts it."
        )
    opened = next(iter(other.history.values())).acted_at
    if datetime.fromisoformat(fields["opened_at"]) != opened:
        raise invalid(
            "merge-opening", f"That case was opened at {format_utc(opened)}.", "opened_at"
        )
    took_part = p.agency.party in parties_before(other.history, proposal, p.protocol)
    if took_part is not (p.agency.party in fields["countries"]):
        raise invalid(
            "merge-countries",
            f"Name {p.agency.party} among the countries of that case exactly if it was party to it"
            " before the proposal: its deadlines depend on it.",
            "countries",
        )
    _same_age_group(p, age_group_before(other.history, proposal))


def _case_merged(p: Proposal) -> None:
    open_proposal = p.state.merge_proposal
    if open_proposal is None:
        raise out_of_procedure(
            "no-merge-proposed", "No merge is proposed in this case; propose it first."
        )
    fields = p.act.fields
    other = p.others.get(UUID(fields["continues_in"]))
    accepted = other.history.get(UUID(fields["acceptance"])) if other is not None else None
    if (
        other is None
        or accepted is None
        or accepted.kind != "merge_accepted"
        or UUID(accepted.fields["proposal"]) != open_proposal.proposal
        or UUID(accepted.fields["ended_case"]) != p.state.case_id
    ):
        raise invalid("no-such-merge", "The merge is not accepted in that case.", "acceptance")
    if accepted.id not in other.state.taken_in:
        raise invalid("no-such-merge", "The acceptance in that case was undone.", "acceptance")
    if not leads(p):
        raise not_allowed("lead", "The lead agency of this case or its coordinator ends it.")
    _settled(p)
    _same_age_group(p, age_group_before(other.history, accepted.id))
    if facts := lacking(p.state, other.history, p.protocol):
        raise out_of_procedure(
            "unsettled-facts",
            f"This case has {', '.join(facts)}, and the case that continues has not. Record these"
            " there first, each with the time at which it was done.",
        )
    author = p.protocol.agencies_by_id[accepted.agency]
    if missing := set(p.state.parties) - {author.party, *accepted.fields["countries"]}:
        raise out_of_procedure(
            "merge-countries",
            f"The acceptance brings {', '.join(sorted(missing))} not into the case that continues;"
            " undo it there and accept again.",
        )
    if not all_concluded(p.state, p.others):
        raise out_of_procedure(
            "merge-not-concluded",
            "This case took in another one that has not ended yet; record case_merged there first.",
        )


def _merge_declined(p: Proposal) -> None:
    if p.state.merged_into is not None:
        _undoing_withdrawn(p, p.state.merged_into)
        return
    open_proposal = p.state.merge_proposal
    if open_proposal is None or open_proposal.proposal != UUID(p.act.fields["proposal"]):
        raise invalid("no-such-merge", "No such merge is proposed in this case.", "proposal")
    to = p.protocol.answering_for(open_proposal.addressee)
    withdraws = p.act.fields["reason"] == MergeDeclineReason.WITHDRAWN
    if withdraws and not leads(p):
        raise not_allowed("lead", "The lead agency or its coordinator withdraws the proposal.")
    if not withdraws and not acts_for(p, to.id):
        raise not_allowed(
            "addressee", f"Only {to.id} or its country's coordinator declines the merge."
        )
    if open_proposal.joined is not None:
        _part_settled(p, open_proposal.joined)


def _part_settled(p: Proposal, *ending: str) -> None:
    """Check that countries whose part in the case ends have nothing left to settle in it.

    Raises ``Refusal`` (``unsettled-part``).
    """
    for party in sorted(ending):
        if (refusal := part_unsettled(p.state, party, p.protocol)) is not None:
            raise refusal


def _undoing_withdrawn(p: Proposal, into: MergedInto) -> None:
    """Check that an announced undoing of a merge may be withdrawn. Raises ``Refusal``."""
    announced, other = into.undoing, p.others.get(into.case)
    if announced is None or announced.announcement != UUID(p.act.fields["proposal"]):
        raise invalid("no-such-merge", "No such undoing is announced in this case.", "proposal")
    if other is None or into.acceptance not in other.state.taken_in:
        raise out_of_procedure(
            "undone-elsewhere",
            f"The merge is undone in case {into.case} already; undo it here too (merge_undone).",
        )
    if p.act.fields["reason"] != MergeDeclineReason.WITHDRAWN:
        raise invalid("undoing-withdrawn", "An announced undoing is withdrawn.", "reason")
    if not leads(p) and not acts_for(p, announced.by):
        raise not_allowed(
            "lead", "The agency that announced the undoing withdraws it, or the lead agency."
        )


def _merge_undone(p: Proposal) -> None:
    if p.state.merged_into is None:
        _undone_where_continued(p)
    elif UUID(p.act.fields["merge"]) == p.state.merged_into.acceptance:
        _undoing_announced(p, p.state.merged_into)
    else:
        _undone_where_ended(p, p.state.merged_into)


def _undone_where_continued(p: Proposal) -> None:
    fields = p.act.fields
    merge = UUID(fields["merge"])
    taken = p.state.taken_in.get(merge)
    if taken is None:
        raise invalid("no-such-merge", "This case took in no case by that action.", "merge")
    for name in ("undoing", "continued_in"):
        if fields.get(name) is not None:
            raise invalid("not-here", "Leave this out in the case that continued.", name)
    other = p.others.get(taken.case)
    proposed = other.history.get(taken.proposal) if other is not None else None
    bodies = [p.history[merge].agency, *([proposed.agency] if proposed is not None else [])]
    if not leads(p) and not any(acts_for(p, body) for body in bodies):
        raise not_allowed("lead", "An agency that leads or led one of the cases undoes the merge.")
    into = other.state.merged_into if other is not None else None
    if into is not None and into.acceptance == merge and into.undoing is None:
        raise out_of_procedure(
            "undoing-not-announced",
            f"Announce the undoing in case {taken.case} first, by a merge_undone that names the"
            " acceptance. Then that case owes its own undoing.",
            "act.merge",
        )
    _part_settled(p, *leaving(p.history, merge, p.state.parties, p.protocol))


def _undoing_announced(p: Proposal, into: MergedInto) -> None:
    """Check that the undoing of a merge may be announced in the case that ended.

    Raises ``Refusal``.
    """
    fields, other = p.act.fields, p.others.get(into.case)
    if into.undoing is not None:
        raise out_of_procedure(
            "undoing-announced",
            f"The undoing is announced already. Undo the merge in case {into.case} now.",
        )
    _names_continued(p, into)
    if fields.get("undoing") is not None:
        raise invalid("not-here", "Leave this out when you announce the undoing.", "undoing")
    if other is None or into.acceptance not in other.state.taken_in:
        raise out_of_procedure(
            "undone-elsewhere",
            f"The merge is undone in case {into.case} already; undo it here too (merge_undone).",
        )
    bodies = (other.history[into.acceptance].agency, other.state.lead_agency)
    if not leads(p) and not any(acts_for(p, body) for body in bodies):
        raise not_allowed("lead", "An agency that leads or led one of the cases undoes the merge.")


def _undone_where_ended(p: Proposal, into: MergedInto) -> None:
    fields = p.act.fields
    merge, undoing = UUID(fields["merge"]), fields.get("undoing")
    if into.action != merge:
        raise invalid("no-such-merge", "This case did not end by that action.", "merge")
    _names_continued(p, into)
    other = p.others.get(into.case)
    undone = other.history.get(UUID(undoing)) if other is not None and undoing else None
    if (
        undone is None
        or undone.kind != "merge_undone"
        or UUID(undone.fields["merge"]) != into.acceptance
    ):
        raise out_of_procedure(
            "undone-elsewhere-first",
            f"The merge is undone in case {into.case} first; name that action.",
            "act.undoing",
        )
    _part_settled(p, *leaving(p.history, merge, p.state.parties, p.protocol))


def _names_continued(p: Proposal, into: MergedInto) -> None:
    """Check that an undoing names the case that continued. Raises ``Refusal``."""
    if p.act.fields.get("continued_in") != str(into.case):
        raise invalid("no-such-merge", f"It continued in case {into.case}.", "continued_in")


CHECKS: Mapping[str, Check] = {
    "merge_proposed": _merge_proposed,
    "merge_accepted": _merge_accepted,
    "case_merged": _case_merged,
    "merge_declined": _merge_declined,
    "merge_undone": _merge_undone,
}
