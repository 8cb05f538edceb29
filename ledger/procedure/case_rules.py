"""Decide whether the procedure allows an action now. The protocol's data first, then logic."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure import condition_checks
from ledger.procedure.annulled_grounds import SINCE_EDITION as GROUNDS_SINCE
from ledger.procedure.annulled_grounds import annulled_ground
from ledger.procedure.case_fold import (
    addressed_parties,
    annulled_ids,
    holders,
    told_countries,
    withheld_ids,
)
from ledger.procedure.case_state import CaseState, Destruction, ErrorClosing, MergedInto
from ledger.procedure.dates import check_dates
from ledger.procedure.form_rules import check_acknowledged, check_sent
from ledger.procedure.held_parts import others_may_lift
from ledger.procedure.legal_basis import Basis, release_bases
from ledger.procedure.merge_conditions import (
    age_group_before,
    lacking,
    leaving,
    part_unsettled,
    parties_before,
    unsettled,
)
from ledger.procedure.merged_cases import (
    NO_OTHERS,
    OtherCases,
    all_concluded,
    erased_with,
    held_elsewhere,
)
from ledger.procedure.protocol import COORDINATOR, ActionRule, Agency, Operation, Protocol
from ledger.procedure.retention import (
    erasable_from,
    must_be_announced,
    retention_over,
    retention_rule,
)
from ledger.procedure.subject_ids import KEPT_APART_SINCE, check_case_id
from ledger.refusals import Ground, Refusal
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ClosureReason,
    LegalBasis,
    MergeDeclineReason,
    StatementGround,
    TraffickingStatus,
)
from ledger.vocabulary.types import format_utc

CLOCK_SKEW = timedelta(minutes=5)
_STATUS = "protected_as"
"""The field that states a status before a formal identification."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An action that an agency proposes for an open case."""

    state: CaseState
    history: Mapping[UUID, Act]
    act: Act
    agency: Agency
    protocol: Protocol
    now: datetime
    not_before: datetime
    """When it was judged at the earliest: ``now``, unless it is judged again after the fact."""
    others: OtherCases
    """The other cases that the action or the case names, by id."""


