"""The words of a case's page: the trail's rows, measures in force, and due steps."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pydantic import JsonValue

from api.paper.subject_access.wording import Wording
from api.web.action_names import Recorded, action_names
from api.web.texts import texts
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import annulled_ids, without_effect
from ledger.procedure.protocol import OVERSIGHT, Agency, Protocol
from ledger.vault.held_fields import Held, HeldFields
from ledger.vocabulary.characters import shown_name
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView, StepView, Turn
from projections.folds.due_index import takers
from projections.folds.obligation_terms import is_over

_SOON = timedelta(days=3)


class Urgency(StrEnum):
    """The urgency of a due date, seen from now."""

    LATE = "late"
    SOON = "soon"
    LATER = "later"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FieldText:
    """A field and its value, a line for each item."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrailRow:
    """One action of the trail in words."""

    entry: TrailEntry
    what: str
    who: str
    fields: tuple[FieldText, ...]
    disclosed: tuple[FieldText, ...]
    """The ``case`` fields that the reader's country holds."""
    changes: tuple[tuple[str, str, str], ...]
    """The changes of the case's view by the action: place, value before, and value after."""
    damaged: tuple[str, ...]
    """Fields of these that do not open: somebody changed the vault's rows."""
    annulled: bool
    undone: bool
    """True if it merged two cases, and the merge was undone."""
    answers: int | None
    """The number of the other country's action that this one takes over or answers."""


@dataclass(frozen=True, slots=True)
class DueStep:
    """One expected step, as the reader's agency sees it."""

    step: StepView
    urgency: Urgency
    ours: bool
    """Whether it is the reader's country's turn."""
    mine: bool
    """Whether the reader's agency may take it."""


def urgency(due: datetime | None, now: datetime) -> Urgency:
    """Return how near a due date is."""
    if due is None:
        return Urgency.NONE
    if due < now:
        return Urgency.LATE
    return Urgency.SOON if due - now < _SOON else Urgency.LATER


def dues(view: CaseView, agency: Agency, protocol: Protocol, now: datetime) -> tuple[DueStep, ...]:
    """Return the expected steps of a case: the agency's own first, then by date."""
    found = [
        DueStep(
            step=step,
            urgency=urgency(step.due, now),
            ours=step.turn is not Turn.THEIRS,
            mine=is_own(step, agency, protocol),
        )
        for step in view.expected
        if not is_over(step.action, step.due, step.expected_by, now)
    ]
    return tuple(sorted(found, key=lambda d: (not d.mine, not d.ours)))


def is_own(step: StepView, agency: Agency, protocol: Protocol) -> bool:
    """Return whether a step waits for ``agency``."""
    if agency.role == OVERSIGHT:  # its view is of no country: no step is that view's turn
        return step.party == agency.party and OVERSIGHT in step.roles
    if step.turn is Turn.THEIRS:
        return False
    if step.agency is not None:
        return step.agency == agency.id
    return agency.role in takers(step, protocol)


def names(protocol: Protocol, trail: Sequence[TrailEntry], words: Wording) -> Mapping[str, str]:
    """Return the names of agencies and of the case's actions, as values show them.

    The name of a retired agency says which agency answers for it.
    """
    agencies = {a.id: _name_today(a, protocol, words) for a in protocol.agencies}
    called = names_of(trail, words)
    return agencies | {str(e.action_id): f"{e.version}. {called[e.action_id]}" for e in trail}


def names_of(trail: Iterable[TrailEntry], words: Wording) -> Mapping[UUID, str]:
    """Return the name of each action of a trail, by its id."""
    return action_names((Recorded(e.action_id, e.kind, e.fields) for e in trail), words)


def _name_today(agency: Agency, protocol: Protocol, words: Wording) -> str:
    name = words.agency(agency)
    if agency.retired_at is None:
        return name
    answering = words.agency(protocol.answering_for(agency.id))
    return texts(words.language).text("agency.retired", agency=name, answering=answering)


