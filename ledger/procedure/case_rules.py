"""Decide whether the procedure allows an action now. The protocol's data first, then logic."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure import condition_checks
from ledger.procedure.annulled_grounds import SINCE_EDITION as GROUNDS_SINCE
from ledger.procedure.annulled_grounds import annulled_ground
from ledger.procedure.case_access import AGENCY_FIELDS
from ledger.procedure.case_fold import addressed_parties, annulled_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.checks import (
    closing,
    coordination,
    corrections,
    decisions,
    destruction,
    erasure,
    linking,
    merging,
    person,
    protection,
    returns,
    sharing,
)
from ledger.procedure.checks.proposal import (
    CLOCK_SKEW,
    NO_ID,
    Check,
    Proposal,
)
from ledger.procedure.checks.taking_part import (
    check_bodies_of_the_case,
    has_part,
    is_bound,
    references,
)
from ledger.procedure.dates import check_dates
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases
from ledger.procedure.protocol import ActionRule, Agency, Protocol
from ledger.procedure.subject_ids import KEPT_APART_SINCE, check_case_id
from ledger.refusals import Ground, Refusal, invalid, not_allowed, out_of_procedure
from ledger.vocabulary.picklists import ClosureReason, TraffickingStatus

_STATUS = "protected_as"
"""The field that states a status before a formal identification."""


def decide(
    state: CaseState | None,
    history: Mapping[UUID, Act],
    act: Act,
    protocol: Protocol,
    now: datetime,
    not_before: datetime | None = None,
    others: OtherCases = NO_OTHERS,
) -> None:
    """Check an action against the rules.

    ``history`` holds the case's earlier actions by id. ``act.version`` is the version that the
    action would get. ``not_before`` is the earliest time at which the action was first judged.
    ``others`` has the other cases that the rules read (:mod:`ledger.procedure.merged_cases`).
    Raises ``Refusal`` with the rule, and with the field if one is at fault.
    """
    rule = protocol.actions.get(act.kind)
    if rule is None:
        raise Refusal(
            Ground.INVALID,
            "not-a-case-action",
            f"{act.kind} is no action on a case in this protocol.",
            "kind",
        )
    _status_agreed(act, rule)
    rule = rule.taken_with(act.fields)
    agency = protocol.agencies_by_id[act.agency]
    if agency.retired_at is not None:
        raise not_allowed(
            "retired-agency",
            "This agency is retired; its country's coordinator acts in its place.",
        )
    if agency.party in protocol.left_parties and act.kind not in _AFTER_LEAVING:
        raise _left(agency, protocol)
    _known_references(act, protocol)
    if act.acted_at > now + CLOCK_SKEW:
        raise invalid("acted-in-future", "The time of the act is in the future.", "act.acted_at")
    if agency.role not in rule.roles:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "role",
            f"{agency.role} may not take {act.kind}; it is for {', '.join(rule.roles)}.",
            "kind",
        )
    if state is None:
        if act.kind != "case_opened":
            raise Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case; open it first.")
        if agency.international:
            raise not_allowed(
                "international-body",
                "An international body opens no case; an agency of the country opens it and names"
                " the body.",
            )
        if protocol.edition >= KEPT_APART_SINCE:
            check_case_id(act.case_id, act.id)
        check_dates(act, None, history, protocol, now)
        return
    if act.kind == "case_opened":
        raise out_of_procedure(
            "already-opened", "This case is open already; a case is opened once."
        )
    comes_in = rule.joins and not agency.international
    if is_bound(agency, protocol) and agency.party in state.parties:
        comes_in = False
    if not has_part(agency, state, history, protocol) and not comes_in:
        # Says no more than for a case that does not exist.
        raise Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case; open it first.")
    if agency.party in protocol.left_parties:
        _only_settles(act, agency, state, protocol)
    if state.is_erased and act.kind not in _AFTER_ERASURE:
        raise out_of_procedure(
            "erased-case", "What was held on this person is erased; open a new case."
        )
    if (
        state.closure is ClosureReason.OPENED_IN_ERROR
        and act.kind not in _AFTER_ANNULLED_OPENING
        and state.opening in annulled_ids(history.values())
    ):
        raise out_of_procedure(
            "opened-in-error", "The opening of this case is annulled; open a new case."
        )
    if state.merged_into is not None:
        _still_taken_after_merge(act, state)
    elif state.is_closed and not rule.on_closed_case:
        raise out_of_procedure("closed-case", "The case is closed; reopen it first.")
    condition_checks.check_party(act, agency, rule, state, protocol)
    condition_checks.check_named_party(act.kind, agency, rule, state, history)
    of_person = rule.requires_for_child if state.is_child else rule.requires_for_adult
    required = (*rule.requires, *of_person)
    for fact in required:
        if fact not in state.facts:
            safeguard = ""
            if fact in of_person:
                safeguard = " of a child" if state.is_child else " of an adult"
            raise out_of_procedure(
                f"requires-{fact}",
                f"{act.kind}{safeguard} requires {fact} first; record that action before this one.",
            )
        if state.facts[fact].since > act.acted_at:
            raise out_of_procedure(
                f"requires-{fact}",
                f"{act.kind} cannot have taken place before {fact}.",
                "act.acted_at",
            )
        if state.lacks_safeguard(state.facts[fact].action):
            raise _without_safeguard(act.kind, fact, state)
    if protocol.edition >= GROUNDS_SINCE:
        one_of = (fact for fact in rule.requires_one_of if fact in state.facts)
        _grounds_hold(act.kind, (*required, *one_of), state, history, protocol)
    _one_of(act, rule, state)
    for fact in rule.forbidden_while:
        if fact in state.facts:
            raise out_of_procedure(
                f"not-while-{fact}", f"{act.kind} is not possible while {fact} holds."
            )
    condition_checks.check_bodies(act, agency, rule, state, history, protocol)
    condition_checks.check_conditions(act, rule, state, history, protocol)
    condition_checks.check_reflection(act, rule, state, protocol)
    check_bodies_of_the_case(act, agency, state, protocol)
    check_dates(act, state, history, protocol, now)
    proposal = Proposal(state, history, act, agency, protocol, now, not_before or now, others)
    _independent(proposal, rule)
    check = _CHECKS.get(act.kind)
    if check is not None:
        check(proposal)


def _grounds_hold(
    kind: str,
    facts: Collection[str],
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> None:
    """Check that no fact that the action needs rests on an annulled action.

    Raises ``Refusal`` (``annulled-ground``).
    """
    ground = annulled_ground(facts, state, history, protocol)
    if ground is not None:
        raise out_of_procedure(
            "annulled-ground",
            f"{kind} rests on {ground.resting}, and the {ground.fact} that this needed was"
            f" annulled. Record {ground.fact} again, and then {ground.resting}; or annul"
            f" {ground.resting} too.",
        )


def _status_agreed(act: Act, rule: ActionRule) -> None:
    """Check that the text in force says what follows from the status that an action states.

    An opening as a potential victim says what every opening says. Raises ``Refusal``.
    """
    status = act.fields.get(_STATUS)
    if status is None or (act.kind == "case_opened" and status == TraffickingStatus.POSSIBLE):
        return
    if not any(one.field == _STATUS and one.is_of(act.fields) for one in rule.where):
        raise invalid(
            "status-not-agreed",
            "The protocol in force does not say what follows from this status of the person. Leave"
            " it out, or adopt an amendment that says so first.",
            _STATUS,
        )


def _one_of(act: Act, rule: ActionRule, state: CaseState) -> None:
    """Check that one of the facts of which the rule needs one holds. Raises ``Refusal``."""
    held = [state.facts[fact] for fact in rule.requires_one_of if fact in state.facts]
    if rule.requires_one_of and not any(fact.since <= act.acted_at for fact in held):
        raise out_of_procedure(
            f"one-of-{rule.requires_one_of[0]}",
            f"{act.kind} requires one of these first: {', '.join(rule.requires_one_of)}.",
        )


def _only_settles(act: Act, agency: Agency, state: CaseState, protocol: Protocol) -> None:
    """Check that an agency whose party left reviews or releases only what the party owes.

    For the other kinds of ``_AFTER_LEAVING``, the check of the kind says whether the agency owes
    it. Raises ``Refusal`` (``left-party``).
    """
    owes = True
    if act.kind == "break_glass_reviewed":
        access = state.break_glass.get(UUID(act.fields["access"]))
        owes = access is not None and agency.party in access.to_review
    if act.kind == "information_released":
        request = state.open_requests.get(UUID(act.fields.get("request") or NO_ID))
        asked = None if request is None else protocol.agencies_by_id[request.addressee]
        owes = asked is not None and asked.party == agency.party
    if not owes:
        raise _left(agency, protocol)


def _left(agency: Agency, protocol: Protocol) -> Refusal:
    return not_allowed(
        "left-party",
        f"{agency.party} left the agreement on {protocol.left_parties[agency.party]}: its agencies"
        " answer what they owe and confirm the erasure, and do nothing else.",
    )


def _still_taken_after_merge(act: Act, state: CaseState) -> None:
    """Check that a case that ended by a merge takes the action still.

    Raises ``Refusal`` (``merged-case``) with the case in which it continues.
    """
    is_taken = act.kind in _AFTER_MERGE
    if act.kind == "identity_recorded":
        is_taken = act.fields.get("request") is not None
    if act.kind == "form_sent":
        is_taken = act.fields.get("answers") is not None
    if not is_taken and state.merged_into is not None:
        raise out_of_procedure(
            "merged-case",
            f"This case was merged and continues in case {state.merged_into.case}; take the action"
            " there.",
        )


def _without_safeguard(kind: str, fact: str, state: CaseState) -> Refusal:
    """Return the refusal of an action that rests on what lacks a child's safeguard."""
    lacking = state.unguarded[state.facts[fact].action]
    return out_of_procedure(
        f"safeguard-{fact}",
        f"{kind} rests on {fact}, which was recorded while the person counted as an adult, without"
        f" {', '.join(lacking.safeguards)}. Record these, and then {lacking.kind} again; annul the"
        " earlier one by a correction where it stands in the way.",
    )


