"""The parts of other cases that a decision reads: cases of the same person, and their holds.

Each case has its own events. An action that reads other cases is recorded only while these are at
the versions that the decision read (``LedgerRecorder.append``); else it is decided again. So every
copy, which judges the action by all events before it, comes to the same decision.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, TypeVar
from typing import Protocol as Interface
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.case_state import CaseState, MergedInto
from ledger.vocabulary.linking import (
    CaseMerged,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
    MergeUndone,
)

_READING = frozenset(
    {
        MergeAccepted.kind,
        CaseMerged.kind,
        MergeProposed.kind,
        MergeDeclined.kind,
        MergeUndone.kind,
        "retention_announced",
        "erasure_proposed",
        "erasure_approved",
        "erasure_confirmed",
        "destruction_proposed",
        "destruction_approved",
    }
)
"""The kinds of actions whose rules read other cases."""
_NAMING = ("ended_case", "continues_in")


class KnownCase(Interface):
    """Another case, as a decision reads it."""

    @property
    def state(self) -> CaseState: ...

    @property
    def history(self) -> Mapping[UUID, Act]: ...


Known = TypeVar("Known", bound=KnownCase)
OtherCases = Mapping[UUID, KnownCase]
NO_OTHERS: OtherCases = {}


def named_cases(kind: str, fields: Mapping[str, Any]) -> Iterator[UUID]:
    """Yield the other cases that an action's ``ledger`` fields name."""
    if kind in _READING:
        for name in _NAMING:
            if (value := fields.get(name)) is not None:
                yield UUID(str(value))


def reads_others(kind: str) -> bool:
    """Return whether the rules read other cases to decide on an action of this kind."""
    return kind in _READING


def joined_cases(state: CaseState) -> Iterator[UUID]:
    """Yield the cases that a case took in, continues in, or was merged into once."""
    for taken in state.taken_in.values():
        yield taken.case
    if state.merged_into is not None:
        yield state.merged_into.case
    for parted in state.parted.values():
        yield parted.case


def read_others(
    kind: str,
    fields: Mapping[str, Any],
    state: CaseState | None,
    read: Callable[[UUID], Known | None],
) -> Mapping[UUID, Known]:
    """Return the other cases that the rules read to decide on an action, by id.

    ``state`` is of the case that the action is on. ``read`` returns a case, or ``None``. A case
    that took in others, or was parted from others, is followed down to the last one.
    """
    if kind not in _READING:
        return {}
    wanted = [*named_cases(kind, fields), *(joined_cases(state) if state is not None else ())]
    return with_joined(wanted, read)


def with_taken_in(wanted: list[UUID], read: Callable[[UUID], Known | None]) -> dict[UUID, Known]:
    """Return the cases, and the cases that they took in, each once."""
    return _followed(wanted, read, lambda state: [one.case for one in state.taken_in.values()])


def with_joined(wanted: list[UUID], read: Callable[[UUID], Known | None]) -> dict[UUID, Known]:
    """Return the cases, and those that they took in or were parted from, each once."""
    return _followed(wanted, read, _joined_before)


def _joined_before(state: CaseState) -> list[UUID]:
    parted = [one.case for one in state.parted.values()]
    return [*(one.case for one in state.taken_in.values()), *parted]


def _followed(
    wanted: list[UUID],
    read: Callable[[UUID], Known | None],
    leads_to: Callable[[CaseState], list[UUID]],
) -> dict[UUID, Known]:
    found: dict[UUID, Known] = {}
    looked: set[UUID] = set()
    while wanted:
        case_id = wanted.pop()
        if case_id in looked:
            continue
        looked.add(case_id)
        case = read(case_id)
        if case is not None:
            found[case_id] = case
            wanted += leads_to(case.state)
    return found


def is_concluded(acceptance: UUID, case_id: UUID, others: OtherCases) -> bool:
    """Return whether the case that was accepted has ended by that acceptance."""
    ended = others.get(case_id)
    into = ended.state.merged_into if ended is not None else None
    return into is not None and into.acceptance == acceptance


def all_concluded(state: CaseState, others: OtherCases) -> bool:
    """Return whether each case that this one, or a case in it, took in has ended in it."""
    return all(
        is_concluded(acceptance, taken.case, others) for acceptance, taken in _taken(state, others)
    )


def stands_free(state: CaseState, others: OtherCases) -> bool:
    """Return whether no other case forbids to erase this one: by a hold or by a half-done merge."""
    return all_concluded(state, others) and not held_elsewhere(state, others)


def accepted_by(case_id: UUID, proposal: UUID, others: OtherCases) -> str | None:
    """Return the agency that accepted a proposed end of a case, in the case that continues.

    ``None`` is returned where no case has the acceptance, or it was undone.
    """
    for other in others.values():
        for taken in other.state.taken_in.values():
            if taken.case == case_id and taken.proposal == proposal:
                return taken.by
    return None


