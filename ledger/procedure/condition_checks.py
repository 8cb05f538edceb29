"""Check an action against the values, bodies and periods that the protocol's rules name.

Only data of the protocol decides here: a text without these parts refuses nothing here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeGuard
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids, annuls, facts_named
from ledger.procedure.case_state import CaseState
from ledger.procedure.conditions import Bodies, Condition, FieldValue, Persons
from ledger.procedure.protocol import ActionRule, Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import ProtectionMeasureKind

_RECORDED_SINCE = 2
"""From this edition on, the time of recording counts where a decision names an earlier day."""
_ANNULLED_TOGETHER_SINCE = 2
"""From this edition on, bodies that lower a value together annul what had raised it together."""
CONDITION = "condition-"
"""The head of the rule that a refusal by a condition names; the condition's name follows."""
PROPOSED, CONFIRMED = "decision_proposed", "decision_confirmed"
_ASSUMED = " This rule is an assumption of the program; no authority set it."


def check_party(
    act: Act, agency: Agency, rule: ActionRule, state: CaseState, protocol: Protocol
) -> None:
    """Check that no other party's decision is undone. Raises ``Refusal`` (``other-party``).

    The decisions of a party that left are no party's any more.
    """
    own = facts_named(rule.party_that_established, _spread(act, rule))
    if any(_is_of(fact, agency.party, state) for fact in rule.or_party_that_established):
        return
    for fact in own:
        other = state.facts[fact].party if fact in state.facts else agency.party
        if other != agency.party and other not in protocol.left_parties:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "other-party",
                f"{fact} is a decision of {other}; {agency.party} does not undo it. Ask {other} to"
                f" take {act.kind}.",
                "iss",
            )


def _is_of(fact: str, party: str, state: CaseState) -> bool:
    return fact in state.facts and state.facts[fact].party == party


def _spread(act: Act, rule: ActionRule) -> Mapping[str, Any]:
    """Return the act's fields; a field that a pattern needs and the act lacks has no value."""
    named = [one.partition("{")[2].rstrip("}") for one in rule.party_that_established]
    return {**dict.fromkeys(filter(None, named), ()), **act.fields}


def check_named_party(
    kind: str, agency: Agency, rule: ActionRule, state: CaseState, history: Mapping[UUID, Act]
) -> None:
    """Check that the agency is of the party that an earlier action names, or of another one.

    Raises ``Refusal`` (``named-party``).
    """
    for place, is_wanted in ((rule.party_named_in, True), (rule.not_party_named_in, False)):
        if place is None:
            continue
        fact, _, field = place.partition(".")
        if fact not in state.facts:
            continue
        asked = history.get(state.facts[fact].action)
        if asked is None:
            continue  # the history of this case does not have the action
        named = asked.fields.get(field)
        if (named == agency.party) is not is_wanted:
            only = f"only {named} takes" if is_wanted else f"{named} does not take"
            raise Refusal(
                Ground.NOT_ALLOWED,
                "named-party",
                f"{fact} names {named}: {only} {kind}.",
                "iss",
            )


def check_conditions(
    act: Act, rule: ActionRule, state: CaseState, history: Mapping[UUID, Act], protocol: Protocol
) -> None:
    """Check the values that the rule's conditions ask for. Raises ``Refusal``."""
    for name in protocol.conditions_of(rule):
        condition = protocol.conditions[name]
        if not _concerns(condition, state):
            continue
        if condition.when is not None and not _is_so(condition.when, act, state, history):
            continue
        if condition.fact is None:
            if not _has(act, condition):
                raise _unfit(act, name, condition)
            continue
        overridden = _overridden(condition, history)
        for judged in _judged(condition, state, history, protocol):
            if not _has(judged, condition) and judged.id not in overridden:
                raise _unfit(act, name, condition)


def _concerns(condition: Condition, state: CaseState) -> bool:
    if condition.persons is None:
        return True
    return state.is_child is (condition.persons is Persons.CHILDREN)


def _is_so(value: FieldValue, act: Act, state: CaseState, history: Mapping[UUID, Act]) -> bool:
    if value.fact is None:
        return _has(act, value)
    fact = state.facts.get(value.fact)
    acted = history.get(fact.action) if fact is not None else None
    return acted is not None and _has(acted, value)


