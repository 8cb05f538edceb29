"""The state of a case: a pure fold of its actions' ``ledger`` fields.

The fold never refuses: what is recorded has happened. Rules are in ``ledger.procedure.rules``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from typing import Protocol as Interface
from uuid import UUID

from pydantic import ConfigDict

from ledger.events.act import Act
from ledger.procedure.protocol import Protocol
from ledger.vocabulary import CASE_ACTIONS, NOT_UNDERSTOOD
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    CLOSED,
    AgeGroup,
    CaseStatus,
    ClosureReason,
    CorrectionEffect,
    Priority,
    Stage,
    TraffickingStatus,
)
from ledger.vocabulary.types import UtcDatetime

_ADVANCES = (Stage.IDENTIFICATION, Stage.PROTECTION, Stage.INCLUSION, Stage.RETURN)
"""The stages that a case passes through, and never back: a service that ends after the
return was decided does not undo the decision. Proceedings and coordination run beside."""


class _Part(LedgerModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class FactInForce(_Part):
    """Since when a fact holds, and by which action."""

    action: UUID
    since: UtcDatetime
    party: str


class ServiceInForce(_Part):
    service: str
    party: str
    since: UtcDatetime


class MeasureInForce(_Part):
    measure: str
    party: str
    since: UtcDatetime
    until: UtcDatetime | None = None


class ShelterInForce(_Part):
    """That a country shelters the person. Which shelter it is, the case's countries alone know."""

    party: str
    since: UtcDatetime


class OpenRequest(_Part):
    """A request for information that has no full answer yet."""

    by: str
    addressee: str
    topics: tuple[str, ...]
    purpose: str
    since: UtcDatetime
    answer_by: str | None = None
    acknowledged: bool = False
    partly_answered: bool = False


class OpenJointAction(_Part):
    joint_action: str
    responsible: tuple[str, ...]
    since: UtcDatetime
    due: str | None = None


class LeadOffer(_Part):
    offer: UUID
    by: str
    to: str
    since: UtcDatetime


class PlannedReturn(_Part):
    destination: str
    departed_from: str | None = None


class ConsentInForce(_Part):
    """A consent that names field groups: what may be read on it, and released to whom."""

    party: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...]
    recipients: tuple[str, ...]
    since: UtcDatetime
    expires: str | None = None


class SharingInForce(_Part):
    """A best-interests decision on sharing."""

    party: str
    groups: tuple[str, ...]
    recipients: tuple[str, ...]
    since: UtcDatetime
    until: str | None = None


class BreakGlass(_Part):
    """An access in danger to life that some party's coordinator has not reviewed yet."""

    by: str
    danger: str
    groups: tuple[str, ...]
    since: UtcDatetime
    until: UtcDatetime
    to_review: tuple[str, ...]
    """The parties that have not said yet whether it was justified."""


class HoldInForce(_Part):
    party: str
    ground: str
    since: UtcDatetime


class AnnouncedErasure(_Part):
    """An announcement, in force, that what is held will be erased by the period of retention."""

    announcement: UUID
    by: str
    position: int
    announced_at: UtcDatetime
    """When the announcement was recorded."""
    closed_at: UtcDatetime
    kept_days: int
    erase_from: UtcDatetime


class Erasure(_Part):
    """The erasure of all that is held on the person: proposed, then owed, then confirmed."""

    ground: str | None
    """``None`` where the period of retention was over."""
    since: UtcDatetime
    proposal: UUID | None = None
    by: str | None = None
    order: UUID | None = None
    """The approval by a second person."""
    pending: tuple[str, ...] = ()
    """The parties that have not confirmed yet."""
    confirmed: tuple[str, ...] = ()