_AFTER_LEAVING = frozenset(
    {
        "information_acknowledged",
        "information_provided",
        "information_declined",
        "information_released",
        "joint_action_done",
        "break_glass_reviewed",
        "legal_hold_lifted",
        "erasure_confirmed",
        "destruction_confirmed",
    }
)
"""The actions that agencies of a party that left may take, each only where the party owes it."""

_AFTER_MERGE = frozenset(
    {
        # What was begun or asked for in the case before it ended is settled in it.
        "information_acknowledged",
        "information_provided",
        "information_declined",
        "information_released",
        "form_acknowledged",
        "joint_action_done",
        "rectification_declined",
        "shelter_left",
        "service_ended",
        "protection_measure_ended",
        "consent_withdrawn",
        "sharing_ended",
        "cases_unlinked",
        "correction",
        # Its fields may be needed in danger to life, and each such access is reviewed.
        "break_glass_opened",
        "break_glass_reviewed",
        "legal_hold_lifted",
        "erasure_confirmed",
        # What was recorded in the wrong case need not wait for the erasure of the person.
        "destruction_proposed",
        "destruction_approved",
        "destruction_confirmed",
        "merge_declined",
        "merge_undone",
    }
)
"""The actions that a case takes after it was merged into another one."""

_AFTER_ERASURE = frozenset(
    {"erasure_confirmed", "destruction_confirmed", "break_glass_reviewed", "correction"}
)

