"""Folds a case's actions into its state: pure, by their ``ledger`` fields alone.

The fold never refuses: what is recorded has happened. Rules are in ``ledger.procedure.case_rules``.
The effect of each kind of action is in ``ledger.procedure.case_effects``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from typing import Protocol as Interface
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_effects import effect
from ledger.procedure.case_state import CaseState, FactInForce, LackingSafeguard
from ledger.procedure.protocol import NODE, ActionRule, Protocol
from ledger.vocabulary import CASE_ACTIONS, NOT_UNDERSTOOD
from ledger.vocabulary.linking import MergeUndone
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    CorrectionEffect,
    Priority,
    Stage,
    TraffickingStatus,
)

_ADVANCES = (Stage.IDENTIFICATION, Stage.PROTECTION, Stage.INCLUSION, Stage.RETURN)
"""The stages that a case passes through, and never back: a service that ends after the
return was decided does not undo the decision. Proceedings and coordination run beside."""


def fold(acts: Sequence[Act], agreement: Agreement) -> CaseState | None:
    """Return the state after ``acts``, without the acts that a later act annuls or undoes.

    Each act is folded by the version of the protocol that judged it.
    """
    annulled = without_effect(acts)
    state: CaseState | None = None
    for act in acts:
        state, _ = applied(state, act, agreement.of_act(act), annulled=act.id in annulled)
    return state


def applied(
    state: CaseState | None, act: Act, protocol: Protocol, *, annulled: bool = False
) -> tuple[CaseState | None, bool]:
    """Fold any recorded action, and return the state and whether the action was applied.

    An action that is not understood, or does not fit the case as it stands, counts as recorded and
    changes nothing else. Before the opening of the case, such an action leaves no state. An honest
    node records no such action.
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


class ActionLike(Interface):
    """An action in any of its forms, as an act or as the audit trail has it."""

    @property
    def kind(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, Any]: ...


def annulled_ids(acts: Iterable[ActionLike]) -> frozenset[UUID]:
    """Return the ids of the actions that corrections among ``acts`` annul."""
    return frozenset(UUID(act.fields["corrects"]) for act in acts if annuls(act))


def withheld_ids(acts: Collection[Act]) -> frozenset[UUID]:
    """Return the ids of the actions whose disclosures nobody reads: the annulled ones.

    ``acts`` are all actions of a case, in order. If its opening is annulled, these are all of them.
    """
    annulled = annulled_ids(acts)
    opening = next(iter(acts), None)
    if opening is not None and opening.id in annulled:
        return frozenset(act.id for act in acts)
    return annulled


def annuls(act: ActionLike) -> bool:
    """Return whether ``act`` annuls an earlier act."""
    return act.kind == "correction" and act.fields["effect"] == CorrectionEffect.ANNULLED


def takes_back(act: ActionLike) -> bool:
    """Return whether ``act`` annuls or undoes an earlier act: the case is then folded anew."""
    return act.kind == MergeUndone.kind or annuls(act)


def without_effect(acts: Iterable[ActionLike]) -> frozenset[UUID]:
    """Return the ids of the actions that others among ``acts`` annul or undo.

    What an undone merge said stays said: its disclosures are not those of an annulled action.
    """
    return frozenset(
        UUID(str(act.fields["merge" if act.kind == MergeUndone.kind else "corrects"]))
        for act in acts
        if takes_back(act)
    )