class CaseState(_Part):
    """Everything that the rules and the views need to know of a case."""

    case_id: UUID
    version: int
    position: int
    opened_position: int
    status: CaseStatus
    stage: Stage
    age_group: AgeGroup
    trafficking_status: TraffickingStatus
    priority: Priority
    lead_agency: str
    parties: tuple[str, ...]
    opened_at: UtcDatetime
    last_acted_at: UtcDatetime
    last_recorded_at: UtcDatetime
    closure: ClosureReason | None = None
    facts: Mapping[str, FactInForce] = {}
    services: Mapping[UUID, ServiceInForce] = {}
    measures: Mapping[UUID, MeasureInForce] = {}
    shelter: ShelterInForce | None = None
    open_requests: Mapping[UUID, OpenRequest] = {}
    joint_actions: Mapping[UUID, OpenJointAction] = {}
    lead_offer: LeadOffer | None = None
    planned_return: PlannedReturn | None = None
    closed_at: UtcDatetime | None = None
    """When the closing was recorded, from which retention runs."""
    consents: Mapping[UUID, ConsentInForce] = {}
    sharing: Mapping[UUID, SharingInForce] = {}
    break_glass: Mapping[UUID, BreakGlass] = {}
    holds: Mapping[UUID, HoldInForce] = {}
    retention: AnnouncedErasure | None = None
    erasure: Erasure | None = None

    @property
    def is_erased(self) -> bool:
        """Whether every party owes, or has confirmed, the erasure of what it held."""
        erasure = self.erasure
        return erasure is not None and bool(erasure.order or erasure.confirmed)

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    @property
    def is_child(self) -> bool:
        """A person presumed to be a child has a child's safeguards."""
        return self.age_group is not AgeGroup.ADULT


def fold(acts: Sequence[Act], protocol: Protocol) -> CaseState | None:
    """The state after ``acts``, those annulled by a later correction left out."""
    annulled = annulled_ids(acts)
    state: CaseState | None = None
    for act in acts:
        state, _ = applied(state, act, protocol, annulled=act.id in annulled)
    return state


def applied(
    state: CaseState | None, act: Act, protocol: Protocol, *, annulled: bool = False
) -> tuple[CaseState | None, bool]:
    """Fold one recorded action, whatever it is. Returns the state, and whether it was applied.

    An action that is not understood, or does not fit the case as it stands, counts as recorded
    and changes nothing else. Before the opening of the case it leaves no state. An honest node
    records no such action.
    """
    try:
        if act.kind != NOT_UNDERSTOOD and act.agency in protocol.agencies_by_id:
            return evolve(state, act, protocol, annulled=annulled), True
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        pass
    return (None if state is None else state.model_copy(update=_as_recorded(act))), False


def _as_recorded(act: Act) -> dict[str, Any]:
    return {
        "version": act.version,
        "position": act.position,
        "last_recorded_at": act.recorded_at,
    }


class Taken(Interface):
    """An action in any of its forms, as an act or as the audit trail has it."""

    @property
    def kind(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, Any]: ...


def annulled_ids(acts: Iterable[Taken]) -> frozenset[UUID]:
    """The ids of the actions that corrections among ``acts`` annul."""
    return frozenset(UUID(act.fields["corrects"]) for act in acts if annuls(act))


def annuls(act: Taken) -> bool:
    """Whether ``act`` annuls an earlier one, so that the case must be folded anew."""
    return act.kind == "correction" and act.fields["effect"] == CorrectionEffect.ANNULLED


def evolve(
    state: CaseState | None, act: Act, protocol: Protocol, *, annulled: bool = False
) -> CaseState:
    """Fold one action. An ``annulled`` one counts as recorded and changes nothing else.

    Raises ``ValueError`` where the first action is not the opening of the case, and other errors
    for an action that the rules would refuse; see :func:`applied`.
    """
    if state is None:
        if act.kind != "case_opened":
            raise ValueError(f"case {act.case_id} does not begin with its opening")
        return _opened(act, protocol)
    recorded = _as_recorded(act)
    if annulled:
        return state.model_copy(update=recorded)
    rule = protocol.actions[act.kind]
    changes: dict[str, Any] = recorded | {
        "last_acted_at": max(state.last_acted_at, act.acted_at),
        "facts": _facts(state.facts, act, protocol),
    }
    if rule.sets_status is not None:
        changes["status"] = rule.sets_status
    stage = CASE_ACTIONS[act.kind].stage
    if stage in _ADVANCES and _ADVANCES.index(stage) > _ADVANCES.index(state.stage):
        changes["stage"] = stage
    if act.kind == "break_glass_opened":
        changes |= _break_glass_opened(state, act, protocol)
    if act.kind in _EFFECTS:
        changes |= _EFFECTS[act.kind](state, act)
    joining = [c for c in addressed_parties(act, protocol) if c not in state.parties]
    if joining:
        changes["parties"] = (*state.parties, *dict.fromkeys(joining))
    return state.model_copy(update=changes)


