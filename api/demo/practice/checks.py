"""The check of an exercise: which tasks the recorded actions of a case fulfil, and what is wrong.

Pure functions over a case's history. They see ``ledger`` fields alone, as the rules do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from api.demo.practice.exercises import Exercise, Task
from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.protocol import Protocol


class TaskState(StrEnum):
    """The progress of a task."""

    DONE = "done"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class WrongRole:
    """An agency of another role or country recorded the action."""

    agency: str


@dataclass(frozen=True, slots=True)
class WrongValue:
    """A field has another value than the situation asks for."""

    field: str
    found: Any
    """``None`` if the field was left out."""
    right: Any


@dataclass(frozen=True, slots=True)
class WrongOrder:
    """The action was recorded before that of an earlier task."""

    first: Task


Fault = WrongRole | WrongValue | WrongOrder


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one task."""

    task: Task
    state: TaskState
    act: Act | None = None
    """The action that does the task, or else the last try."""
    faults: tuple[Fault, ...] = ()
    annulled: Act | None = None
    """A try that was annulled, if no other is there."""


def check(exercise: Exercise, history: Sequence[Act], protocol: Protocol) -> tuple[Finding, ...]:
    """Return the finding on each task of an exercise.

    ``history`` has all actions of the case, in order. The first ones are those of the set-up.
    """
    set_up, tries = history[: len(exercise.setup)], history[len(exercise.setup) :]
    ids = {name: act.id for name, act in zip(exercise.setup, set_up, strict=False)}
    annulled = annulled_ids(history)
    found: dict[str, Finding] = {}
    for task in exercise.tasks:
        found[task.id] = _finding(task, tries, annulled, ids, found, protocol)
    return tuple(found.values())


def is_done(findings: Sequence[Finding]) -> bool:
    """Return whether every task is done."""
    return all(one.state is TaskState.DONE for one in findings)


def _finding(
    task: Task,
    tries: Sequence[Act],
    annulled: frozenset[UUID],
    ids: Mapping[str, UUID],
    earlier: Mapping[str, Finding],
    protocol: Protocol,
) -> Finding:
    own = [act for act in tries if _is_try(task, act)]
    standing = [act for act in own if act.id not in annulled]
    if not standing:
        return Finding(task, TaskState.MISSING, annulled=own[-1] if own else None)
    faults: tuple[Fault, ...] = ()
    for act in standing:
        faults = _faults(task, act, ids, earlier, protocol)
        if not faults:
            return Finding(task, TaskState.DONE, act)
    return Finding(task, TaskState.WRONG, standing[-1], faults)


def _is_try(task: Task, act: Act) -> bool:
    return act.kind == task.kind and (
        task.form is None or act.fields.get("form_number") == task.form
    )


def _faults(
    task: Task,
    act: Act,
    ids: Mapping[str, UUID],
    earlier: Mapping[str, Finding],
    protocol: Protocol,
) -> tuple[Fault, ...]:
    found: list[Fault] = []
    right, author = protocol.agencies_by_id[task.agency], protocol.agencies_by_id.get(act.agency)
    roles = task.by or (right.role,)
    if author is None or author.party != right.party or author.role not in roles:
        found.append(WrongRole(act.agency))
    for field, value in task.fields.items():
        wanted = str(ids.get(value[1:], value)) if _is_reference(value) else value
        recorded = act.fields.get(field)
        if not _fits(recorded, wanted):
            found.append(WrongValue(field, recorded, wanted))
    for name in task.after:
        before = earlier[name]
        if before.act is None or before.act.version > act.version:
            found.append(WrongOrder(before.task))
    return tuple(found)


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("@")


def _fits(recorded: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple)):
        return isinstance(recorded, (list, tuple)) and set(wanted) <= set(recorded)
    return bool(recorded == wanted)