def held_elsewhere(state: CaseState, others: OtherCases) -> bool:
    """Return whether a legal hold of another case holds this one too.

    A case that is not known counts as held.
    """
    return any(joined is None or joined.is_in_force() for joined in _holding(state, others))


def lifted_elsewhere(state: CaseState, others: OtherCases) -> datetime | None:
    """Return when the last hold of another case that held this one too was lifted."""
    lifted = [
        at for joined in _holding(state, others) if joined is not None for at in joined.liftings()
    ]
    return max(lifted, default=None)


@dataclass(frozen=True, slots=True)
class _Holding:
    """A case whose holds hold another one: all, or those placed by one of some actions."""

    case: KnownCase
    before: Collection[UUID] | None

    def is_in_force(self) -> bool:
        """Return whether such a hold is in force."""
        if self.before is None:
            return bool(self.case.state.holds)
        placed, lifted = _holds(self.before, self.case.history)
        return not placed <= lifted.keys()

    def liftings(self) -> Iterator[datetime]:
        """Yield when such holds were lifted."""
        placed, lifted = _holds(self.before, self.case.history)
        yield from (at for hold, at in lifted.items() if hold in placed)


def _holding(state: CaseState, others: OtherCases) -> Iterator[_Holding | None]:
    """Yield the cases whose holds hold this one too; ``None`` for one that is not known.

    Every case that was ever joined counts: the cases that were taken in, with all that had joined
    them before, and the cases that one was merged into until that merge was undone. Of the latter,
    the holds count that were placed before the undoing.
    """
    seen: set[tuple[UUID, UUID | None]] = set()
    waiting: list[tuple[CaseState, Collection[UUID] | None]] = [(state, None)]
    while waiting:
        joined, before = waiting.pop()
        for acceptance, taken in joined.taken_in.items():
            ended = others.get(taken.case)
            yield None if ended is None else _Holding(ended, None)
            if ended is not None and (taken.case, acceptance) not in seen:
                seen.add((taken.case, acceptance))
                waiting.append((ended.state, None))
        for action, parted in joined.parted.items():
            if before is not None and action not in before:
                continue
            other = others.get(parted.case)
            earlier = _before(parted.undoing, other.history) if other is not None else None
            if other is None or earlier is None:
                yield None
                continue
            yield _Holding(other, earlier)
            if (parted.case, parted.undoing) not in seen:
                seen.add((parted.case, parted.undoing))
                waiting.append((other.state, earlier))


def held_by_continuing(state: CaseState, read: Callable[[UUID], KnownCase | None]) -> bool:
    """Return whether a legal hold is in force in a case in which this one continues.

    An unknown case counts as one with a hold. The rules do not ask this: a hold may be placed there
    at any time.
    """
    into, seen = state.merged_into, {state.case_id}
    while into is not None and into.case not in seen:
        seen.add(into.case)
        continuing = read(into.case)
        if continuing is None or continuing.state.holds:
            return True
        into = continuing.state.merged_into
    return False


def erased_with(into: MergedInto, others: OtherCases) -> CaseState | None:
    """Return the state of the case that continues, if its erasure covers the case that ended."""
    other = others.get(into.case)
    if other is None or not other.state.is_erased:
        return None
    return other.state if into.acceptance in other.state.taken_in else None


def _taken(state: CaseState, others: OtherCases) -> Iterator[tuple[UUID, Any]]:
    """Yield all cases that were taken in, in this case or in one of them; each once."""
    seen: set[UUID] = set()
    waiting = [state]
    while waiting:
        for acceptance, taken in waiting.pop().taken_in.items():
            if acceptance in seen:
                continue
            seen.add(acceptance)
            yield acceptance, taken
            if (other := others.get(taken.case)) is not None:
                waiting.append(other.state)


def _before(action: UUID, history: Mapping[UUID, Act]) -> frozenset[UUID]:
    """Return the actions of a case before one of them."""
    return frozenset(takewhile(lambda one: one != action, history))


def _holds(
    placed_among: Collection[UUID] | None, history: Mapping[UUID, Act]
) -> tuple[set[UUID], Mapping[UUID, datetime]]:
    """Return the holds that were placed, and when each hold of the case was lifted.

    ``placed_among`` limits the placed ones to some actions. An annulled action neither places nor
    lifts a hold.
    """
    annulled = annulled_ids(history.values())
    placed: set[UUID] = set()
    lifted: dict[UUID, datetime] = {}
    for act in history.values():
        if act.id in annulled:
            continue
        if act.kind == "legal_hold_placed" and (placed_among is None or act.id in placed_among):
            placed.add(act.id)
        elif act.kind == "legal_hold_lifted":
            lifted[UUID(act.fields["hold"])] = act.recorded_at
    return placed, lifted