def evolve(
    state: CaseState | None, act: Act, protocol: Protocol, *, annulled: bool = False
) -> CaseState:
    """Return the state after one action.

    An ``annulled`` action counts as recorded and changes nothing else. Raises ``ValueError`` if the
    first action is not the opening of the case, and other errors for an action that the rules would
    refuse; see :func:`applied`.
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
    changes |= effect(state, act, protocol)
    addressed = addressed_parties(act, protocol)
    joining = [c for c in addressed if c not in state.parties]
    if joining:
        changes["parties"] = (*state.parties, *dict.fromkeys(joining))
    if _ends_error_closing(state, act, protocol) and "error_closing" not in changes:
        changes["error_closing"] = None
    proposed = state.merge_proposal
    if proposed is not None and proposed.joined in addressed and "merge_proposal" not in changes:
        changes["merge_proposal"] = proposed.model_copy(update={"joined": None})
    after = state.model_copy(update=changes)
    unguarded = _unguarded(state, after, act, rule)
    if unguarded == after.unguarded:
        return after
    return after.model_copy(update={"unguarded": unguarded})


def _ends_error_closing(state: CaseState, act: Act, protocol: Protocol) -> bool:
    """Return whether an action ends the proposal to close the case as opened in error.

    The countries agreed on the case as it stood, so any other action ends it, also one by which
    another country joins. A node's statement changes nothing of that.
    """
    return (
        state.error_closing is not None
        and protocol.edition >= 2
        and protocol.agencies_by_id[act.agency].role != NODE
    )


def _unguarded(
    before: CaseState, after: CaseState, act: Act, rule: ActionRule
) -> Mapping[UUID, LackingSafeguard]:
    """Return the actions in force after ``act`` that were taken without a child's safeguards.

    While the person counts as an adult, the rules do not ask for them.
    """
    lacking = tuple(fact for fact in rule.requires_for_child if fact not in before.facts)
    listed = dict(before.unguarded)
    if lacking and not before.is_child:
        listed[act.id] = LackingSafeguard.model_construct(
            kind=act.kind, since=act.acted_at, safeguards=lacking
        )
    if not listed:
        return listed
    in_force = {fact.action for fact in after.facts.values()} | after.consents.keys()
    return {action: lack for action, lack in listed.items() if action in in_force}


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
        "form_sent",
        "lead_transfer_offered",
        "joint_action_agreed",
        "correction",
        "merge_proposed",
        "merge_accepted",
        "merge_declined",
        "merge_undone",
        "return_requested",
        "outcome_overridden",
        "state_notified",
        "person_referred",
        "case_reopened",
    }
)
"""The kinds of actions after which other countries may be party to a case than before."""


_JOINING_COUNTRIES: Mapping[str, str] = {
    "case_opened": "countries",
    "meeting_held": "countries",
    "merge_accepted": "countries",
    "return_decided": "destination",
    "return_requested": "destination",
    "outcome_overridden": "destination",
    "state_notified": "country",
    "person_referred": "country",
}
"""The field of an action that names the countries that it brings into the case."""
_JOINING_AGENCIES: Mapping[str, str] = {
    "information_requested": "addressee",
    "merge_proposed": "addressee",
    "form_sent": "addressee",
    "lead_transfer_offered": "to_agency",
    "joint_action_agreed": "responsible",
}
"""The field of an action that names agencies whose countries it brings into the case."""


def joining_field(kind: str) -> str | None:
    """Return the field of an action whose values bring countries into the case."""
    return _JOINING_COUNTRIES.get(kind) or _JOINING_AGENCIES.get(kind)


def addressed_parties(act: Act, protocol: Protocol) -> tuple[str, ...]:
    """Return the countries that an action brings into the case by addressing them."""
    if act.kind == "case_reopened":  # a country that had no part in the case joins it
        return (protocol.agencies_by_id[act.agency].party,)
    name = joining_field(act.kind)
    if name is None:
        return ()
    given = act.fields[name]
    values = (given,) if isinstance(given, str) else tuple(given)
    if act.kind in _JOINING_COUNTRIES:
        return values
    return tuple(protocol.agencies_by_id[agency].party for agency in values)


def told_countries(acts: Iterable[Act], protocol: Protocol) -> frozenset[str]:
    """Return the countries that ``acts`` of a case brought into it, annulled acts too.

    The country of the opening agency is among them. A country that left the agreement is not: it
    erased what it had received.
    """
    told: set[str] = set()
    for act in acts:
        if act.kind == NOT_UNDERSTOOD:
            continue
        if act.kind == "case_opened":
            told.add(protocol.agencies_by_id[act.agency].party)
        told.update(addressed_parties(act, protocol))
    return frozenset(told - protocol.left_parties.keys())


def holders(action: UUID, acts: Iterable[Act], protocol: Protocol) -> frozenset[str]:
    """Return the countries that may hold disclosures of an annulled action of a case.

    These are the countries that were in the case before the action, or its opening, was annulled.
    ``acts`` are all actions of the case, in order.
    """
    before: list[Act] = []
    for act in acts:
        if annuls(act) and UUID(act.fields["corrects"]) in (action, before[0].id):
            break
        before.append(act)
    return told_countries(before, protocol)


def _opened(act: Act, protocol: Protocol) -> CaseState:
    own = protocol.agencies_by_id[act.agency].party
    age_group = AgeGroup(act.fields["age_group"])
    is_adult = age_group is AgeGroup.ADULT
    return CaseState.model_construct(
        case_id=act.case_id,
        version=act.version,
        position=act.position,
        opened_position=act.position,
        status=CaseStatus.ACTIVE,
        stage=Stage.IDENTIFICATION,
        age_group=age_group,
        trafficking_status=TraffickingStatus(
            act.fields.get("protected_as", TraffickingStatus.POSSIBLE)
        ),
        priority=Priority.NORMAL,
        lead_agency=act.agency,
        parties=tuple(dict.fromkeys((own, *act.fields["countries"]))),
        opened_at=act.acted_at,
        last_acted_at=act.acted_at,
        last_recorded_at=act.recorded_at,
        facts=_facts({}, act, protocol),
        of_age_from=None if is_adult else act.fields.get("of_age_from"),
    )


def _facts(
    facts: Mapping[str, FactInForce], act: Act, protocol: Protocol
) -> Mapping[str, FactInForce]:
    rule = protocol.actions[act.kind].taken_with(act.fields)
    ended = facts_named(rule.ends, act.fields)
    established = facts_named(rule.establishes, act.fields)
    if not established and not any(fact in facts for fact in ended):
        return facts
    in_force = FactInForce.model_construct(
        action=act.id, since=act.acted_at, party=protocol.agencies_by_id[act.agency].party
    )
    kept = {fact: since for fact, since in facts.items() if fact not in ended}
    return kept | dict.fromkeys(established, in_force)
