"""The actions that an agency could take in a case now. Nothing is written.

The answer is a dry decision by the rules (:mod:`ledger.procedure.case_rules`). So an action that
is offered is accepted. The parts of the case that an action can name are tried out in turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.case_fold import annulled_ids, withheld_ids
from ledger.procedure.case_state import CaseState, MergedInto
from ledger.procedure.checks import closing
from ledger.procedure.dates import SINCE_EDITION
from ledger.procedure.form_rules import sendable_forms
from ledger.procedure.merge_conditions import parties_before
from ledger.procedure.merged_cases import NO_OTHERS, KnownCase, OtherCases
from ledger.procedure.protocol import NODE, OVERSIGHT, Agency, Operation, Protocol
from ledger.procedure.retention import retention_rule
from ledger.refusals import Ground, Refusal
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.action import values_of
from ledger.vocabulary.communication_forms import FormSent
from ledger.vocabulary.coordination import CaseClosed, ConsentWithdrawn
from ledger.vocabulary.decisions import DecisionProposed, OutcomeOverridden
from ledger.vocabulary.erasure import RetentionAnnounced
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import (
    AgeGroup,
    ClosureReason,
    ConsentScope,
    CorrectionEffect,
    JointDecision,
    MergeDeclineReason,
    RiskLevel,
    StatementGround,
    TraffickingStatus,
)
from ledger.vocabulary.types import format_utc

_NOBODY = UUID(int=0)
_NO_FORM: Mapping[str, Any] = {"form_number": 0, "actions": []}


@dataclass(frozen=True, slots=True)
class Offer:
    """The answer for one kind of action: its possible values, or the reason that forbids it."""

    kind: str
    refusal: Refusal | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of fields that name actions or agencies: the values that the rules accept now."""


def offers(
    state: CaseState | None,
    history: Mapping[UUID, Act],
    agency: Agency,
    protocol: Protocol,
    now: datetime,
    key_id: str = "",
    others: OtherCases = NO_OTHERS,
) -> Mapping[str, Offer]:
    """Return, for every kind of action, whether ``agency`` could take it now.

    ``key_id`` is the key with which the agency would sign. ``others`` has the cases that this one
    may be merged with, and those that it was merged with.
    """
    asked = _Asked(state, history, agency, protocol, now, key_id, others)
    return {kind: asked.offer(kind) for kind in protocol.actions}


def offer_of(
    kind: str,
    state: CaseState | None,
    history: Mapping[UUID, Act],
    agency: Agency,
    protocol: Protocol,
    now: datetime,
    key_id: str = "",
    others: OtherCases = NO_OTHERS,
) -> Offer:
    """Return whether ``agency`` could take one kind of action now, as :func:`offers` does."""
    return _Asked(state, history, agency, protocol, now, key_id, others).offer(kind)