def _names_then(
    entry: TrailEntry, agreement: Agreement, named: Mapping[str, str], words: Wording
) -> Mapping[str, str]:
    """Return agencies' names at the time when an event was recorded, and actions as ``named``."""
    protocol = agreement.at(entry.position, entry.recorded_at)
    return {**named, **{a.id: words.agency(a) for a in protocol.agencies}}


def rows(
    trail: Sequence[TrailEntry],
    held: HeldFields,
    pairs: Mapping[UUID, UUID],
    agreement: Agreement,
    words: Wording,
) -> tuple[TrailRow, ...]:
    """Return the trail in words; ``pairs`` are handovers, by the action that answers.

    Each row has the names that agencies had when its event was recorded.
    """
    named, called = names(agreement.directory, trail, words), names_of(trail, words)
    numbers = {entry.action_id: entry.version for entry in trail}
    annulled = annulled_ids(trail)
    undone = without_effect(trail) - annulled
    disclosed = case_values(trail, held)
    told_rows: list[TrailRow] = []
    for entry in trail:
        then = _names_then(entry, agreement, named, words)
        told_rows.append(
            TrailRow(
                entry=entry,
                what=with_title(called[entry.action_id], disclosed[entry.action_id]),
                who=then.get(entry.agency, entry.agency),
                fields=told(entry.kind, entry.fields, then, words),
                disclosed=told(entry.kind, disclosed[entry.action_id], then, words),
                changes=tuple(
                    (change.path, _changed(change.before, then), _changed(change.after, then))
                    for change in entry.changes
                ),
                damaged=tuple(
                    words.field(one.field)
                    for one in held.damaged
                    if one.action_id == entry.action_id
                ),
                annulled=entry.action_id in annulled,
                undone=entry.action_id in undone,
                answers=numbers.get(pairs[entry.action_id]) if entry.action_id in pairs else None,
            )
        )
    return tuple(told_rows)


def with_title(name: str, disclosed: Mapping[str, JsonValue]) -> str:
    """Return the name of an action with the title of its document at ``case`` level, if any."""
    match disclosed.get("case_document"):
        case {"title": str(title)}:
            return f"{name}{',' if ':' in name else ':'} {shown_name(title)}"
        case _:
            return name


def _changed(value: JsonValue, named: Mapping[str, str]) -> str:
    """Return a value of the case's view, with the names of agencies in place of their ids."""
    if value is None:
        return "—"
    said = _with_names(value, named)
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _with_names(value: JsonValue, named: Mapping[str, str]) -> JsonValue:
    match value:
        case str():
            return named.get(value, value)
        case list():
            return [_with_names(one, named) for one in value]
        case dict():
            return {name: _with_names(one, named) for name, one in value.items()}
    return value


def case_values(
    trail: Iterable[TrailEntry], held: Iterable[Held]
) -> Mapping[UUID, Mapping[str, JsonValue]]:
    """Return the ``case`` fields of each action of the trail, by the action's id.

    ``held`` has the fields that the reader's vault holds. An old action may have some in the clear.
    """
    values: dict[UUID, dict[str, JsonValue]] = {e.action_id: dict(e.in_clear) for e in trail}
    for one in held:
        if one.action_id in values:
            values[one.action_id][one.field] = one.value
    return values


def of_fact(
    fact: str, view: CaseView, trail: Iterable[TrailEntry], held: Iterable[Held]
) -> Mapping[str, JsonValue]:
    """Return the ``case`` fields of the action by which ``fact`` holds of the case now."""
    in_force = view.facts.get(fact)
    if in_force is None:
        return {}
    return case_values(trail, held).get(in_force.action, {})


def told(
    kind: str, fields: Mapping[str, JsonValue], named: Mapping[str, str], words: Wording
) -> tuple[FieldText, ...]:
    """Return fields in words."""
    return tuple(
        FieldText(words.field(name), words.value(kind, name, value, named))
        for name, value in fields.items()
    )