def _has(act: Act, value: FieldValue) -> bool:
    given = act.fields.get(value.field)
    values = given if isinstance(given, list | tuple) else (given,)
    return any(one in value.values and one is not None for one in values)


def _judged(
    condition: Condition, state: CaseState, history: Mapping[UUID, Act], protocol: Protocol
) -> Iterable[Act]:
    """Return the actions that a condition on a fact is about; none while it is not in force."""
    fact = state.facts.get(condition.fact or "")
    if fact is None:
        return ()
    if not condition.of_each_party:
        return (history[fact.action],) if fact.action in history else ()
    kinds, annulled = protocol.establishing(condition.fact or ""), annulled_ids(history.values())
    newest = {
        protocol.agencies_by_id[one.agency].party: one
        for one in history.values()
        if one.kind in kinds and one.id not in annulled
    }
    return newest.values()


def _overridden(condition: Condition, history: Mapping[UUID, Act]) -> frozenset[UUID]:
    if condition.unless is None:
        return frozenset()
    annulled = annulled_ids(history.values())
    return frozenset(
        UUID(one.fields["overrides"])
        for one in history.values()
        if one.kind == condition.unless and one.id not in annulled
    )


def _unfit(act: Act, name: str, condition: Condition) -> Refusal:
    """Return the refusal of an action by a condition, with the reason."""
    allowed = " or ".join(map(_said, condition.values))
    assumed = _ASSUMED if condition.is_assumed else ""
    if condition.fact is None:
        return Refusal(
            Ground.INVALID,
            f"{CONDITION}{name}",
            f"{act.kind} needs {condition.field} to be {allowed}.{assumed}",
            f"act.{condition.field}",
        )
    by = f", unless {condition.unless} names it" if condition.unless is not None else ""
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        f"{CONDITION}{name}",
        f"{act.kind} needs {condition.field} of {condition.fact} to be {allowed}{by}.{assumed}",
    )


def _said(value: bool | str) -> str:
    return value if isinstance(value, str) else ("yes" if value else "no")


