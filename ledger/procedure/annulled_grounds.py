"""The facts of a case that rest on an annulled action.

An action needs facts that earlier actions established. If a correction annuls such an earlier
action, the action that was taken on it stays recorded, and its own fact stays in force. No further
action is taken on that fact until the ground is recorded again: a person whose return was decided
by mistake is not received on that decision.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids, facts_named
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import ActionRule, Protocol

SINCE_EDITION = 2


@dataclass(frozen=True, slots=True)
class AnnulledGround:
    """A fact that an action in force needed, and that an annulled action had established."""

    resting: str
    """The fact that rests on it."""
    fact: str
    """The fact that holds no more."""


def annulled_ground(
    facts: Collection[str], state: CaseState, history: Mapping[UUID, Act], protocol: Protocol
) -> AnnulledGround | None:
    """Return an annulled ground of one of some facts in force; ``None`` if they have none."""
    annulled = annulled_ids(history.values())
    if not annulled:
        return None
    waiting, seen = [*facts], set(facts)
    while waiting:
        resting = waiting.pop()
        taken = history.get(state.facts[resting].action) if resting in state.facts else None
        rule = protocol.actions.get(taken.kind) if taken is not None else None
        if taken is None or rule is None:
            continue
        rule = rule.taken_with(taken.fields)
        ground = _one_of(rule, resting, taken, state, annulled, history, protocol)
        if ground is not None:
            return ground
        held = (fact for fact in rule.requires_one_of if fact in state.facts)
        for fact in (*_needed(rule, is_child=state.is_child), *held):
            if fact in state.facts:
                if fact not in seen:
                    seen.add(fact)
                    waiting.append(fact)
            elif _was_annulled(fact, taken, history, annulled, protocol):
                return AnnulledGround(resting, fact)
    return None


def _one_of(
    rule: ActionRule,
    resting: str,
    taken: Act,
    state: CaseState,
    annulled: Collection[UUID],
    history: Mapping[UUID, Act],
    protocol: Protocol,
) -> AnnulledGround | None:
    """Return the annulled ground of an action that needed one of several facts."""
    if any(fact in state.facts for fact in rule.requires_one_of):
        return None
    gone = (
        fact
        for fact in rule.requires_one_of
        if _was_annulled(fact, taken, history, annulled, protocol)
    )
    fact = next(gone, None)
    return None if fact is None else AnnulledGround(resting, fact)


def _needed(rule: ActionRule, *, is_child: bool) -> tuple[str, ...]:
    of_person = rule.requires_for_child if is_child else rule.requires_for_adult
    return (*rule.requires, *of_person)


def _was_annulled(
    fact: str,
    taken: Act,
    history: Mapping[UUID, Act],
    annulled: Collection[UUID],
    protocol: Protocol,
) -> bool:
    """Return whether annulled actions alone established a fact before an action was taken."""
    before = [
        act.id in annulled
        for act in history.values()
        if act.position < taken.position and _establishes(act, fact, protocol)
    ]
    return bool(before) and all(before)


def _establishes(act: Act, fact: str, protocol: Protocol) -> bool:
    rule = protocol.actions.get(act.kind)
    if rule is None:
        return False
    try:
        return fact in facts_named(rule.taken_with(act.fields).establishes, act.fields)
    except (KeyError, TypeError):
        return False  # an event of another form, which this program does not understand