def facts_named(patterns: Iterable[str], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Fill in patterns such as ``consent_{scopes}`` from an action's fields."""
    names: list[str] = []
    for pattern in patterns:
        head, brace, rest = pattern.partition("{")
        if not brace:
            names.append(pattern)
            continue
        value = fields[rest.rstrip("}")]
        names += [f"{head}{v}" for v in (value if isinstance(value, list | tuple) else (value,))]
    return tuple(names)


CHANGES_PARTIES = frozenset(
    {
        "case_opened",
        "meeting_held",
        "return_decided",
        "information_requested",
        "lead_transfer_offered",
        "joint_action_agreed",
        "correction",
    }
)
"""The kinds of actions after which other countries may be party to a case than before."""


def addressed_parties(act: Act, protocol: Protocol) -> tuple[str, ...]:
    """The countries that an action brings into the case by addressing them."""
    fields = act.fields
    countries: list[str] = []
    match act.kind:
        case "case_opened" | "meeting_held":
            countries += fields["countries"]
        case "return_decided":
            countries.append(fields["destination"])
    agencies: list[str] = []
    match act.kind:
        case "information_requested":
            agencies.append(fields["addressee"])
        case "lead_transfer_offered":
            agencies.append(fields["to_agency"])
        case "joint_action_agreed":
            agencies += fields["responsible"]
    return (*countries, *(protocol.agencies_by_id[a].party for a in agencies))


def _opened(act: Act, protocol: Protocol) -> CaseState:
    own = protocol.agencies_by_id[act.agency].party
    return CaseState.model_construct(
        case_id=act.case_id,
        version=act.version,
        position=act.position,
        opened_position=act.position,
        status=CaseStatus.ACTIVE,
        stage=Stage.IDENTIFICATION,
        age_group=AgeGroup(act.fields["age_group"]),
        trafficking_status=TraffickingStatus.POSSIBLE,
        priority=Priority.NORMAL,
        lead_agency=act.agency,
        parties=tuple(dict.fromkeys((own, *act.fields["countries"]))),
        opened_at=act.acted_at,
        last_acted_at=act.acted_at,
        last_recorded_at=act.recorded_at,
        facts=_facts({}, act, protocol),
    )


def _facts(
    facts: Mapping[str, FactInForce], act: Act, protocol: Protocol
) -> Mapping[str, FactInForce]:
    rule = protocol.actions[act.kind]
    ended = facts_named(rule.ends, act.fields)
    established = facts_named(rule.establishes, act.fields)
    if not established and not any(fact in facts for fact in ended):
        return facts
    in_force = FactInForce.model_construct(
        action=act.id, since=act.acted_at, party=protocol.agencies_by_id[act.agency].party
    )
    kept = {fact: since for fact, since in facts.items() if fact not in ended}
    return kept | dict.fromkeys(established, in_force)


def _party(act: Act) -> str:
    return act.agency[:2].upper()


def _victim_identified(_: CaseState, act: Act) -> dict[str, Any]:
    return {"trafficking_status": TraffickingStatus(act.fields["status"])}


def _not_a_victim(_: CaseState, __: Act) -> dict[str, Any]:
    return {"trafficking_status": TraffickingStatus.NOT_A_VICTIM}


def _sheltered(_: CaseState, act: Act) -> dict[str, Any]:
    shelter = ShelterInForce.model_construct(
        party=_party(act),
        since=act.acted_at,
    )
    return {"shelter": shelter}


def _shelter_left(_: CaseState, __: Act) -> dict[str, Any]:
    return {"shelter": None}


def _measure_taken(state: CaseState, act: Act) -> dict[str, Any]:
    until = act.fields.get("until")
    measure = MeasureInForce.model_construct(
        measure=act.fields["measure"],
        party=_party(act),
        since=act.acted_at,
        until=datetime.fromisoformat(until) if until else None,
    )
    return {"measures": {**state.measures, act.id: measure}}


def _measure_ended(state: CaseState, act: Act) -> dict[str, Any]:
    return {"measures": _without(state.measures, act.fields["measure_action"])}


def _service_started(state: CaseState, act: Act) -> dict[str, Any]:
    service = ServiceInForce.model_construct(
        service=act.fields["service"],
        party=_party(act),
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


def _departed(state: CaseState, act: Act) -> dict[str, Any]:
    if state.planned_return is None:
        return {"shelter": None}
    departed = state.planned_return.model_copy(update={"departed_from": _party(act)})
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
    }


def _reopened(_: CaseState, __: Act) -> dict[str, Any]:
    return {"closure": None, "closed_at": None, "retention": None, "erasure": None}


def _consent_given(state: CaseState, act: Act) -> dict[str, Any]:
    if not act.fields.get("groups"):
        return {}
    consent = ConsentInForce.model_construct(
        party=_party(act),
        scopes=tuple(act.fields["scopes"]),
        groups=tuple(act.fields["groups"]),
        recipients=tuple(act.fields.get("recipients") or ()),
        since=act.acted_at,
        expires=act.fields.get("expires"),
    )
    return {"consents": {**state.consents, act.id: consent}}


def _consent_withdrawn(state: CaseState, act: Act) -> dict[str, Any]:
    withdrawn = set(act.fields["scopes"])
    left = {
        given: consent.model_copy(
            update={"scopes": tuple(s for s in consent.scopes if s not in withdrawn)}
        )
        for given, consent in state.consents.items()
    }
    return {"consents": {given: consent for given, consent in left.items() if consent.scopes}}


def _sharing_decided(state: CaseState, act: Act) -> dict[str, Any]:
    decision = SharingInForce.model_construct(
        party=_party(act),
        groups=tuple(act.fields["groups"]),
        recipients=tuple(act.fields.get("recipients") or ()),
        since=act.acted_at,
        until=act.fields.get("until"),
    )
    return {"sharing": {**state.sharing, act.id: decision}}


def _sharing_ended(state: CaseState, act: Act) -> dict[str, Any]:
    return {"sharing": _without(state.sharing, act.fields["decision"])}


def _break_glass_opened(state: CaseState, act: Act, protocol: Protocol) -> dict[str, Any]:
    own, rule = _party(act), protocol.actions.get("break_glass_reviewed")
    is_independent = rule is not None and rule.reviews is not None
    reviewing = tuple(p for p in state.parties if p != own or not is_independent)
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


def _break_glass_reviewed(state: CaseState, act: Act) -> dict[str, Any]:
    access = state.break_glass.get(UUID(act.fields["access"]))
    if access is None:
        return {}
    left = tuple(party for party in access.to_review if party != _party(act))
    if not left:
        return {"break_glass": _without(state.break_glass, act.fields["access"])}
    reviewed = access.model_copy(update={"to_review": left})
    return {"break_glass": {**state.break_glass, UUID(act.fields["access"]): reviewed}}


def _hold_placed(state: CaseState, act: Act) -> dict[str, Any]:
    hold = HoldInForce.model_construct(
        party=_party(act), ground=act.fields["ground"], since=act.acted_at
    )
    return {"holds": {**state.holds, act.id: hold}, "retention": None}


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


def _erasure_confirmed(state: CaseState, act: Act) -> dict[str, Any]:
    erasure = state.erasure
    if erasure is None or not state.is_erased:
        erasure = Erasure.model_construct(ground=None, since=act.acted_at, pending=state.parties)
    party = _party(act)
    update = {
        "pending": tuple(p for p in erasure.pending if p != party),
        "confirmed": (*erasure.confirmed, party),
    }
    return {"erasure": erasure.model_copy(update=update)}


def _without(mapping: Mapping[UUID, Any], key: str) -> dict[UUID, Any]:
    gone = UUID(key)
    return {k: v for k, v in mapping.items() if k != gone}


_EFFECTS: Mapping[str, Callable[[CaseState, Act], dict[str, Any]]] = {
    "victim_identified": _victim_identified,
    "victim_status_changed": _victim_identified,
    "not_a_victim": _not_a_victim,
    "sheltered": _sheltered,
    "shelter_left": _shelter_left,
    "protection_measure_taken": _measure_taken,
    "protection_measure_ended": _measure_ended,
    "service_started": _service_started,
    "service_ended": _service_ended,
    "information_requested": _information_requested,
    "information_acknowledged": _information_acknowledged,
    "information_provided": _information_provided,
    "information_declined": _information_declined,
    "joint_action_agreed": _joint_action_agreed,
    "joint_action_done": _joint_action_done,
    "case_prioritised": _prioritised,
    "lead_transfer_offered": _lead_offered,
    "lead_transfer_accepted": _lead_accepted,
    "return_decided": _return_decided,
    "departed": _departed,
    "received": _received,
    "case_closed": _closed,
    "case_reopened": _reopened,
    "consent_given": _consent_given,
    "consent_withdrawn": _consent_withdrawn,
    "sharing_decided": _sharing_decided,
    "sharing_ended": _sharing_ended,
    "break_glass_reviewed": _break_glass_reviewed,
    "legal_hold_placed": _hold_placed,
    "legal_hold_lifted": _hold_lifted,
    "retention_announced": _retention_announced,
    "erasure_proposed": _erasure_proposed,
    "erasure_approved": _erasure_approved,
    "erasure_confirmed": _erasure_confirmed,
}