Check = Callable[[Proposal], None]


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
        raise _not_allowed(
            "retired-agency",
            "This agency is retired; its country's coordinator acts in its place.",
        )
    if agency.party in protocol.left_parties and act.kind not in _AFTER_LEAVING:
        raise _left(agency, protocol)
    _known_references(act, protocol)
    if act.acted_at > now + CLOCK_SKEW:
        raise _invalid("acted-in-future", "The time of the act is in the future.", "act.acted_at")
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
            raise _not_allowed(
                "international-body",
                "An international body opens no case; an agency of the country opens it and names"
                " the body.",
            )
        if protocol.edition >= KEPT_APART_SINCE:
            check_case_id(act.case_id, act.id)
        check_dates(act, None, history, protocol, now)
        return
    if act.kind == "case_opened":
        raise _out("already-opened", "This case is open already; a case is opened once.")
    comes_in = rule.joins and not agency.international
    if not has_part(agency, state, history) and not comes_in:
        # Says no more than for a case that does not exist.
        raise Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case; open it first.")
    if agency.party in protocol.left_parties:
        _only_settles(act, agency, state, protocol)
    if state.is_erased and act.kind not in _AFTER_ERASURE:
        raise _out("erased-case", "What was held on this person is erased; open a new case.")
    if (
        state.closure is ClosureReason.OPENED_IN_ERROR
        and act.kind not in _AFTER_ANNULLED_OPENING
        and state.opening in annulled_ids(history.values())
    ):
        raise _out("opened-in-error", "The opening of this case is annulled; open a new case.")
    if state.merged_into is not None:
        _still_taken_after_merge(act, state)
    elif state.is_closed and not rule.on_closed_case:
        raise _out("closed-case", "The case is closed; reopen it first.")
    condition_checks.check_party(act, agency, rule, state, protocol)
    condition_checks.check_named_party(act.kind, agency, rule, state, history)
    of_person = rule.requires_for_child if state.is_child else rule.requires_for_adult
    required = (*rule.requires, *of_person)
    for fact in required:
        if fact not in state.facts:
            safeguard = ""
            if fact in of_person:
                safeguard = " of a child" if state.is_child else " of an adult"
            raise _out(
                f"requires-{fact}",
                f"{act.kind}{safeguard} requires {fact} first; record that action before this one.",
            )
        if state.facts[fact].since > act.acted_at:
            raise _out(
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
            raise _out(f"not-while-{fact}", f"{act.kind} is not possible while {fact} holds.")
    condition_checks.check_bodies(act, agency, rule, state, history, protocol)
    condition_checks.check_conditions(act, rule, state, history, protocol)
    condition_checks.check_reflection(act, rule, state, protocol)
    _bodies_of_the_case(act, agency, state, protocol)
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
        raise _out(
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
        raise _invalid(
            "status-not-agreed",
            "The protocol in force does not say what follows from this status of the person. Leave"
            " it out, or adopt an amendment that says so first.",
            _STATUS,
        )


def _one_of(act: Act, rule: ActionRule, state: CaseState) -> None:
    """Check that one of the facts of which the rule needs one holds. Raises ``Refusal``."""
    held = [state.facts[fact] for fact in rule.requires_one_of if fact in state.facts]
    if rule.requires_one_of and not any(fact.since <= act.acted_at for fact in held):
        raise _out(
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
        request = state.open_requests.get(UUID(act.fields.get("request") or _NONE))
        asked = None if request is None else protocol.agencies_by_id[request.addressee]
        owes = asked is not None and asked.party == agency.party
    if not owes:
        raise _left(agency, protocol)


def _left(agency: Agency, protocol: Protocol) -> Refusal:
    return _not_allowed(
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
        raise _out(
            "merged-case",
            f"This case was merged and continues in case {state.merged_into.case}; take the action"
            " there.",
        )


def _without_safeguard(kind: str, fact: str, state: CaseState) -> Refusal:
    """Return the refusal of an action that rests on what lacks a child's safeguard."""
    lacking = state.unguarded[state.facts[fact].action]
    return _out(
        f"safeguard-{fact}",
        f"{kind} rests on {fact}, which was recorded while the person counted as an adult, without"
        f" {', '.join(lacking.safeguards)}. Record these, and then {lacking.kind} again; annul the"
        " earlier one by a correction where it stands in the way.",
    )


def has_part(agency: Agency, state: CaseState, history: Mapping[UUID, Act]) -> bool:
    """Return whether an agency has part in a case, by its country or because the case names it.

    An agency of a country has part in each case of the country. An international body has part in
    the cases in which a country asked it for information, or made it responsible for a joint
    action. ``history`` has the case's actions by id.
    """
    if agency.party not in state.parties:
        return False
    if not agency.international:
        return True
    annulled = annulled_ids(history.values())
    return any(
        agency.id in {value for _, value in _references(act.fields, _AGENCY_FIELDS)}
        for act in history.values()
        if act.id not in annulled and act.agency != agency.id
    )


def _bodies_of_the_case(act: Act, agency: Agency, state: CaseState, protocol: Protocol) -> None:
    """Check that naming an international body does not bring another country into the case.

    A country names a body that works through a country of the case. A body names no other body, and
    does not take the lead of a case. Raises ``Refusal`` if the action breaks one of these rules.
    """
    for field, value in _references(act.fields, _AGENCY_FIELDS):
        body = protocol.agencies_by_id[value]
        if not body.international:
            continue
        if field == "to_agency":
            raise _invalid("lead-role", "An international body does not lead a case.", field)
        if body.party not in state.parties:
            raise _invalid(
                "body-of-another-country",
                f"{body.id} works through {body.party}, which is no party to this case; let a"
                " country of the case invite it.",
                field,
            )
        if agency.international and body.id != agency.id:
            raise _not_allowed(
                "international-body", "A country of the case names an international body."
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
_NONE = str(UUID(int=0))
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
_OTHERS_LIFT_SINCE = 2
"""From this edition on, others lift the holds of a party that left, after its days are over."""
_MERGES_SINCE = 2
"""From this edition on, cases may be merged: the rules of a merge rest on lasting actions."""
_LASTING = frozenset(
    {
        "case_opened",
        "correction",
        "information_released",
        "break_glass_opened",
        "break_glass_reviewed",
        "erasure_approved",
        "erasure_confirmed",
        "destruction_confirmed",
        "merge_proposed",
        "merge_accepted",
        "case_merged",
        "merge_declined",
        "merge_undone",
    }
)
"""The kinds that cannot be annulled: released, opened or erased fields stay so.

A proposed merge is withdrawn, and a merge is undone, by actions of their own. For the order of a
destruction see :func:`_is_lasting_order`."""
BREAK_GLASS_LASTS = timedelta(hours=24)
ANNOUNCED_AFTER_AT_MOST = timedelta(days=2 * 366)
"""So long after the earliest time an erasure by retention may be announced, by a node.

The clocks of a node and its witnesses may be a year ahead."""
POSTPONED_AT_MOST = timedelta(days=10 * 366)
"""So long after the earliest time, by a coordinator, who may do it again."""

_AGENCY_FIELDS = ("addressee", "to_agency", "responsible")

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
        raise _not_allowed(
            "second-party",
            f"{author.id} did this; it is reviewed by another country's"
            f" {' or '.join(rule.by_another_party) or 'agency'}{at_home}.",
        )


def _known_references(act: Act, protocol: Protocol) -> None:
    for field, value in _references(act.fields, _AGENCY_FIELDS):
        agency = protocol.agencies_by_id.get(value)
        if agency is None:
            raise _invalid("unknown-agency", "This is no agency of the protocol.", field)
        if agency.retired_at is not None:
            raise _invalid(
                "retired-agency",
                f"{value} is retired; name {protocol.answering_for(value).id} or another agency.",
                field,
            )
        if agency.party in protocol.left_parties and agency.id != act.agency:
            raise _invalid(
                "left-party",
                f"{agency.party}, the party of {value}, left the agreement; name an agency of a"
                " party.",
                field,
            )
    for field, value in _references(act.fields, _COUNTRY_FIELDS):
        if value not in protocol.party_codes:
            raise _invalid("not-a-party", "This country is no party of the protocol.", field)
    for country in addressed_parties(act, protocol):
        if country not in protocol.party_codes:
            raise _invalid("not-a-party", "A country is no party of the protocol.", "countries")


def _references(fields: Mapping[str, Any], names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        if value := fields.get(name):
            for item in (value,) if isinstance(value, str) else value:
                yield name, item


def _identity_recorded(p: Proposal) -> None:
    named = p.act.fields.get("request")
    if (named is not None) is not (p.act.fields["ground"] == StatementGround.RECTIFICATION):
        raise _invalid(
            "request-not-named",
            "A rectification names the person's request that it answers, and nothing else does.",
            "request",
        )
    if named is not None:
        _rectification_answered(p)


def _rectification_answered(p: Proposal) -> None:
    asked = p.state.rectifications.get(UUID(p.act.fields["request"]))
    if asked is None:
        raise _invalid("no-such-request", "No such request is open in this case.", "request")
    if asked.party != p.agency.party:
        raise _not_allowed(
            "own-rectification", "The country that took the person's request answers it."
        )


def _reopened(p: Proposal) -> None:
    if not p.state.is_closed:
        raise _out("open-case", "The case is not closed; there is nothing to reopen.")


def _closed(p: Proposal) -> None:
    if p.protocol.leading(p.state.lead_agency, p.state.parties).party != p.agency.party:
        raise _not_allowed("lead-country", "Only the country that leads the case may close it.")
    agreed = p.state.model_copy(update={"error_closing": _open_error_closing(p)})
    refusal = reason_refusal(p.act.fields["reason"], agreed, p.protocol)
    if refusal is not None:
        raise refusal


def reason_refusal(reason: str, state: CaseState, protocol: Protocol) -> Refusal | None:
    """Return why a reason for closing does not agree with the facts of a case, or ``None``."""
    agreed = state.error_closing
    if reason == ClosureReason.OPENED_IN_ERROR and (agreed is None or agreed.pending):
        return _out(
            "not-agreed",
            "A case is closed as opened in error once the other countries of the case agreed:"
            " record error_closing_proposed, and wait for their error_closing_accepted. Any other"
            " action in the case ends their agreement, and so does the protocol's period.",
            "act.reason",
        )
    for rule in protocol.closings:
        if rule.reason != reason:
            continue
        lacking = [fact for fact in rule.requires if fact not in state.facts]
        against = [fact for fact in rule.forbidden_while if fact in state.facts]
        if lacking or against:
            told = [f"{fact} is not recorded" for fact in lacking]
            told += [f"{fact} holds" for fact in against]
            return _out(
                "closing-reason",
                f"The case cannot be closed as {reason}: {'; '.join(told)}. Choose another reason,"
                " or record what happened first.",
                "act.reason",
            )
    return None


def _error_closing_proposed(p: Proposal) -> None:
    if p.protocol.leading(p.state.lead_agency, p.state.parties).party != p.agency.party:
        raise _not_allowed("lead-country", "The country that leads the case proposes this.")
    if _open_error_closing(p) is not None:
        raise _out("already-proposed", "This is proposed already; the others have to agree.")


def _error_closing_accepted(p: Proposal) -> None:
    proposed = _open_error_closing(p)
    if proposed is None or proposed.proposal != UUID(p.act.fields["proposal"]):
        raise _invalid("no-such-proposal", "No such closing is proposed.", "proposal")
    if p.agency.party not in proposed.pending:
        raise _out("already-accepted", "This country has agreed, or is not asked.")


def _open_error_closing(p: Proposal) -> ErrorClosing | None:
    """Return the proposal to close the case as opened in error, if its period is not over."""
    proposed = p.state.error_closing
    if proposed is not None and proposed.until is not None and p.not_before > proposed.until:
        return None
    return proposed


def _correction(p: Proposal) -> None:
    mistaken = p.history.get(UUID(p.act.fields["corrects"]))
    if mistaken is None:
        raise _invalid("unknown-action", "No such action in this case.", "corrects")
    if mistaken.kind == NOT_UNDERSTOOD:
        raise _out(
            "not-understood", "This event had no effect: there is nothing to correct.", "corrects"
        )
    author = p.protocol.agencies_by_id[mistaken.agency]
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == author.party
    if author.id != p.agency.id and not its_coordinator:
        raise _not_allowed(
            "own-action", "An action is corrected by its agency or that country's coordinator."
        )
    annuls_opening = p.act.fields["effect"] == "annulled" and mistaken.kind == "case_opened"
    if annuls_opening and p.protocol.edition >= 2 and p.state.opening == mistaken.id:
        _opening_alone(p, mistaken)
    elif p.act.fields["effect"] == "annulled" and _is_lasting(mistaken, p):
        raise _out("not-annullable", f"{mistaken.kind} cannot be annulled; clarify it instead.")
    if any(_annuls(earlier, mistaken.id) for earlier in p.history.values()):
        raise _out("already-annulled", "This action is annulled already.", "act.corrects")


def _opening_alone(p: Proposal, opening: Act) -> None:
    """Check that nobody but the agency that opened the case has acted in it or was told of it.

    A country that the opening or a later action named has received fields of the case and may have
    acted outside it. It counts too if the action that named it is annulled. Nor may anything have
    been done that lasts. Raises ``Refusal`` (``others-acted``).
    """
    own = p.protocol.agencies_by_id[opening.agency].party
    earlier = [act for act in p.history.values() if act.id != opening.id]
    if told_countries(p.history.values(), p.protocol) - {own} or any(
        act.agency != opening.agency or (act.kind != "correction" and _is_lasting(act, p))
        for act in earlier
    ):
        raise _out(
            "others-acted",
            "Other agencies have acted in this case, another country was told of it, or something"
            " was released or opened: close it as opened in error, by agreement"
            " (error_closing_proposed).",
            "act.corrects",
        )


def _is_lasting(act: Act, p: Proposal) -> bool:
    if act.kind in ("legal_hold_placed", "legal_hold_lifted"):
        # Its country lifts it. To annul it would bring back the announcement that it ended.
        # Other actions rest on a lifted hold: a court places a new one instead of annulling it.
        return p.protocol.edition >= 2
    if act.kind == "retention_announced":
        return p.state.is_erased
    if act.kind == "erasure_proposed":
        # Without the proposal, the order that stands on it would be folded away.
        return p.protocol.edition >= 2 and p.state.is_erased
    if act.kind in ("destruction_proposed", "destruction_approved"):
        return _is_lasting_order(act, p)
    return act.kind in _LASTING


def _is_lasting_order(act: Act, p: Proposal) -> bool:
    """Return whether the proposal or the approval of a destruction cannot be withdrawn any more."""
    destruction = next(
        (one for name, one in p.state.destructions.items() if act.id in (name, one.order)), None
    )
    if destruction is None or destruction.order is None:
        return act.kind == "destruction_approved"
    return not destruction.is_stoppable(p.not_before)


def _annuls(act: Act, action: UUID) -> bool:
    return (
        act.kind == "correction"
        and act.fields["effect"] == "annulled"
        and UUID(act.fields["corrects"]) == action
    )


def _of_the_same_country(what: str, field: str) -> Check:
    def check(p: Proposal) -> None:
        in_force = (p.state.services if what == "service" else p.state.measures).get(
            UUID(p.act.fields[field])
        )
        if in_force is None:
            raise _invalid(f"no-such-{what}", f"No such {what} is in force in this case.", field)
        if in_force.party != p.agency.party:
            raise _not_allowed(f"own-{what}", f"The country that gives a {what} ends it.")

    return check


def _shelter_left(p: Proposal) -> None:
    if p.state.shelter is not None and p.state.shelter.party != p.agency.party:
        raise _not_allowed("own-shelter", "The country that shelters the person records this.")
    _exit_approved(p)


def _exit_approved(p: Proposal) -> None:
    """Check that the roles of the protocol approved the exit of a person at high risk.

    An approval counts if it came after the person was sheltered. Raises ``Refusal`` if one lacks.
    """
    annulled = annulled_ids(p.history.values())
    acts = [act for act in p.history.values() if act.id not in annulled]
    risks = [act for act in acts if act.kind == "risk_assessed"]
    sheltered = p.state.facts.get("sheltered")
    if not risks or sheltered is None:
        return
    since = p.history[sheltered.action].position
    approving = {
        (agency.party, agency.role)
        for act in acts
        if act.kind == "shelter_exit_approved" and act.position > since
        for agency in [p.protocol.agencies_by_id[act.agency]]
    }
    for needed in p.protocol.shelter_exits:
        if needed.party != sheltered.party or risks[-1].fields["risk_level"] not in (
            needed.risk_levels
        ):
            continue
        missing = [one for one in needed.approved_by if (needed.party, one) not in approving]
        if missing:
            raise _out(
                "shelter-exit",
                f"A person whose risk is {risks[-1].fields['risk_level']} leaves a shelter of"
                f" {needed.party} for good once each of these approved: {', '.join(missing)}. Let"
                " them record shelter_exit_approved.",
            )


def _requested(p: Proposal) -> None:
    if p.act.fields["addressee"] == p.agency.id:
        raise _invalid("own-request", "A request is addressed to another agency.", "addressee")
    if p.act.fields.get("groups") and not p.act.fields.get("basis"):
        raise _invalid(
            "basis-not-named", "Who asks for personal fields says on what legal basis.", "basis"
        )
    _matrix(p, Operation.REQUEST)


def _answered(p: Proposal) -> None:
    request = p.state.open_requests.get(UUID(p.act.fields["request"]))
    if request is None:
        raise _invalid("no-such-request", "No such request is open in this case.", "request")
    addressee = p.protocol.agencies_by_id[request.addressee]
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == addressee.party
    if p.agency.id != addressee.id and not its_coordinator:
        raise _not_allowed(
            "addressee", f"Only {addressee.id} or its country's coordinator answers this request."
        )
    if p.act.kind == "information_acknowledged" and request.acknowledged:
        raise _out("already-acknowledged", "This request is acknowledged already.", "act.request")


def _form_sent(p: Proposal) -> None:
    check_sent(p.act, p.state, p.history, p.agency, p.protocol)


def _form_acknowledged(p: Proposal) -> None:
    check_acknowledged(p.act, p.state, p.agency, p.protocol)


def _joint_action_done(p: Proposal) -> None:
    agreed = p.state.joint_actions.get(UUID(p.act.fields["agreed_action"]))
    if agreed is None:
        raise _invalid("no-such-joint-action", "No such joint action is open.", "agreed_action")
    responsible = {p.protocol.answering_for(one).id for one in agreed.responsible}
    if p.agency.id not in responsible:
        raise _not_allowed("responsible", "Only an agency responsible for it reports it done.")


def _met(p: Proposal) -> None:
    if p.agency.party not in p.act.fields["countries"]:
        raise _invalid("own-meeting", "A meeting is recorded by a country that met.", "countries")


def _manager_named(p: Proposal) -> None:
    if p.agency.international:
        raise _not_allowed(
            "international-body",
            "A country names its case manager by an agency of its own, not by an international"
            " body.",
        )


def _lead_offered(p: Proposal) -> None:
    lead = p.protocol.leading(p.state.lead_agency, p.state.parties)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == lead.party
    if p.agency.id != lead.id and not its_coordinator:
        raise _not_allowed("lead", "Only the lead agency or its coordinator offers the lead.")
    to = p.protocol.agencies_by_id[p.act.fields["to_agency"]]
    if to.id == lead.id:
        raise _invalid("lead", "This agency has the lead already.", "to_agency")
    if to.role not in p.protocol.actions["lead_transfer_accepted"].roles:
        raise _invalid("lead-role", f"A {to.role} cannot take the lead.", "to_agency")


def _lead_accepted(p: Proposal) -> None:
    offer = p.state.lead_offer
    if offer is None or offer.offer != UUID(p.act.fields["offer"]):
        raise _invalid("no-such-offer", "No such offer of the lead is open.", "offer")
    receiver = p.protocol.answering_for(offer.to).id
    if receiver != p.agency.id:
        raise _not_allowed(
            "handover-by-the-receiver", f"Only {receiver}, to which it was offered, accepts it."
        )


def _lead_declined(p: Proposal) -> None:
    offer = p.state.lead_offer
    if offer is None or offer.offer != UUID(p.act.fields["offer"]):
        raise _invalid("no-such-offer", "No such offer of the lead is open.", "offer")
    receiver = p.protocol.answering_for(offer.to)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == receiver.party
    if receiver.id != p.agency.id and not its_coordinator:
        raise _not_allowed(
            "handover-by-the-receiver",
            f"Only {receiver.id}, to which it was offered, or its coordinator declines it.",
        )


def _to_another_country(field: str) -> Check:
    def check(p: Proposal) -> None:
        if p.act.fields[field] == p.agency.party:
            raise _invalid("own-country", "Name another country than your own.", field)

    return check


def _proposed(p: Proposal) -> None:
    condition_checks.check_proposed(p.act, p.agency, p.state, p.protocol)


def _confirmed(p: Proposal) -> None:
    condition_checks.check_confirmed(p.act, p.agency, p.state, p.history, p.protocol)


def _overridden(p: Proposal) -> None:
    """Check that the assessment stands and that a condition of the protocol can be overridden."""
    _to_another_country("destination")(p)
    assessed = p.history.get(UUID(p.act.fields["overrides"]))
    of_conditions = {
        kind
        for one in p.protocol.conditions.values()
        if one.unless == p.act.kind and one.fact is not None
        for kind in p.protocol.establishing(one.fact)
    }
    if (
        assessed is None
        or assessed.kind not in of_conditions
        or assessed.id in annulled_ids(p.history.values())
    ):
        raise _invalid(
            "no-such-outcome",
            "Name an assessment of this case whose outcome the protocol lets a body override.",
            "overrides",
        )


def _names_fact(fact: str, field: str) -> Check:
    """Return the check that an action names the action that a fact in force stands on."""

    def check(p: Proposal) -> None:
        in_force = p.state.facts.get(fact)
        if in_force is None or in_force.action != UUID(p.act.fields[field]):
            raise _invalid(f"no-such-{field}", f"No such {fact} is in force in this case.", field)

    return check


def _return_decided(p: Proposal) -> None:
    asked = p.state.facts.get("return_requested")
    if asked is None or asked.action not in p.history:
        return
    destination = p.history[asked.action].fields["destination"]
    if p.act.fields["destination"] != destination:
        raise _invalid(
            "destination-differs", f"The return was requested of {destination}.", "destination"
        )


def _plan_agreed(p: Proposal) -> None:
    _names_fact("reintegration_planned", "plan")(p)
    if p.state.facts["reintegration_planned"].party == p.agency.party:
        raise _not_allowed("other-side", "The other country agrees with the plan.")


def _handover_recorded(p: Proposal) -> None:
    planned = p.state.planned_return
    if planned is not None and p.agency.party == planned.destination:
        raise _not_allowed(
            "departure-by-the-sender", "The country of departure records the handover."
        )


def _handover_confirmed(p: Proposal) -> None:
    _names_fact("handover_recorded", "handover")(p)
    _received(p)


def _departed(p: Proposal) -> None:
    if p.state.planned_return is not None and p.agency.party == p.state.planned_return.destination:
        raise _not_allowed(
            "departure-by-the-sender", "The departure is recorded by the country of departure."
        )


def _received(p: Proposal) -> None:
    planned = p.state.planned_return
    if planned is not None and p.agency.party != planned.destination:
        raise _not_allowed(
            "handover-by-the-receiver",
            f"Only {planned.destination}, the country of destination, confirms the reception; "
            "the country that made the handover cannot.",
        )


def _matrix(p: Proposal, operation: Operation) -> None:
    for group in p.act.fields.get("groups") or ():
        if not p.protocol.allows(p.agency.role, operation, FieldGroup(group)):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "access-matrix",
                f"A {p.agency.role} has no {operation} of {group} in this protocol.",
                "act.groups",
            )


def _whereabouts_apart(p: Proposal) -> None:
    groups = p.act.fields.get("groups") or ()
    if FieldGroup.WHEREABOUTS in groups and p.act.fields.get("recipients") and len(groups) > 1:
        raise _invalid(
            "whereabouts-apart",
            "Whereabouts leave the country on a basis of their own; record them apart.",
            "groups",
        )


def _sharing_decided(p: Proposal) -> None:
    if not p.state.is_child:
        raise _out("adults-consent", "For an adult, ask for consent; this is a child's safeguard.")
    _whereabouts_apart(p)


def _sharing_ended(p: Proposal) -> None:
    decision = p.state.sharing.get(UUID(p.act.fields["decision"]))
    if decision is None:
        raise _invalid("no-such-decision", "No such decision on sharing is in force.", "decision")
    if decision.party != p.agency.party:
        raise _not_allowed("own-decision", "The country that decided on sharing ends it.")


def _released(p: Proposal) -> None:
    fields, recipient = p.act.fields, p.act.fields["recipient"]
    if recipient == p.agency.party or recipient not in p.state.parties:
        raise _invalid(
            "recipient", "A release is to another country that is party to the case.", "recipient"
        )
    if "request" in fields:
        request = p.state.open_requests.get(UUID(fields["request"]))
        if request is None:
            raise _invalid("no-such-request", "No such request is open in this case.", "request")
        if p.protocol.agencies_by_id[request.by].party != recipient:
            raise _invalid("recipient", "Another country asked for this.", "recipient")
    _matrix(p, Operation.RELEASE)
    named = Basis(LegalBasis(fields["basis"]), UUID(fields["basis_action"]))
    for group in map(FieldGroup, fields["groups"]):
        # When it was done is the agency's word: a basis that is over by now is over.
        times = (p.act.acted_at, p.not_before)
        if any(
            named
            not in release_bases(p.state, p.protocol, p.agency, recipient, group, at, p.history)
            for at in times
        ):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "no-legal-basis",
                f"The basis named does not allow to release {group} to {recipient}.",
                "act.basis_action",
            )
    annulled = annulled_ids(p.history.values())
    for index, released in enumerate(fields["released"]):
        action = p.history.get(UUID(released["action"]))
        where = f"released.{index}"
        if action is None or action.id in annulled or action.kind == NOT_UNDERSTOOD:
            raise _invalid("unknown-action", "No such action in this case.", where)
        if p.protocol.agencies_by_id[action.agency].party != p.agency.party:
            raise _not_allowed("own-country", "A country releases what its own agencies recorded.")
        if not action.digests.issuperset(released["digests"]):
            raise _invalid("unknown-digest", "The action did not sign such a digest.", where)


def _break_glass_opened(p: Proposal) -> None:
    _matrix(p, Operation.BREAK_GLASS)
    until = datetime.fromisoformat(p.act.fields["until"])
    if not timedelta() < until - p.act.acted_at <= BREAK_GLASS_LASTS:
        hours = int(BREAK_GLASS_LASTS.total_seconds() // 3600)
        raise _invalid("break-glass-time", f"It lasts at most {hours} hours.", "until")


def _break_glass_reviewed(p: Proposal) -> None:
    access = p.state.break_glass.get(UUID(p.act.fields["access"]))
    if access is None:
        raise _invalid("no-such-access", "No such access waits for a review.", "access")
    if p.agency.party in access.to_review:
        return
    # An oversight body also reviews what its own country opened, where others owe the review.
    reviews = [act for act in p.history.values() if act.kind == "break_glass_reviewed"]
    has_reviewed = any(
        act.fields["access"] == p.act.fields["access"]
        and p.protocol.agencies_by_id[act.agency].party == p.agency.party
        for act in reviews
    )
    opener = p.protocol.agencies_by_id[access.by]
    if has_reviewed or opener.party != p.agency.party:
        raise _out("already-reviewed", "This country has reviewed this access.", "act.access")


def _hold_lifted(p: Proposal) -> None:
    hold = p.state.holds.get(UUID(p.act.fields["hold"]))
    if hold is None:
        raise _invalid("no-such-hold", "No such hold is in force in this case.", "hold")
    if hold.party == p.agency.party:
        return
    if p.protocol.edition >= _OTHERS_LIFT_SINCE and others_may_lift(
        hold.party, p.agency.party, p.state.parties, p.protocol, p.now
    ):
        return
    raise _not_allowed(
        "own-hold",
        "The country that placed a hold lifts it. If it left the agreement, another country of the"
        " case may lift it once its days for the erasure are over.",
    )


def _measure_taken(p: Proposal) -> None:
    condition_checks.check_reflection_granted(p.act, p.agency, p.protocol)


def _erasable(p: Proposal) -> None:
    if not p.state.is_closed:
        raise _out("open-case", "The case is open; what is held on the person is needed.")
    _unheld(p)


def _unheld(p: Proposal) -> None:
    """Check that no hold is in force in the case or in one that was merged with it."""
    if p.state.holds:
        raise _out("legal-hold", "A legal hold is in force; nothing may be erased.")
    if not all_concluded(p.state, p.others):
        raise _out(
            "merge-not-concluded",
            "This case took in another one that has not ended yet; record case_merged there, or"
            " undo the merge.",
        )
    if held_elsewhere(p.state, p.others):
        raise _out(
            "legal-hold",
            "A legal hold is in force in a case that was merged with this one; nothing may be"
            " erased.",
        )


def _retention_announced(p: Proposal) -> None:
    _erasable(p)
    rule, over = retention_rule(p.state, p.protocol), retention_over(p.state, p.protocol)
    if rule is None or over is None or p.state.closed_at is None:
        raise _out(
            "no-retention-rule", "The protocol sets no period of retention for this closing."
        )
    fields = p.act.fields
    if datetime.fromisoformat(fields["closed_at"]) != p.state.closed_at:
        raise _invalid(
            "no-such-closing",
            f"The case was closed at {format_utc(p.state.closed_at)}; name that time.",
            "closed_at",
        )
    if fields["kept_days"] != rule.days:
        raise _invalid("retention-rule", f"The protocol's period is {rule.days} days.", "kept_days")
    erase_from = datetime.fromisoformat(fields["erase_from"])
    if erase_from < over:
        raise _invalid(
            "retention", f"The period of retention ends at {format_utc(over)}.", "erase_from"
        )
    graced = p.now + timedelta(days=rule.grace_days)
    if erase_from < graced - CLOCK_SKEW:
        raise _invalid(
            "retention-grace",
            f"An erasure is announced {rule.grace_days} days before it, so that people can stop"
            f" it: name a time after {format_utc(graced)}.",
            "erase_from",
        )
    # An announcement with a time that never comes would stop the erasure for ever.
    margin = POSTPONED_AT_MOST if p.agency.role == COORDINATOR else ANNOUNCED_AFTER_AT_MOST
    latest = max(over, graced) + margin
    if erase_from > latest:
        raise _invalid(
            "retention-late",
            f"Name a time before {format_utc(latest)}; a coordinator may postpone it again.",
            "erase_from",
        )
    announced = p.state.retention
    if announced is not None and (
        p.agency.role != COORDINATOR or erase_from <= announced.erase_from
    ):
        raise _out(
            "already-announced",
            f"The erasure is announced from {format_utc(announced.erase_from)} on; a coordinator"
            " may announce a later time.",
            "act.erase_from",
        )


def _erasure_proposed(p: Proposal) -> None:
    _erasable(p)
    lead = p.protocol.leading(p.state.lead_agency, p.state.parties)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == lead.party
    if p.agency.id != lead.id and not its_coordinator:
        raise _not_allowed("lead", "The lead agency or its coordinator proposes an erasure.")


def _erasure_approved(p: Proposal) -> None:
    _erasable(p)
    erasure = p.state.erasure
    if erasure is None or erasure.proposal != UUID(p.act.fields["proposal"]):
        raise _invalid("no-such-proposal", "No such erasure is proposed.", "proposal")
    if p.state.taken_in and erasure.by is not None:
        _approved_by_another_party(p, p.protocol.agencies_by_id[erasure.by].party)
    if p.protocol.actions[p.act.kind].reviews is not None:
        return  # another agency approves, see _independent
    proposer = erasure.by
    if proposer is not None and p.protocol.answering_for(proposer).id != p.agency.id:
        raise _not_allowed("same-agency", f"Both persons are of {proposer}, which proposed it.")
    if p.history[erasure.proposal].key_id == p.act.key_id:
        raise _not_allowed(
            "second-person", "A second person approves, with a key of their own; this one proposed."
        )


def _approved_by_another_party(p: Proposal, proposing: str) -> None:
    """Check that the erasure of merged cases is approved by a party other than the proposing one.

    Where no other country has a part in the cases, the own oversight body approves.
    """
    others = [
        one for one in p.state.parties if one != proposing and one not in p.protocol.left_parties
    ]
    if others and p.agency.party == proposing:
        raise _not_allowed(
            "other-party",
            "This case took in another one: its erasure is approved by a coordinator or an"
            f" oversight body of {' or '.join(others)}.",
        )


def _erasure_confirmed(p: Proposal) -> None:
    upto = p.act.fields.get("upto")
    if upto is not None and upto >= p.act.version:
        raise _invalid("upto", "The case has no such version yet; name one that it has.", "upto")
    erasure, order = p.state.erasure, p.act.fields.get("order")
    if erasure is not None and p.state.is_erased:
        if p.agency.party not in erasure.pending:
            raise _out("already-confirmed", "This country has confirmed or owes no erasure.")
        if erasure.order != (UUID(order) if order else None):
            raise _invalid("no-such-order", "The erasure was ordered otherwise.", "order")
        return
    continuing = erased_with(p.state.merged_into, p.others) if p.state.merged_into else None
    if continuing is not None and continuing.erasure is not None:
        _unheld(p)
        if continuing.erasure.order != (UUID(order) if order else None):
            raise _invalid("no-such-order", "The erasure was ordered otherwise.", "order")
        return
    if p.agency.party in p.protocol.left_parties:
        _erased_on_leaving(p, order)
        return
    if p.state.merged_into is not None:
        raise _out(
            "merged-case", "What is held in this case is erased with the case that it continues in."
        )
    if order is not None:
        raise _invalid("no-such-order", "No such erasure was approved.", "order")
    due = retention_over(p.state, p.protocol)
    if due is None or p.now + CLOCK_SKEW < due:
        raise _out("retention", "The period of retention is not over, or a hold is in force.")
    _unheld(p)
    if must_be_announced(p.protocol):
        _announced_long_enough(p)


def _destruction_proposed(p: Proposal) -> None:
    _unheld(p)
    named = p.history.get(UUID(p.act.fields["annulled"]))
    if named is None or named.kind == NOT_UNDERSTOOD:
        raise _invalid("unknown-action", "No such action in this case.", "annulled")
    if named.id not in withheld_ids(p.history.values()):
        raise _out(
            "not-annulled",
            "This action counts: only what an annulled action disclosed is destroyed. Annul it by a"
            " correction first.",
            "act.annulled",
        )
    if not named.digests:
        raise _out("nothing-disclosed", "This action discloses nothing.", "act.annulled")
    author = p.protocol.agencies_by_id[named.agency]
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == author.party
    if author.id != p.agency.id and not its_coordinator:
        raise _not_allowed(
            "own-action",
            "The agency that recorded the action proposes this, or that country's coordinator.",
        )
    if any(one.annulled == named.id and one.order for one in p.state.destructions.values()):
        raise _out("already-ordered", "The destruction is ordered already.", "act.annulled")


def _destruction_approved(p: Proposal) -> None:
    _unheld(p)
    proposal = UUID(p.act.fields["proposal"])
    proposed = p.state.destructions.get(proposal)
    if proposed is None or proposed.order is not None:
        raise _invalid("no-such-proposal", "No such destruction is proposed.", "proposal")
    if p.history[proposal].key_id == p.act.key_id:
        raise _not_allowed(
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
        raise _not_allowed(
            "second-party", f"{proposed.by} proposed this; an agency does not approve it itself."
        )
    author = p.protocol.agencies_by_id[p.history[proposed.annulled].agency].party
    others = holders(proposed.annulled, p.history.values(), p.protocol) - {author}
    if others and p.agency.party not in others:
        raise _not_allowed(
            "second-party",
            f"{', '.join(sorted(others))} received what would be destroyed: a coordinator or an"
            " oversight body there approves it.",
        )


def _destruction_confirmed(p: Proposal) -> None:
    order = UUID(p.act.fields["order"])
    ordered = next((one for one in p.state.destructions.values() if one.order == order), None)
    if ordered is None:
        raise _invalid("no-such-order", "No such destruction was approved.", "order")
    if p.agency.party not in ordered.pending:
        raise _out("already-confirmed", "This country has confirmed or owes no destruction.")
    if ordered.stoppable_until is not None and ordered.is_stoppable(p.now + CLOCK_SKEW):
        raise _out(
            "destruction-grace",
            "The destruction can be stopped still; it is carried out after"
            f" {format_utc(ordered.stoppable_until)}.",
        )


def _erased_on_leaving(p: Proposal, order: str | None) -> None:
    """Check that a party that left confirms the erasure of what it had received in the case.

    Its part in the case ends with it. Raises ``Refusal`` if it may not.
    """
    if order is not None:
        raise _invalid("no-such-order", "No such erasure was approved.", "order")
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
        return _out("nothing-received", "No other country took part in this case.")
    if state.holds:
        return _out("legal-hold", "A legal hold is in force; nothing may be erased.")
    for request in state.open_requests.values():
        asked = protocol.agencies_by_id[request.addressee]
        by = protocol.agencies_by_id[request.by]
        if asked.party == party and by.party in protocol.party_codes:
            return _out(
                "answer-first",
                f"{asked.id} owes {by.id} an answer; answer or decline the request first.",
            )
    return None


def _announced_long_enough(p: Proposal) -> None:
    allowed = erasable_from(p.state, p.protocol)
    if allowed is None:
        raise _out(
            "not-announced",
            "No erasure is announced in this case; record retention_announced first, and wait for"
            " the days of grace.",
        )
    if p.now + CLOCK_SKEW < allowed:
        raise _out(
            "retention-grace",
            f"The announcement allows the erasure from {format_utc(allowed)} on.",
        )


def _leads(p: Proposal) -> bool:
    """Return whether the agency leads the case or coordinates for the country that does."""
    lead = p.protocol.leading(p.state.lead_agency, p.state.parties)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == lead.party
    return p.agency.id == lead.id or its_coordinator


def _told(p: Proposal, *others: str) -> None:
    """Check that the countries that get an action's ``case`` fields are of the case.

    The agency's own country and ``others`` are among them.
    """
    told = set(p.act.fields["told"])
    if not told <= {*p.state.parties, *others}:
        raise _invalid("told", "Name countries that are party to this case.", "told")
    if not told >= {p.agency.party, *others}:
        named = ", ".join(sorted({p.agency.party, *others}))
        raise _invalid("told", f"Name {named} among the countries that are told.", "told")


def _unlinked(p: Proposal) -> None:
    link = p.state.links.get(UUID(p.act.fields["link"]))
    if link is None:
        raise _invalid("no-such-link", "No such link is in force in this case.", "link")
    if link.party != p.agency.party:
        raise _not_allowed("own-link", "The country that linked the cases ends the link.")


def _merge_proposed(p: Proposal) -> None:
    if not _leads(p):
        raise _not_allowed("lead", "The lead agency or its coordinator proposes a merge.")
    if p.protocol.edition < _MERGES_SINCE:
        raise _out(
            "edition",
            f"The text in force has edition {p.protocol.edition} of the rules, and a merge needs"
            f" edition {_MERGES_SINCE}. Adopt an amendment with edition = {_MERGES_SINCE} first.",
        )
    if p.state.merge_proposal is not None:
        raise _out("merge-proposed", "A merge is proposed already; withdraw it first.")
    _settled(p)
    to = p.protocol.agencies_by_id[p.act.fields["addressee"]]
    if to.id == p.agency.id:
        raise _invalid("own-proposal", "A merge is proposed to another agency.", "addressee")
    if to.international or to.role not in p.protocol.actions["merge_accepted"].roles:
        raise _invalid(
            "lead-role", f"A {to.role} leads no case; name the lead agency.", "addressee"
        )
    _told(p, to.party)


def _settled(p: Proposal) -> None:
    """Check that nothing in the action's own case stands against a merge. Raises ``Refusal``."""
    if (refusal := unsettled(p.state)) is not None:
        raise refusal
    if held_elsewhere(p.state, p.others):
        raise _out(
            "unsettled-hold",
            "A legal hold of a case that was merged with this one holds this case too. A merge"
            " waits until it is lifted there (legal_hold_lifted).",
        )


def _same_age_group(p: Proposal, other: str | None) -> None:
    """Check that both cases say the same of the person's age. Raises ``Refusal``."""
    if other != p.state.age_group:
        raise _out(
            "other-age-group",
            f"In this case the person counts as {p.state.age_group.value}, and in the other one as"
            f" {other}: a merge must not take a child's safeguards away. Record age_assessed, so"
            " that both cases say the same.",
        )


def _merge_accepted(p: Proposal) -> None:
    if not _leads(p):
        raise _not_allowed("lead", "The lead agency of this case or its coordinator accepts.")
    fields = p.act.fields
    ended, proposal = UUID(fields["ended_case"]), UUID(fields["proposal"])
    if any(taken.case == ended for taken in p.state.taken_in.values()):
        raise _out("taken-in", "This case has taken in that case already.", "act.ended_case")
    if p.state.merge_proposal is not None:
        raise _out("merge-proposed", "This case is proposed to end itself; withdraw that first.")
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
        raise _invalid(
            "no-such-merge", "That case has no proposal of a merge to this country.", "proposal"
        )
    if (own := other.state.merge_proposal) is None or own.proposal != proposal:
        raise _invalid(
            "no-such-merge",
            "The proposal is open no more: it was declined, withdrawn or concluded.",
            "proposal",
        )
    if proposed.agency == p.agency.id:
        raise _not_allowed(
            "second-agency", "This agency proposed the merge; another one accepts it."
        )
    opened = next(iter(other.history.values())).acted_at
    if datetime.fromisoformat(fields["opened_at"]) != opened:
        raise _invalid(
            "merge-opening", f"That case was opened at {format_utc(opened)}.", "opened_at"
        )
    took_part = p.agency.party in parties_before(other.history, proposal, p.protocol)
    if took_part is not (p.agency.party in fields["countries"]):
        raise _invalid(
            "merge-countries",
            f"Name {p.agency.party} among the countries of that case exactly if it was party to it"
            " before the proposal: its deadlines depend on it.",
            "countries",
        )
    _same_age_group(p, age_group_before(other.history, proposal))


def _case_merged(p: Proposal) -> None:
    open_proposal = p.state.merge_proposal
    if open_proposal is None:
        raise _out("no-merge-proposed", "No merge is proposed in this case; propose it first.")
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
        raise _invalid("no-such-merge", "The merge is not accepted in that case.", "acceptance")
    if accepted.id not in other.state.taken_in:
        raise _invalid("no-such-merge", "The acceptance in that case was undone.", "acceptance")
    if not _leads(p):
        raise _not_allowed("lead", "The lead agency of this case or its coordinator ends it.")
    _settled(p)
    _same_age_group(p, age_group_before(other.history, accepted.id))
    if facts := lacking(p.state, other.history, p.protocol):
        raise _out(
            "unsettled-facts",
            f"This case has {', '.join(facts)}, and the case that continues has not. Record these"
            " there first, each with the time at which it was done.",
        )
    author = p.protocol.agencies_by_id[accepted.agency]
    if missing := set(p.state.parties) - {author.party, *accepted.fields["countries"]}:
        raise _out(
            "merge-countries",
            f"The acceptance brings {', '.join(sorted(missing))} not into the case that continues;"
            " undo it there and accept again.",
        )
    if not all_concluded(p.state, p.others):
        raise _out(
            "merge-not-concluded",
            "This case took in another one that has not ended yet; record case_merged there first.",
        )


def _merge_declined(p: Proposal) -> None:
    if p.state.merged_into is not None:
        _undoing_withdrawn(p, p.state.merged_into)
        return
    open_proposal = p.state.merge_proposal
    if open_proposal is None or open_proposal.proposal != UUID(p.act.fields["proposal"]):
        raise _invalid("no-such-merge", "No such merge is proposed in this case.", "proposal")
    to = p.protocol.answering_for(open_proposal.addressee)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == to.party
    withdraws = p.act.fields["reason"] == MergeDeclineReason.WITHDRAWN
    if withdraws and not _leads(p):
        raise _not_allowed("lead", "The lead agency or its coordinator withdraws the proposal.")
    if not withdraws and p.agency.id != to.id and not its_coordinator:
        raise _not_allowed(
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
        raise _invalid("no-such-merge", "No such undoing is announced in this case.", "proposal")
    if other is None or into.acceptance not in other.state.taken_in:
        raise _out(
            "undone-elsewhere",
            f"The merge is undone in case {into.case} already; undo it here too (merge_undone).",
        )
    if p.act.fields["reason"] != MergeDeclineReason.WITHDRAWN:
        raise _invalid("undoing-withdrawn", "An announced undoing is withdrawn.", "reason")
    if not _leads(p) and not _acts_for(p, announced.by):
        raise _not_allowed(
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
        raise _invalid("no-such-merge", "This case took in no case by that action.", "merge")
    for name in ("undoing", "continued_in"):
        if fields.get(name) is not None:
            raise _invalid("not-here", "Leave this out in the case that continued.", name)
    other = p.others.get(taken.case)
    proposed = other.history.get(taken.proposal) if other is not None else None
    bodies = [p.history[merge].agency, *([proposed.agency] if proposed is not None else [])]
    if not _leads(p) and not any(_acts_for(p, body) for body in bodies):
        raise _not_allowed("lead", "An agency that leads or led one of the cases undoes the merge.")
    into = other.state.merged_into if other is not None else None
    if into is not None and into.acceptance == merge and into.undoing is None:
        raise _out(
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
        raise _out(
            "undoing-announced",
            f"The undoing is announced already. Undo the merge in case {into.case} now.",
        )
    _names_continued(p, into)
    if fields.get("undoing") is not None:
        raise _invalid("not-here", "Leave this out when you announce the undoing.", "undoing")
    if other is None or into.acceptance not in other.state.taken_in:
        raise _out(
            "undone-elsewhere",
            f"The merge is undone in case {into.case} already; undo it here too (merge_undone).",
        )
    bodies = (other.history[into.acceptance].agency, other.state.lead_agency)
    if not _leads(p) and not any(_acts_for(p, body) for body in bodies):
        raise _not_allowed("lead", "An agency that leads or led one of the cases undoes the merge.")


def _undone_where_ended(p: Proposal, into: MergedInto) -> None:
    fields = p.act.fields
    merge, undoing = UUID(fields["merge"]), fields.get("undoing")
    if into.action != merge:
        raise _invalid("no-such-merge", "This case did not end by that action.", "merge")
    _names_continued(p, into)
    other = p.others.get(into.case)
    undone = other.history.get(UUID(undoing)) if other is not None and undoing else None
    if (
        undone is None
        or undone.kind != "merge_undone"
        or UUID(undone.fields["merge"]) != into.acceptance
    ):
        raise _out(
            "undone-elsewhere-first",
            f"The merge is undone in case {into.case} first; name that action.",
            "act.undoing",
        )
    _part_settled(p, *leaving(p.history, merge, p.state.parties, p.protocol))


def _names_continued(p: Proposal, into: MergedInto) -> None:
    """Check that an undoing names the case that continued. Raises ``Refusal``."""
    if p.act.fields.get("continued_in") != str(into.case):
        raise _invalid("no-such-merge", f"It continued in case {into.case}.", "continued_in")


def _acts_for(p: Proposal, agency: str) -> bool:
    """Return whether the acting agency is ``agency``, answers for it or coordinates for it."""
    answering = p.protocol.answering_for(agency)
    its_coordinator = p.agency.role == COORDINATOR and p.agency.party == answering.party
    return p.agency.id == answering.id or its_coordinator


_CHECKS: Mapping[str, Check] = {
    "cases_linked": _told,
    "cases_unlinked": _unlinked,
    "merge_proposed": _merge_proposed,
    "merge_accepted": _merge_accepted,
    "case_merged": _case_merged,
    "merge_declined": _merge_declined,
    "merge_undone": _merge_undone,
    "case_reopened": _reopened,
    "case_closed": _closed,
    "error_closing_proposed": _error_closing_proposed,
    "error_closing_accepted": _error_closing_accepted,
    "identity_recorded": _identity_recorded,
    "rectification_declined": _rectification_answered,
    "correction": _correction,
    "service_ended": _of_the_same_country("service", "service_action"),
    "protection_measure_taken": _measure_taken,
    "protection_measure_ended": _of_the_same_country("measure", "measure_action"),
    "shelter_left": _shelter_left,
    "information_requested": _requested,
    "information_acknowledged": _answered,
    "information_provided": _answered,
    "information_declined": _answered,
    "form_sent": _form_sent,
    "form_acknowledged": _form_acknowledged,
    "joint_action_done": _joint_action_done,
    "meeting_held": _met,
    "case_manager_named": _manager_named,
    "lead_transfer_offered": _lead_offered,
    "lead_transfer_accepted": _lead_accepted,
    "lead_transfer_declined": _lead_declined,
    "state_notified": _to_another_country("country"),
    "return_requested": _to_another_country("destination"),
    "return_decided": _return_decided,
    "decision_proposed": _proposed,
    "decision_confirmed": _confirmed,
    "outcome_overridden": _overridden,
    "reintegration_plan_agreed": _plan_agreed,
    "handover_recorded": _handover_recorded,
    "handover_confirmed": _handover_confirmed,
    "turned_back": _departed,
    "departed": _departed,
    "received": _received,
    "consent_given": _whereabouts_apart,
    "sharing_decided": _sharing_decided,
    "sharing_ended": _sharing_ended,
    "information_released": _released,
    "break_glass_opened": _break_glass_opened,
    "break_glass_reviewed": _break_glass_reviewed,
    "legal_hold_lifted": _hold_lifted,
    "retention_announced": _retention_announced,
    "erasure_proposed": _erasure_proposed,
    "erasure_approved": _erasure_approved,
    "erasure_confirmed": _erasure_confirmed,
    "destruction_proposed": _destruction_proposed,
    "destruction_approved": _destruction_approved,
    "destruction_confirmed": _destruction_confirmed,
}


def _invalid(rule: str, message: str, field: str) -> Refusal:
    path = field if field.startswith("act.") else f"act.{field}"
    return Refusal(Ground.INVALID, rule, message, path)


def _not_allowed(rule: str, message: str) -> Refusal:
    return Refusal(Ground.NOT_ALLOWED, rule, message, "iss")


def _out(rule: str, message: str, field: str | None = None) -> Refusal:
    return Refusal(Ground.OUT_OF_PROCEDURE, rule, message, field)