@dataclass(frozen=True, slots=True)
class _Asked:
    state: CaseState | None
    history: Mapping[UUID, Act]
    agency: Agency
    protocol: Protocol
    now: datetime
    key_id: str
    others: OtherCases

    def offer(self, kind: str) -> Offer:
        named = self._named(kind)
        if named is None:
            refusal = self._refusal(kind, self._fields(kind))
            passes = refusal is None or refusal.ground is Ground.INVALID
            if kind == FormSent.kind and self._form() is None:
                return Offer(kind, refusal if not passes else _nothing_to_name(kind))
            if kind == ConsentWithdrawn.kind and not self._scopes():
                return Offer(kind, refusal if not passes else _nothing_to_name(kind))
            by_value = self._by_value(kind) if passes else {}
            if (impossible := self._no_value(kind, by_value)) is not None:
                return Offer(kind, impossible)
            return Offer(kind, None if passes else refusal, {**self._groups(kind), **by_value})
        name, candidates = named
        accepted, refusals = [], []
        for value in candidates or (str(_NOBODY),):
            refusal = self._refusal(kind, {**self._fields(kind, value), name: value})
            if refusal is None:
                accepted.append(value)
            else:
                refusals.append(refusal)
        if accepted:
            return Offer(kind, None, {name: tuple(accepted), **self._groups(kind, accepted[0])})
        told = [r for r in refusals if r.ground is not Ground.INVALID]
        return Offer(kind, told[0] if told else _nothing_to_name(kind))

    def _refusal(self, kind: str, fields: Mapping[str, Any]) -> Refusal | None:
        act = Act(
            id=_NOBODY,
            kind=kind,
            case_id=self.state.case_id if self.state is not None else _NOBODY,
            version=self.state.version + 1 if self.state is not None else 1,
            position=0,
            agency=self.agency.id,
            acted_at=self.now,
            recorded_at=self.now,
            fields=fields,
            key_id=self.key_id,
            digests=frozenset(),
        )
        try:
            case_rules.decide(
                self.state, self.history, act, self.protocol, self.now, None, self.others
            )
        except Refusal as refusal:
            return refusal
        return None

    def _by_value(self, kind: str) -> Mapping[str, tuple[str, ...]]:
        """Return the values that the rules accept now, of fields of which they refuse some."""
        found: dict[str, tuple[str, ...]] = {}
        rule = self.protocol.actions[kind]
        named = (*(one.field for one in rule.where), *(bodies.field for bodies in rule.by))
        for name in dict.fromkeys(filter(None, named)):
            values = values_of(CASE_ACTIONS[kind], name)
            accepted = tuple(
                value
                for value in values
                if (refusal := self._refusal(kind, {**self._fields(kind), name: value})) is None
                or refusal.ground is Ground.INVALID
            )
            if accepted != values:
                found[name] = accepted
        return found

    def _no_value(self, kind: str, by_value: Mapping[str, tuple[str, ...]]) -> Refusal | None:
        """Return why the first value of a needed field is refused, where each of its values is."""
        model = CASE_ACTIONS[kind]
        for name, accepted in by_value.items():
            if not accepted and model.model_fields[name].is_required():
                value = values_of(model, name)[0]
                return self._refusal(kind, {**self._fields(kind), name: value})
        return None

    def _named(self, kind: str) -> tuple[str, Sequence[str]] | None:
        """Return the field by which an action names a part of the case, and the possible values."""
        s = self.state
        if s is None:
            return None
        agencies = [a.id for a in self.protocol.working_agencies if a.role not in (NODE, OVERSIGHT)]
        match kind:
            case "information_acknowledged" | "information_provided" | "information_declined":
                return "request", _ids(s.open_requests)
            case "rectification_declined":
                return "request", _ids(s.rectifications)
            case "form_acknowledged":
                return "sent", _ids(s.forms)
            case "joint_action_done":
                return "agreed_action", _ids(s.joint_actions)
            case "lead_transfer_accepted" | "lead_transfer_declined":
                return "offer", _ids([s.lead_offer.offer] if s.lead_offer is not None else [])
            case "lead_transfer_offered":
                return "to_agency", agencies
            case "agency_admitted" | "agency_admission_ended":
                own = (a.id for a in self.protocol.working_agencies if a.party == self.agency.party)
                return "agency", [one for one in own if one in agencies]
            case "information_requested":
                return "addressee", agencies
            case "correction":
                return "corrects", _ids(self.history)
            case "service_ended":
                return "service_action", _ids(s.services)
            case "protection_measure_ended":
                return "measure_action", _ids(s.measures)
            case "sharing_ended":
                return "decision", _ids(s.sharing)
            case "break_glass_reviewed":
                return "access", _ids(s.break_glass)
            case "legal_hold_lifted":
                return "hold", _ids(s.holds)
            case "retention_announced":
                return "closed_at", [format_utc(s.closed_at)] if s.closed_at is not None else []
            case "cases_unlinked":
                return "link", _ids(s.links)
            case "merge_proposed":
                return "addressee", agencies
            case "merge_accepted":
                return "proposal", _ids(self._proposed())
            case "case_merged":
                return "acceptance", _ids(self._accepted())
            case "merge_declined":
                if s.merged_into is not None:
                    announced = s.merged_into.undoing
                    return "proposal", _ids([announced.announcement] if announced else [])
                merge = s.merge_proposal
                return "proposal", _ids([merge.proposal] if merge is not None else [])
            case "merge_undone":
                return "merge", _ids(self._to_undo(s))
            case "erasure_approved":
                proposal = s.erasure.proposal if s.erasure is not None else None
                return "proposal", _ids([proposal] if proposal is not None else [])
            case "destruction_proposed":
                return "annulled", _ids(withheld_ids(self.history.values()))
            case "error_closing_accepted":
                proposed = s.error_closing
                return "proposal", _ids([proposed.proposal] if proposed is not None else [])
            case "destruction_approved":
                return "proposal", _ids(s.destructions)
            case "destruction_confirmed":
                orders = {one.order for one in s.destructions.values() if one.order is not None}
                return "order", _ids(sorted(orders))
            case "decision_proposed":
                return "decision", [decision.value for decision in JointDecision]
            case "decision_confirmed":
                return "proposal", self._standing(frozenset({DecisionProposed.kind}))
            case "outcome_overridden":
                return "overrides", self._standing(self._overridable())
            case "handover_confirmed":
                return "handover", self._of_fact("handover_recorded")
            case "reintegration_plan_agreed":
                return "plan", self._of_fact("reintegration_planned")
            case "erasure_confirmed" if s.erasure is not None and s.erasure.order is not None:
                return "order", _ids([s.erasure.order])
        return None

    def _to_undo(self, state: CaseState) -> Iterable[UUID]:
        """Return what an undoing of a merge names: the first step that is still to be taken."""
        into = state.merged_into
        if into is None:
            return state.taken_in
        if into.undoing is None and self._undoing(into) is None:
            return (into.acceptance,)
        return (into.action,)

    def _proposed(self) -> Mapping[UUID, UUID]:
        """Return the cases that are proposed to be merged into another one, by the proposal."""
        return {
            other.state.merge_proposal.proposal: case_id
            for case_id, other in self.others.items()
            if other.state.merge_proposal is not None
        }

    def _accepted(self) -> Mapping[UUID, UUID]:
        """Return the cases that accepted to take this one in, by the acceptance."""
        own = self.state.case_id if self.state is not None else None
        return {
            acceptance: case_id
            for case_id, other in self.others.items()
            for acceptance, taken in other.state.taken_in.items()
            if taken.case == own
        }

    def _merge_fields(self, kind: str, value: str | None) -> dict[str, Any]:
        """Return the fields of an action on a merge that follow from what it names."""
        state = self.state
        if state is None or value is None:
            # There is no case that could be merged: the rules say so before they read more.
            return {"addressee": self.agency.id, "countries": [self.agency.party]}
        if kind == "merge_proposed":
            to = self.protocol.agencies_by_id[value].party
            return {"told": sorted({self.agency.party, to})}
        case_id = {**self._proposed(), **self._accepted()}.get(UUID(value))
        if kind == "merge_accepted":
            other = self.others[case_id] if case_id is not None else None
            return {
                "ended_case": str(case_id or _NOBODY),
                "countries": self._own_countries(other) if other is not None else [],
                "opened_at": format_utc(
                    next(iter(other.history.values())).acted_at if other is not None else self.now
                ),
            }
        if kind == "case_merged":
            return {"continues_in": str(case_id or _NOBODY)}
        if kind == "merge_undone" and state.merged_into is not None:
            into = state.merged_into
            undoing = self._undoing(into) if value == str(into.action) else None
            return {
                "continued_in": str(into.case),
                **({"undoing": str(undoing)} if undoing is not None else {}),
            }
        return {}

    def _own_countries(self, ended: KnownCase) -> list[str]:
        """Return the countries of a case that is proposed to end.

        The accepting country is among them only if it was party to the case before the proposal.
        """
        proposed, party = ended.state.merge_proposal, self.agency.party
        before = parties_before(ended.history, proposed.proposal, self.protocol) if proposed else ()
        return [one for one in ended.state.parties if one != party or one in before]

    def _undoing(self, into: MergedInto) -> UUID | None:
        other = self.others.get(into.case)
        acts = other.history.values() if other is not None else ()
        return next(
            (
                act.id
                for act in acts
                if act.kind == "merge_undone" and act.fields["merge"] == str(into.acceptance)
            ),
            None,
        )

    def _fields(self, kind: str, value: str | None = None) -> dict[str, Any]:
        """Return the other fields that the rules read, with values that cause no refusal.

        ``value`` is what the action names.
        """
        match kind:
            case "merge_proposed" | "merge_accepted" | "case_merged" | "merge_undone":
                return self._merge_fields(kind, value)
            case "merge_declined":
                if self.state is not None and self.state.merged_into is not None:
                    return {"reason": MergeDeclineReason.WITHDRAWN}
                own = self.state.merge_proposal if self.state is not None else None
                to = self.protocol.agencies_by_id[own.addressee] if own is not None else None
                is_asked = to is not None and to.party == self.agency.party
                reasons = MergeDeclineReason
                return {"reason": reasons.NOT_CERTAIN if is_asked else reasons.WITHDRAWN}
            case "cases_linked":
                return {"told": [self.agency.party]}
            case "correction":
                return {"effect": CorrectionEffect.CLARIFIED.value}
            case "case_closed":
                return {"reason": next(iter(self._reasons()), ClosureReason.REFERRED.value)}
            case "identity_recorded":
                return {"ground": StatementGround.LEARNED.value}
            case "age_assessed":
                return {"age_group": AgeGroup.PRESUMED_CHILD.value}
            case "consent_withdrawn":
                return {"scopes": self._scopes()}
            case "retention_announced":
                return self._announcement()
            case "form_sent":
                return self._form() or {**_NO_FORM, "addressee": self.agency.id}
            case "case_opened" | "meeting_held":
                return {"countries": [self.agency.party]}
            case "joint_action_agreed":
                return {"responsible": [self.agency.id]}
            case "information_requested":
                return {"addressee": self.agency.id}
            case "lead_transfer_offered":
                return {"to_agency": self.agency.id}
            case "break_glass_opened":
                return {"until": (self.now + timedelta(hours=1)).isoformat()}
            case "return_decided":
                return {"destination": self._destination()}
            case "return_requested" | "outcome_overridden":
                return {"destination": self._another_party()}
            case "state_notified" | "person_referred":
                return {"country": self._another_party()}
            case "decision_proposed":
                return {"status": TraffickingStatus.POSSIBLE.value, "risk_level": RiskLevel.LOW}
            case "information_released":
                others = (
                    [p for p in self.state.parties if p != self.agency.party]
                    if (self.state is not None)
                    else []
                )
                # Nothing is released by this, so that no basis is asked for yet.
                return {
                    "recipient": others[0] if others else self.agency.party,
                    "basis": "consent",
                    "basis_action": str(_NOBODY),
                    "groups": [],
                    "released": [],
                }
        return {}

    def _form(self) -> dict[str, Any] | None:
        """Return the first form that the agency could send now, as the fields of its sending."""
        sendable = sendable_forms(self.state, self.history, self.agency, self.protocol)
        if not sendable:
            return None
        first = sendable[0]
        return {
            "form_number": first.form.number,
            "addressee": first.addressees[0],
            "actions": _ids(first.proposed),
        }

    def _standing(self, kinds: frozenset[str]) -> Sequence[str]:
        """Return the ids of the case's actions of some kinds that no correction annuls."""
        annulled = annulled_ids(self.history.values())
        acts = self.history.values()
        return [str(one.id) for one in acts if one.kind in kinds and one.id not in annulled]

    def _overridable(self) -> frozenset[str]:
        """Return the kinds of assessments against whose outcome a body can decide."""
        facts = {
            one.fact
            for one in self.protocol.conditions.values()
            if one.unless == OutcomeOverridden.kind and one.fact is not None
        }
        return frozenset(kind for fact in facts for kind in self.protocol.establishing(fact))

    def _of_fact(self, fact: str) -> Sequence[str]:
        """Return the id of the action that established a fact in force."""
        in_force = self.state.facts.get(fact) if self.state is not None else None
        return _ids([in_force.action] if in_force is not None else [])

    def _destination(self) -> str:
        """Return the destination of the requested return, or the agency's own country."""
        asked = self._of_fact("return_requested")
        if not asked or UUID(asked[0]) not in self.history:
            return self.agency.party
        return str(self.history[UUID(asked[0])].fields["destination"])

    def _another_party(self) -> str:
        """Return another party than the agency's own."""
        return min(self.protocol.party_codes - {self.agency.party}, default=self.agency.party)

    def _announcement(self) -> dict[str, Any]:
        """Return the earliest announcement of an erasure that the rules accept now."""
        rule = retention_rule(self.state, self.protocol) if self.state is not None else None
        if self.state is None or rule is None or self.state.closed_at is None:
            return {"kept_days": 0, "erase_from": self.now.isoformat()}
        announced = self.state.retention
        times = [
            self.state.closed_at + timedelta(days=rule.days),
            self.now + timedelta(days=rule.grace_days),
            *([announced.erase_from + timedelta(days=1)] if announced is not None else []),
        ]
        return {"kept_days": rule.days, "erase_from": max(times).isoformat()}

    def _form_choices(self) -> Mapping[str, tuple[str, ...]]:
        """Return what any of the forms that the agency could send now may name."""
        some = sendable_forms(self.state, self.history, self.agency, self.protocol)
        named = {
            "form_number": [str(one.form.number) for one in some],
            "addressee": [agency for one in some for agency in one.addressees],
            "actions": [action for one in some for action in _ids(one.actions)],
            "answers": [action for one in some for action in _ids(one.answers)],
        }
        return {name: tuple(dict.fromkeys(values)) for name, values in named.items()}

    def _reasons(self) -> tuple[str, ...]:
        """Return the reasons for closing that agree with the facts of the case."""
        state = self.state
        if state is None:
            return ()
        refused = {one: closing.reason_refusal(one, state, self.protocol) for one in ClosureReason}
        return tuple(one.value for one, refusal in refused.items() if refusal is None)

    def _scopes(self) -> tuple[str, ...]:
        """Return the scopes in which a consent is in force; all, where the rules do not ask."""
        scopes = tuple(scope.value for scope in ConsentScope)
        if self.state is None or self.protocol.edition < SINCE_EDITION:
            return scopes
        facts, own = self.state.facts, self.protocol.actions.get(ConsentWithdrawn.kind)
        given = tuple(scope for scope in scopes if f"consent_{scope}" in facts)
        if own is None or not own.party_that_established:
            return given
        received = [facts[one].party for one in own.or_party_that_established if one in facts]
        if self.agency.party in received:
            return given
        party = self.agency.party
        return tuple(scope for scope in given if facts[f"consent_{scope}"].party == party)

    def _groups(self, kind: str, value: str | None = None) -> Mapping[str, tuple[str, ...]]:
        """Return the other choices, such as the field groups that the access matrix allows."""
        if kind in ("merge_accepted", "case_merged", "merge_undone"):
            named = self._merge_fields(kind, value)
            return {
                name: (given,) if isinstance(given, str) else tuple(given)
                for name, given in named.items()
            }
        if kind == RetentionAnnounced.kind:
            return {"kept_days": (str(self._announcement()["kept_days"]),)}
        if kind == FormSent.kind:
            return self._form_choices()
        if kind == ConsentWithdrawn.kind:
            return {"scopes": self._scopes()}
        if kind == CaseClosed.kind and self.state is not None and self.protocol.closings:
            return {"reason": self._reasons()}
        if kind == IdentityRecorded.kind and self.state is not None:
            own = self.state.rectifications.items()
            asked = [action for action, one in own if one.party == self.agency.party]
            return {"request": tuple(_ids(asked))}
        operation = {
            "information_requested": Operation.REQUEST,
            "information_released": Operation.RELEASE,
            "break_glass_opened": Operation.BREAK_GLASS,
        }.get(kind)
        if operation is None:
            return {}
        role = self.agency.role
        allowed = (g.value for g in FieldGroup if self.protocol.allows(role, operation, g))
        return {"groups": tuple(allowed)}


def _ids(actions: Iterable[UUID]) -> Sequence[str]:
    return [str(action) for action in actions]


def _nothing_to_name(kind: str) -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "nothing-to-name",
        f"There is nothing in this case that {kind} could be about.",
    )