def check_bodies(
    act: Act,
    agency: Agency,
    rule: ActionRule,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> None:
    """Check that the bodies that the protocol names for this party decide.

    Raises ``Refusal`` (``deciding-body``, ``requires-…`` or ``together``).
    """
    bodies = [
        one
        for one in rule.bodies_of(agency.party)
        if _is_in_force(one, act, history, protocol)
        and _are_asked(one, act, agency.party, state, history, protocol)
    ]
    if not bodies:
        return
    own = [one for one in bodies if agency.role in one.roles]
    if not own:
        raise _not_deciding(act.kind, agency, bodies)
    refusals = [_missing(act, agency, one, state, history, protocol) for one in own]
    if all(refusals) and refusals[0] is not None:
        raise refusals[0]


def _not_deciding(kind: str, agency: Agency, bodies: Iterable[Bodies]) -> Refusal:
    roles = dict.fromkeys(role for one in bodies for role in one.roles)
    return Refusal(
        Ground.NOT_ALLOWED,
        "deciding-body",
        f"In {agency.party}, {kind} is for {' or '.join(roles)}; {agency.role} does not decide it.",
        "iss",
    )


def _is_in_force(bodies: Bodies, act: Act, history: Mapping[UUID, Act], protocol: Protocol) -> bool:
    """Return whether these bodies decided already on the day of an action.

    An agency chooses the day that it names. So from edition 2 on, an earlier day counts only for an
    action that was recorded before the bodies decided, or that is older than the record of its case
    and brought in time, as by an import.
    """
    if bodies.since is None or act.acted_at.date() >= bodies.since:
        return True
    if protocol.edition < _RECORDED_SINCE or act.recorded_at.date() < bodies.since:
        return False
    opening = next(iter(history.values()), None)
    is_older = opening is None or act.acted_at < opening.recorded_at
    until = bodies.imported_until
    return not is_older or (until is not None and act.recorded_at.date() > until)


def check_annulment(
    act: Act,
    mistaken: Act,
    agency: Agency,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> None:
    """Check that no agency takes back alone what it may not lower alone.

    The annulment of an action that stands is judged as the action that the rule names, with the
    value that stands afterwards. Any body of the party proposes that action, and the others confirm
    it. Raises ``Refusal`` (``deciding-body`` or ``together``).
    """
    rule = protocol.actions.get(mistaken.kind)
    kind = rule.annulled_as if rule is not None else None
    if kind is None or protocol.edition < _ANNULLED_TOGETHER_SINCE:
        return
    annulled = annulled_ids(history.values())
    kinds = {name for name, one in protocol.actions.items() if one.annulled_as == kind} | {kind}
    stated = [
        one
        for one in history.values()
        if one.id not in annulled and one.kind in (*kinds, "case_opened")
    ]
    own = [one for one in stated if protocol.agencies_by_id[one.agency].party == agency.party]
    newest = [one for one in own if one.kind == mistaken.kind][-1:]
    in_force = {fact.action for fact in state.facts.values()} | {one.id for one in newest}
    if mistaken.id not in in_force:
        return  # a later statement stands, and goes on to stand
    asked: list[tuple[Bodies, Act]] = []
    for bodies in protocol.actions[kind].bodies_of(agency.party):
        value = _left(bodies, own, mistaken) or (
            None if bodies.lowers else _left(bodies, stated, mistaken)
        )
        fields = {} if bodies.field is None or value is None else {bodies.field: value}
        lowering = replace(act, kind=kind, fields=fields)
        if _is_in_force(bodies, act, history, protocol) and _are_asked(
            bodies, lowering, agency.party, state, history, protocol
        ):
            asked.append((bodies, lowering))
    if not asked:
        return
    alone = [one for one, _ in asked if not together(one, state)]
    if any(agency.role in one.roles for one in alone):
        return
    if any(_are_agreed(one, to, mistaken, agency, state, history, protocol) for one, to in asked):
        return
    jointly = next((pair for pair in asked if together(pair[0], state)), None)
    if jointly is None:
        raise _not_deciding(f"the annulment of {mistaken.kind}", agency, alone)
    bodies, to = jointly
    value = to.fields.get(bodies.field or "")
    named = f" with {bodies.field} {value}" if _is_proposed(bodies.field) and value else ""
    raise Refusal(
        Ground.OUT_OF_PROCEDURE,
        "together",
        f"In {agency.party}, the annulment of this {mistaken.kind} is decided as {kind}{named}:"
        f" {' or '.join(bodies.roles)} records {PROPOSED} of {kind}; then"
        f" {' and '.join(together(bodies, state))} must record {CONFIRMED}.",
    )


def _left(bodies: Bodies, stated: Iterable[Act], mistaken: Act) -> Any:
    """Return the value of a field of bodies that stands without an action; ``None`` if none."""
    field = bodies.field or ""
    values = [one.fields[field] for one in stated if one.id != mistaken.id and field in one.fields]
    return values[-1] if values else None


def _are_agreed(
    bodies: Bodies,
    lowering: Act,
    mistaken: Act,
    agency: Agency,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> bool:
    """Return whether bodies of the party agreed on what an annulment comes to.

    They did so after the mistaken action, and no decision and no annulment has used it since.
    """
    annulled, wanted = annulled_ids(history.values()), {*together(bodies, state)}
    for earlier in reversed(list(history.values())):
        by = protocol.agencies_by_id[earlier.agency]
        if earlier.id == mistaken.id:
            return False
        if _uses(earlier, lowering.kind, by, agency, history, protocol):
            return False
        if (
            earlier.kind != PROPOSED
            or earlier.id in annulled
            or by.party != agency.party
            or by.role not in bodies.roles
            or earlier.fields["decision"] != lowering.kind
        ):
            continue
        field = bodies.field
        if _is_proposed(field) and earlier.fields.get(field) != lowering.fields.get(field):
            continue
        confirmed = {
            protocol.agencies_by_id[one.agency].role for one in confirmations(earlier.id, history)
        }
        if wanted and wanted <= confirmed:
            return True
    return False


def _uses(
    act: Act,
    kind: str,
    by: Agency,
    agency: Agency,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> bool:
    """Return whether an action of a party used what its bodies agreed on for ``kind``."""
    return by.party == agency.party and (
        act.kind == kind or _annuls_as(act, kind, history, protocol)
    )


def _annuls_as(act: Act, kind: str, history: Mapping[UUID, Act], protocol: Protocol) -> bool:
    """Return whether an action is an annulment that is decided as ``kind``."""
    if not annuls(act):
        return False
    mistaken = history.get(UUID(act.fields["corrects"]))
    rule = protocol.actions.get(mistaken.kind) if mistaken is not None else None
    return rule is not None and rule.annulled_as == kind


def _are_asked(
    bodies: Bodies,
    act: Act,
    party: str,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> bool:
    """Return whether an action is one that these bodies of a party decide."""
    if any(fact in state.facts for fact in bodies.not_while):
        return False
    if bodies.field is None:
        return True
    if bodies.values and not _has(act, FieldValue(field=bodies.field, values=bodies.values)):
        return False
    return not bodies.lowers or _lowers(bodies, act, party, history, protocol)


def _lowers(
    bodies: Bodies, act: Act, party: str, history: Mapping[UUID, Act], protocol: Protocol
) -> bool:
    """Return whether an action has a lower value than the newest such action of the party."""
    annulled, field = annulled_ids(history.values()), bodies.field or ""
    said = [
        one.fields.get(field)
        for one in history.values()
        if one.kind == act.kind
        and one.id not in annulled
        and protocol.agencies_by_id[one.agency].party == party
    ]
    order = bodies.lowers
    before, now = (said[-1] if said else None), act.fields.get(field)
    return before in order and now in order and order.index(now) < order.index(before)


def _missing(
    act: Act,
    agency: Agency,
    bodies: Bodies,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> Refusal | None:
    """Return why these bodies have not decided yet; ``None`` if they have."""
    for fact in bodies.requires:
        if fact not in state.facts:
            return Refusal(
                Ground.OUT_OF_PROCEDURE,
                f"requires-{fact}",
                f"In {agency.party}, {act.kind} requires {fact} first; record that action before"
                " this one.",
            )
    wanted = together(bodies, state)
    if not wanted:
        return None
    best: tuple[str, ...] = wanted
    for proposal in _proposals(act, bodies, history, protocol):
        confirmed = {
            protocol.agencies_by_id[one.agency].role for one in confirmations(proposal.id, history)
        }
        best = min(best, tuple(role for role in wanted if role not in confirmed), key=len)
    if not best:
        return None
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "together",
        f"In {agency.party}, {' and '.join((agency.role, *wanted))} decide {act.kind} together."
        f" {agency.role} records {PROPOSED}; then {' and '.join(best)} must record {CONFIRMED}.",
    )


def together(bodies: Bodies, state: CaseState) -> tuple[str, ...]:
    """Return the roles that confirm a decision of ``bodies`` in this case."""
    return (*bodies.together, *(bodies.together_for_child if state.is_child else ()))


def confirmations(proposal: UUID, history: Mapping[UUID, Act]) -> Iterator[Act]:
    """Yield the confirmations of a proposed decision that are not annulled."""
    annulled = annulled_ids(history.values())
    for act in history.values():
        if (
            act.kind == CONFIRMED
            and act.id not in annulled
            and UUID(act.fields["proposal"]) == proposal
        ):
            yield act


def _proposals(
    act: Act, bodies: Bodies, history: Mapping[UUID, Act], protocol: Protocol
) -> Iterator[Act]:
    """Yield the open proposals of this very decision by the acting agency."""
    annulled = annulled_ids(history.values())
    for earlier in reversed(list(history.values())):
        if earlier.id in annulled:
            continue
        if earlier.kind == act.kind and earlier.agency == act.agency:
            return  # proposals of before led to that decision
        if _annuls_as(earlier, act.kind, history, protocol):
            party = protocol.agencies_by_id[act.agency].party
            if party == protocol.agencies_by_id[earlier.agency].party:
                return  # or to that annulment
        if earlier.kind != PROPOSED or earlier.agency != act.agency:
            continue
        value = act.fields.get(bodies.field) if _is_proposed(bodies.field) else None
        if earlier.fields["decision"] == act.kind and (
            value is None or earlier.fields.get(bodies.field or "") == value
        ):
            yield earlier


def _is_proposed(field: str | None) -> TypeGuard[str]:
    """Return whether a proposed decision names the value of a field."""
    return field is not None and field in CASE_ACTIONS[PROPOSED].ledger_fields()


def check_proposed(act: Act, agency: Agency, state: CaseState, protocol: Protocol) -> None:
    """Check that the agency is one that decides this together with others. Raises ``Refusal``."""
    kind = act.fields.get("decision")
    rule = protocol.actions.get(kind or "")
    bodies = rule.bodies_of(agency.party) if rule is not None else ()
    own = [one for one in bodies if agency.role in one.roles]
    joint = [one for one in own if together(one, state)]
    if not joint:
        raise Refusal(
            Ground.INVALID,
            "not-together",
            f"{agency.role} of {agency.party} does not decide {kind} together with others.",
            "act.decision",
        )
    if all(_is_proposed(one.field) and one.field not in act.fields for one in joint):
        raise Refusal(
            Ground.INVALID,
            "outcome-not-named",
            f"Name the {joint[0].field} that the others are to confirm.",
            f"act.{joint[0].field}",
        )


def check_confirmed(
    act: Act,
    agency: Agency,
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> None:
    """Check that the agency confirms a decision that it takes part in. Raises ``Refusal``."""
    proposal = history.get(UUID(act.fields["proposal"]))
    if (
        proposal is None
        or proposal.kind != PROPOSED
        or proposal.id in annulled_ids(history.values())
    ):
        raise Refusal(
            Ground.INVALID,
            "no-such-proposal",
            "No such decision is proposed in this case.",
            "act.proposal",
        )
    by = protocol.agencies_by_id[proposal.agency]
    rule = protocol.actions.get(proposal.fields["decision"])
    roles = {
        role
        for one in (rule.bodies_of(by.party) if rule is not None else ())
        if by.role in one.roles
        for role in together(one, state)
    }
    if by.party != agency.party or agency.role not in roles:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "not-together",
            f"{' and '.join(sorted(roles)) or 'No role'} of {by.party} confirms this decision.",
            "iss",
        )
    if any(one.agency == agency.id for one in confirmations(proposal.id, history)):
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "already-confirmed",
            "This agency has confirmed the decision.",
            "act.proposal",
        )


def reflection_ends(state: CaseState, protocol: Protocol) -> datetime | None:
    """Return when the last recovery and reflection period of the case ends; ``None``: none is set.

    The period runs from the fact that the protocol names, and as long as a measure that grants it.
    """
    ends: list[datetime] = []
    for period in protocol.reflection:
        for name in (period.after, *period.or_after):
            fact = state.facts.get(name)
            if fact is not None and protocol.reflection_of(fact.party) is period:
                ends.append(fact.since + timedelta(days=period.days))
    for measure in state.measures.values():
        own = protocol.reflection_of(measure.party)
        if own is not None and measure.measure == ProtectionMeasureKind.RECOVERY_AND_REFLECTION:
            ends.append(measure.until or measure.since + timedelta(days=own.days))
    return max(ends, default=None)


def check_reflection(act: Act, rule: ActionRule, state: CaseState, protocol: Protocol) -> None:
    """Check that the recovery and reflection period is over, or that the person wished otherwise.

    Raises ``Refusal`` (``reflection``).
    """
    wish = rule.waits_for_reflection_unless
    if wish is None or wish in state.facts:
        return
    ends = reflection_ends(state, protocol)
    if ends is not None and act.acted_at < ends:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "reflection",
            f"The recovery and reflection period lasts until {ends.date()}; until then"
            f" {act.kind} needs the person's own wish ({wish}).",
        )


def check_reflection_granted(act: Act, agency: Agency, protocol: Protocol) -> None:
    """Check that a granted recovery and reflection period is not too short. Raises ``Refusal``."""
    period, until = protocol.reflection_of(agency.party), act.fields.get("until")
    if (
        period is None
        or until is None
        or act.fields.get("measure") != ProtectionMeasureKind.RECOVERY_AND_REFLECTION
    ):
        return
    if datetime.fromisoformat(until) < act.acted_at + timedelta(days=LEAST_REFLECTION_DAYS):
        raise Refusal(
            Ground.INVALID,
            "reflection-too-short",
            f"A recovery and reflection period has at least {LEAST_REFLECTION_DAYS} days.",
            "act.until",
        )


LEAST_REFLECTION_DAYS = 30
"""By the Convention on Action against Trafficking in Human Beings (CETS 197), article 13."""