_AFTER_ANNULLED_OPENING = frozenset(
    {
        "correction",
        "legal_hold_placed",
        "legal_hold_lifted",
        "retention_announced",
        "erasure_proposed",
        "erasure_approved",
        "erasure_confirmed",
        "destruction_proposed",
        "destruction_approved",
        "destruction_confirmed",
    }
)

_COUNTRY_FIELDS = ("host", "destination", "recipient", "recipients", "told", "country")


def _independent(p: Proposal, rule: ActionRule) -> None:
    """Check that an agency does not review its own action, nor a coordinator its agency's.

    Raises ``Refusal`` if it does.
    """
    if rule.reviews is None:
        return
    reviewed = p.history.get(UUID(p.act.fields[rule.reviews]))
    if reviewed is None:
        return  # the check of the action says so
    author = p.protocol.agencies_by_id[reviewed.agency]
    if author.id == p.agency.id or (
        author.party == p.agency.party and p.agency.role in rule.by_another_party
    ):
        others = [role for role in rule.roles if role not in rule.by_another_party]
        at_home = f", or by {' or '.join(others)}" if others else ""
        raise not_allowed(
            "second-party",
            f"{author.id} did this; it is reviewed by another country's"
            f" {' or '.join(rule.by_another_party) or 'agency'}{at_home}.",
        )


def _known_references(act: Act, protocol: Protocol) -> None:
    named = (*AGENCY_FIELDS, "agency") if act.kind == "agency_admitted" else AGENCY_FIELDS
    for field, value in references(act.fields, named):
        agency = protocol.agencies_by_id.get(value)
        if agency is None:
            raise invalid("unknown-agency", "This is no agency of the protocol.", field)
        if agency.retired_at is not None:
            raise invalid(
                "retired-agency",
                f"{value} is retired; name {protocol.answering_for(value).id} or another agency.",
                field,
            )
        if agency.party in protocol.left_parties and agency.id != act.agency:
            raise invalid(
                "left-party",
                f"{agency.party}, the party of {value}, left the agreement; name an agency of a"
                " party.",
                field,
            )
    for field, value in references(act.fields, _COUNTRY_FIELDS):
        if value not in protocol.party_codes:
            raise invalid("not-a-party", "This country is no party of the protocol.", field)
    for country in addressed_parties(act, protocol):
        if country not in protocol.party_codes:
            raise invalid("not-a-party", "A country is no party of the protocol.", "countries")


_CHECKS: Mapping[str, Check] = {
    **corrections.CHECKS,
    **person.CHECKS,
    **closing.CHECKS,
    **protection.CHECKS,
    **coordination.CHECKS,
    **decisions.CHECKS,
    **returns.CHECKS,
    **sharing.CHECKS,
    **erasure.CHECKS,
    **destruction.CHECKS,
    **linking.CHECKS,
    **merging.CHECKS,
}
