"""The effect of each kind of case action on the state of the case.

An effect is the fields of :class:`~ledger.procedure.case_state.CaseState` that change, by name.
What every action changes (version, position, facts, parties) is in ``ledger.procedure.case_fold``.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_state import (
    AnnouncedErasure,
    AnnouncedUndoing,
    BreakGlass,
    CaseState,
    ConsentInForce,
    Destruction,
    Erasure,
    ErrorClosing,
    HoldInForce,
    LeadOffer,
    LinkInForce,
    MeasureInForce,
    MergedInto,
    OpenJointAction,
    OpenRequest,
    Parted,
    PlannedReturn,
    ProposedMerge,
    RectificationAsked,
    SentForm,
    ServiceInForce,
    SharingInForce,
    ShelterInForce,
    TakenIn,
)
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    ClosureReason,
    CorrectionEffect,
    Priority,
    TraffickingStatus,
)


def effect(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    """Return the changes that ``act`` makes by its kind; none for a kind without an effect."""
    if act.kind == "form_sent":
        return _form_sent(state, act, protocol)
    if act.kind == "break_glass_opened":
        return _break_glass_opened(state, act, protocol)
    if act.kind == "error_closing_proposed":
        return _error_closing_proposed(state, act, protocol)
    if act.kind == "erasure_confirmed":
        return _erasure_confirmed(state, act, protocol)
    if act.kind == "destruction_approved":
        return _destruction_approved(state, act, protocol)
    if act.kind == "merge_proposed":
        return _merge_proposed(state, act, protocol)
    if (of_party := _EFFECTS_OF_PARTY.get(act.kind)) is not None:
        return of_party(state, act, protocol.agencies_by_id[act.agency].party)
    by_kind = _EFFECTS.get(act.kind)
    return {} if by_kind is None else by_kind(state, act)


def _victim_identified(_: CaseState, act: Act) -> dict[str, Any]:
    return {"trafficking_status": TraffickingStatus(act.fields["status"])}


def _indicators_assessed(_: CaseState, act: Act) -> dict[str, Any]:
    status = act.fields.get("protected_as")
    return {} if status is None else {"trafficking_status": TraffickingStatus(status)}


def _not_a_victim(_: CaseState, __: Act) -> dict[str, Any]:
    return {"trafficking_status": TraffickingStatus.NOT_A_VICTIM}


def _identity_recorded(state: CaseState, act: Act) -> dict[str, Any]:
    changes = _of_age(state.age_group, act)
    if request := act.fields.get("request"):
        changes["rectifications"] = _without(state.rectifications, request)
    return changes


def _age_assessed(state: CaseState, act: Act) -> dict[str, Any]:
    group = AgeGroup(act.fields["age_group"])
    if group is AgeGroup.ADULT:
        return {"age_group": group, "child_since": None, "of_age_from": None}
    since = state.child_since if state.is_child else act.acted_at
    return {"age_group": group, "child_since": since, **_of_age(group, act)}


def _of_age(group: AgeGroup, act: Act) -> dict[str, Any]:
    of_age_from = act.fields.get("of_age_from")
    return {} if of_age_from is None or group is AgeGroup.ADULT else {"of_age_from": of_age_from}


def _rectification_requested(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    asked = RectificationAsked.model_construct(by=act.agency, party=party, since=act.acted_at)
    return {"rectifications": {**state.rectifications, act.id: asked}}


def _rectification_declined(state: CaseState, act: Act) -> dict[str, Any]:
    return {"rectifications": _without(state.rectifications, act.fields["request"])}


def _sheltered(_: CaseState, act: Act, party: str) -> dict[str, Any]:
    shelter = ShelterInForce.model_construct(
        party=party,
        since=act.acted_at,
    )
    return {"shelter": shelter}


def _shelter_left(_: CaseState, __: Act) -> dict[str, Any]:
    return {"shelter": None}


def _measure_taken(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    until = act.fields.get("until")
    measure = MeasureInForce.model_construct(
        measure=act.fields["measure"],
        party=party,
        since=act.acted_at,
        until=datetime.fromisoformat(until) if until else None,
    )
    return {"measures": {**state.measures, act.id: measure}}


def _measure_ended(state: CaseState, act: Act) -> dict[str, Any]:
    return {"measures": _without(state.measures, act.fields["measure_action"])}


def _service_started(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    service = ServiceInForce.model_construct(
        service=act.fields["service"],
        party=party,
        since=act.acted_at,
    )
    return {"services": {**state.services, act.id: service}}


def _service_ended(state: CaseState, act: Act) -> dict[str, Any]:
    return {"services": _without(state.services, act.fields["service_action"])}


def _information_requested(state: CaseState, act: Act) -> dict[str, Any]:
    request = OpenRequest.model_construct(
        by=act.agency,
        addressee=act.fields["addressee"],
        topics=tuple(act.fields["topics"]),
        purpose=act.fields["purpose"],
        since=act.acted_at,
        answer_by=act.fields.get("answer_by"),
    )
    return {"open_requests": {**state.open_requests, act.id: request}}


def _information_acknowledged(state: CaseState, act: Act) -> dict[str, Any]:
    return _update_request(state, act, acknowledged=True)


def _information_provided(state: CaseState, act: Act) -> dict[str, Any]:
    if act.fields["complete"]:
        return {"open_requests": _without(state.open_requests, act.fields["request"])}
    return _update_request(state, act, acknowledged=True, partly_answered=True)


def _information_declined(state: CaseState, act: Act) -> dict[str, Any]:
    return {"open_requests": _without(state.open_requests, act.fields["request"])}


def _update_request(state: CaseState, act: Act, **update: bool) -> dict[str, Any]:
    request = UUID(act.fields["request"])
    if request not in state.open_requests:
        return {}
    changed = state.open_requests[request].model_copy(update=update)
    return {"open_requests": {**state.open_requests, request: changed}}


def _form_sent(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    form = protocol.forms_by_number.get(act.fields["form_number"])
    forms = dict(state.forms)
    answers = act.fields.get("answers")
    answered = None if answers is None else forms.get(UUID(answers))
    if answered is not None:
        update = {"acknowledged": True, "answered": True}
        forms[UUID(answers)] = answered.model_copy(update=update)
    forms[act.id] = SentForm.model_construct(
        number=act.fields["form_number"],
        by=act.agency,
        addressee=act.fields["addressee"],
        since=act.acted_at,
        answers=None if answers is None else UUID(answers),
        answered_by=None if form is None else form.answered_by,
    )
    return {"forms": forms}


def _form_acknowledged(state: CaseState, act: Act) -> dict[str, Any]:
    sent = UUID(act.fields["sent"])
    if sent not in state.forms:
        return {}
    acknowledged = state.forms[sent].model_copy(update={"acknowledged": True})
    return {"forms": {**state.forms, sent: acknowledged}}


def _joint_action_agreed(state: CaseState, act: Act) -> dict[str, Any]:
    agreed = OpenJointAction.model_construct(
        joint_action=act.fields["joint_action"],
        responsible=tuple(act.fields["responsible"]),
        since=act.acted_at,
        due=act.fields.get("due"),
    )
    return {"joint_actions": {**state.joint_actions, act.id: agreed}}


def _joint_action_done(state: CaseState, act: Act) -> dict[str, Any]:
    return {"joint_actions": _without(state.joint_actions, act.fields["agreed_action"])}


def _prioritised(_: CaseState, act: Act) -> dict[str, Any]:
    return {"priority": Priority(act.fields["priority"])}


def _lead_offered(_: CaseState, act: Act) -> dict[str, Any]:
    offer = LeadOffer.model_construct(
        offer=act.id, by=act.agency, to=act.fields["to_agency"], since=act.acted_at
    )
    return {"lead_offer": offer}


def _lead_accepted(_: CaseState, act: Act) -> dict[str, Any]:
    return {"lead_agency": act.agency, "lead_offer": None}


def _return_decided(_: CaseState, act: Act) -> dict[str, Any]:
    planned = PlannedReturn.model_construct(destination=act.fields["destination"])
    return {"planned_return": planned}


def _return_cancelled(_: CaseState, __: Act) -> dict[str, Any]:
    return {"planned_return": None}


def _turned_back(state: CaseState, _: Act) -> dict[str, Any]:
    if state.planned_return is None:
        return {}
    return {"planned_return": state.planned_return.model_copy(update={"departed_from": None})}


def _lead_declined(_: CaseState, __: Act) -> dict[str, Any]:
    return {"lead_offer": None}


def _departed(state: CaseState, _: Act, party: str) -> dict[str, Any]:
    if state.planned_return is None:
        return {"shelter": None}
    departed = state.planned_return.model_copy(update={"departed_from": party})
    return {"planned_return": departed, "shelter": None}


def _received(_: CaseState, __: Act) -> dict[str, Any]:
    return {"planned_return": None}


def _closed(_: CaseState, act: Act) -> dict[str, Any]:
    reason = ClosureReason(act.fields["reason"])
    referred = reason is ClosureReason.REFERRED
    status = CaseStatus.CLOSED_REFERRED if referred else CaseStatus.CLOSED
    return {
        "status": status,
        "closure": reason,
        "closed_at": act.recorded_at,
        "retention": None,
        "error_closing": None,
    }


def _corrected(state: CaseState, act: Act) -> dict[str, Any]:
    """Return the changes of a correction: one that annuls the opening closes the case.

    What other corrections annul is left out of the fold.
    """
    is_of_opening = UUID(act.fields["corrects"]) == state.opening
    if not is_of_opening or act.fields["effect"] != CorrectionEffect.ANNULLED:
        return {}
    return {
        "status": CaseStatus.CLOSED,
        "closure": ClosureReason.OPENED_IN_ERROR,
        "closed_at": act.recorded_at,
        "retention": None,
        "error_closing": None,
    }


def _error_closing_proposed(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    own = protocol.agencies_by_id[act.agency].party
    others = tuple(p for p in state.parties if p != own and p not in protocol.left_parties)
    proposed = ErrorClosing.model_construct(
        proposal=act.id,
        by=act.agency,
        since=act.acted_at,
        # Where no other country is party to the case, another agency of the country agrees.
        pending=others or (own,),
        until=(
            act.recorded_at + timedelta(days=protocol.accountability_terms.error_closing_days)
            if protocol.edition >= 2
            else None
        ),
    )
    return {"error_closing": proposed}


def _error_closing_accepted(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    proposed = state.error_closing
    if proposed is None or proposed.proposal != UUID(act.fields["proposal"]):
        return {}
    left = tuple(one for one in proposed.pending if one != party)
    return {"error_closing": proposed.model_copy(update={"pending": left})}


def _reopened(_: CaseState, __: Act) -> dict[str, Any]:
    return {
        "closure": None,
        "closed_at": None,
        "retention": None,
        "erasure": None,
        "error_closing": None,
    }


def _consent_given(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    if not act.fields.get("groups"):
        return {}
    consent = ConsentInForce.model_construct(
        party=party,
        scopes=tuple(act.fields["scopes"]),
        groups=tuple(act.fields["groups"]),
        recipients=tuple(act.fields.get("recipients") or ()),
        since=act.acted_at,
        expires=act.fields.get("expires"),
    )
    return {"consents": {**state.consents, act.id: consent}}


def _consent_withdrawn(state: CaseState, act: Act) -> dict[str, Any]:
    return _without_scopes(state, set(act.fields["scopes"]))


def _refusal_recorded(state: CaseState, act: Act) -> dict[str, Any]:
    """Return the consents without what the person refuses, whoever recorded them.

    A later consent allows it again. An earlier one does not come back.
    """
    return _without_scopes(state, {act.fields["subject"]})


def _without_scopes(state: CaseState, withdrawn: Collection[str]) -> dict[str, Any]:
    left = {
        given: consent.model_copy(
            update={"scopes": tuple(s for s in consent.scopes if s not in withdrawn)}
        )
        for given, consent in state.consents.items()
    }
    return {"consents": {given: consent for given, consent in left.items() if consent.scopes}}


def _sharing_decided(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    decision = SharingInForce.model_construct(
        party=party,
        groups=tuple(act.fields["groups"]),
        recipients=tuple(act.fields.get("recipients") or ()),
        since=act.acted_at,
        until=act.fields.get("until"),
    )
    return {"sharing": {**state.sharing, act.id: decision}}


def _sharing_ended(state: CaseState, act: Act) -> dict[str, Any]:
    return {"sharing": _without(state.sharing, act.fields["decision"])}


def _break_glass_opened(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    own = protocol.agencies_by_id[act.agency].party
    rule = protocol.actions.get("break_glass_reviewed")
    is_independent = rule is not None and rule.reviews is not None
    reviewing = tuple(
        p
        for p in state.parties
        if p not in protocol.left_parties and (p != own or not is_independent)
    )
    access = BreakGlass.model_construct(
        by=act.agency,
        danger=act.fields["danger"],
        groups=tuple(act.fields["groups"]),
        since=act.acted_at,
        until=datetime.fromisoformat(act.fields["until"]),
        # Where no other country is party to the case, the own oversight body reviews.
        to_review=reviewing or (own,),
    )
    return {"break_glass": {**state.break_glass, act.id: access}}


def _break_glass_reviewed(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    access = state.break_glass.get(UUID(act.fields["access"]))
    if access is None:
        return {}
    left = tuple(one for one in access.to_review if one != party)
    if not left:
        return {"break_glass": _without(state.break_glass, act.fields["access"])}
    reviewed = access.model_copy(update={"to_review": left})
    return {"break_glass": {**state.break_glass, UUID(act.fields["access"]): reviewed}}


def _hold_placed(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    hold = HoldInForce.model_construct(party=party, ground=act.fields["ground"], since=act.acted_at)
    # It stops an ordered destruction for good: once it is lifted, that is proposed again.
    left = {
        proposal: one
        for proposal, one in state.destructions.items()
        if not one.is_stoppable(act.recorded_at)
    }
    return {"holds": {**state.holds, act.id: hold}, "retention": None, "destructions": left}


def _hold_lifted(state: CaseState, act: Act) -> dict[str, Any]:
    return {"holds": _without(state.holds, act.fields["hold"])}


def _retention_announced(_: CaseState, act: Act) -> dict[str, Any]:
    announced = AnnouncedErasure.model_construct(
        announcement=act.id,
        by=act.agency,
        position=act.position,
        announced_at=act.recorded_at,
        closed_at=datetime.fromisoformat(act.fields["closed_at"]),
        kept_days=act.fields["kept_days"],
        erase_from=datetime.fromisoformat(act.fields["erase_from"]),
    )
    return {"retention": announced}


def _erasure_proposed(_: CaseState, act: Act) -> dict[str, Any]:
    proposed = Erasure.model_construct(
        ground=act.fields["ground"], since=act.acted_at, proposal=act.id, by=act.agency
    )
    return {"erasure": proposed}


def _erasure_approved(state: CaseState, act: Act) -> dict[str, Any]:
    if state.erasure is None:
        return {}
    update = {"order": act.id, "since": act.acted_at, "pending": state.parties}
    return {"erasure": state.erasure.model_copy(update=update)}


def _erasure_confirmed(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    party, erasure = protocol.agencies_by_id[act.agency].party, state.erasure
    is_ordered = erasure is not None and state.is_erased and party in erasure.pending
    if party in protocol.left_parties and not is_ordered:
        return _part_ended(state, party)
    if erasure is None or not state.is_erased:
        order = act.fields.get("order") if state.merged_into is not None else None
        erasure = Erasure.model_construct(
            ground=None,
            since=act.acted_at,
            order=UUID(order) if order else None,  # given in the case that continues
            pending=state.parties,
        )
    update = {
        "pending": tuple(p for p in erasure.pending if p != party),
        "confirmed": (*erasure.confirmed, party),
    }
    return {"erasure": erasure.model_copy(update=update)}


def _destruction_proposed(state: CaseState, act: Act) -> dict[str, Any]:
    annulled = UUID(act.fields["annulled"])
    proposed = Destruction.model_construct(annulled=annulled, by=act.agency, since=act.acted_at)
    # A later proposal takes the place of one that nobody approved.
    others = {
        proposal: one
        for proposal, one in state.destructions.items()
        if one.annulled != annulled or one.order is not None
    }
    return {"destructions": {**others, act.id: proposed}}


def _destruction_approved(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    proposal = UUID(act.fields["proposal"])
    proposed = state.destructions.get(proposal)
    if proposed is None:
        return {}
    grace = timedelta(days=protocol.accountability_terms.destruction_grace_days)
    update = {
        "order": act.id,
        "since": act.acted_at,
        "position": act.position,
        "stoppable_until": act.recorded_at + grace if protocol.edition >= 2 else None,
        "pending": state.parties,
    }
    ordered = proposed.model_copy(update=update)
    return {"destructions": {**state.destructions, proposal: ordered}}


def _destruction_confirmed(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    order = UUID(act.fields["order"])
    update = {
        proposal: one.model_copy(
            update={
                "pending": tuple(p for p in one.pending if p != party),
                "confirmed": (*one.confirmed, party),
            }
        )
        for proposal, one in state.destructions.items()
        if one.order == order and party in one.pending
    }
    return {"destructions": {**state.destructions, **update}}


def _part_ended(state: CaseState, party: str) -> dict[str, Any]:
    """Return the changes as a party that left confirms that it erased what it had received.

    It is no party to the case any more, and owes no review and no destruction in it.
    """
    accesses = {
        opened: access.model_copy(
            update={"to_review": tuple(one for one in access.to_review if one != party)}
        )
        for opened, access in state.break_glass.items()
    }
    destructions = {
        proposal: one.model_copy(update={"pending": tuple(p for p in one.pending if p != party)})
        for proposal, one in state.destructions.items()
    }
    return {
        "parties": tuple(one for one in state.parties if one != party),
        "break_glass": {opened: one for opened, one in accesses.items() if one.to_review},
        "destructions": destructions,
    }


def _linked(state: CaseState, act: Act, party: str) -> dict[str, Any]:
    link = LinkInForce.model_construct(
        by=act.agency, party=party, told=tuple(act.fields["told"]), since=act.acted_at
    )
    return {"links": {**state.links, act.id: link}}


def _unlinked(state: CaseState, act: Act) -> dict[str, Any]:
    return {"links": _without(state.links, act.fields["link"])}


def _merge_proposed(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    addressee = act.fields["addressee"]
    party = protocol.agencies_by_id[addressee].party
    proposed = ProposedMerge.model_construct(
        proposal=act.id,
        by=act.agency,
        addressee=addressee,
        since=act.acted_at,
        answer_by=act.fields.get("answer_by"),
        joined=party if party not in state.parties else None,
    )
    return {"merge_proposal": proposed}


def _merge_declined(state: CaseState, _: Act) -> dict[str, Any]:
    """Return the changes of a declined merge, or of a declined undoing of one.

    The country that the proposal of a merge alone had brought into the case leaves it again.
    """
    if (into := state.merged_into) is not None:
        return {"merged_into": into.model_copy(update={"undoing": None})}
    proposed = state.merge_proposal
    joined = proposed.joined if proposed is not None else None
    return {
        "merge_proposal": None,
        "parties": tuple(party for party in state.parties if party != joined),
    }


def _merge_accepted(state: CaseState, act: Act) -> dict[str, Any]:
    taken = TakenIn.model_construct(
        case=UUID(act.fields["ended_case"]),
        proposal=UUID(act.fields["proposal"]),
        by=act.agency,
        since=act.acted_at,
        countries=tuple(act.fields["countries"]),
    )
    opened = state.facts["case_opened"]
    since = min(opened.since, datetime.fromisoformat(act.fields["opened_at"]))
    return {
        "taken_in": {**state.taken_in, act.id: taken},
        # Nobody gains time by a merge: deadlines run from the earlier opening.
        "facts": {**state.facts, "case_opened": opened.model_copy(update={"since": since})},
    }


def _case_merged(_: CaseState, act: Act) -> dict[str, Any]:
    into = MergedInto.model_construct(
        case=UUID(act.fields["continues_in"]),
        action=act.id,
        acceptance=UUID(act.fields["acceptance"]),
        since=act.acted_at,
    )
    return {
        "merged_into": into,
        "status": CaseStatus.CLOSED,
        # The closing of the case that continues counts for both.
        "closure": None,
        "closed_at": None,
        "retention": None,
        "erasure": None,
        "merge_proposal": None,
        "lead_offer": None,
    }


def _merge_undone(state: CaseState, act: Act) -> dict[str, Any]:
    """Return the changes beside those of the fold, which leaves out the undone merge.

    In the case that ended, the undoing is announced first. When it is done, the proposal of the
    merge ends too: another merge begins with another proposal.
    """
    continued_in, into = act.fields.get("continued_in"), state.merged_into
    if into is not None and UUID(act.fields["merge"]) == into.acceptance:
        announced = AnnouncedUndoing.model_construct(
            announcement=act.id, by=act.agency, since=act.acted_at
        )
        return {"merged_into": into.model_copy(update={"undoing": announced})}
    if continued_in is None or act.fields.get("undoing") is None:
        return {}
    parted = Parted.model_construct(case=UUID(continued_in), undoing=UUID(act.fields["undoing"]))
    return {**_merge_declined(state, act), "parted": {**state.parted, act.id: parted}}


def _without(mapping: Mapping[UUID, Any], key: str) -> dict[UUID, Any]:
    gone = UUID(key)
    return {k: v for k, v in mapping.items() if k != gone}


_EFFECTS: Mapping[str, Callable[[CaseState, Act], dict[str, Any]]] = {
    "victim_identified": _victim_identified,
    "victim_status_changed": _victim_identified,
    "not_a_victim": _not_a_victim,
    "indicators_assessed": _indicators_assessed,
    "identity_recorded": _identity_recorded,
    "age_assessed": _age_assessed,
    "rectification_declined": _rectification_declined,
    "shelter_left": _shelter_left,
    "protection_measure_ended": _measure_ended,
    "service_ended": _service_ended,
    "information_requested": _information_requested,
    "information_acknowledged": _information_acknowledged,
    "information_provided": _information_provided,
    "information_declined": _information_declined,
    "form_acknowledged": _form_acknowledged,
    "joint_action_agreed": _joint_action_agreed,
    "joint_action_done": _joint_action_done,
    "case_prioritised": _prioritised,
    "lead_transfer_offered": _lead_offered,
    "lead_transfer_accepted": _lead_accepted,
    "return_decided": _return_decided,
    "return_cancelled": _return_cancelled,
    "turned_back": _turned_back,
    "lead_transfer_declined": _lead_declined,
    "received": _received,
    "correction": _corrected,
    "case_closed": _closed,
    "case_reopened": _reopened,
    "consent_withdrawn": _consent_withdrawn,
    "refusal_recorded": _refusal_recorded,
    "sharing_ended": _sharing_ended,
    "cases_unlinked": _unlinked,
    "merge_accepted": _merge_accepted,
    "case_merged": _case_merged,
    "merge_declined": _merge_declined,
    "merge_undone": _merge_undone,
    "legal_hold_lifted": _hold_lifted,
    "retention_announced": _retention_announced,
    "erasure_proposed": _erasure_proposed,
    "erasure_approved": _erasure_approved,
    "destruction_proposed": _destruction_proposed,
}

_EFFECTS_OF_PARTY: Mapping[str, Callable[[CaseState, Act, str], dict[str, Any]]] = {
    "sheltered": _sheltered,
    "protection_measure_taken": _measure_taken,
    "service_started": _service_started,
    "departed": _departed,
    "consent_given": _consent_given,
    "sharing_decided": _sharing_decided,
    "rectification_requested": _rectification_requested,
    "break_glass_reviewed": _break_glass_reviewed,
    "legal_hold_placed": _hold_placed,
    "destruction_confirmed": _destruction_confirmed,
    "cases_linked": _linked,
    "error_closing_accepted": _error_closing_accepted,
}
"""Effects in which the party of the acting agency counts."""
