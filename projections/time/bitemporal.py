"""A case as it was known, and as it was: bitemporal, in the ledger's order and in the world's.

An action was *known* at a moment if it had been recorded by then. An action was *valid* at a moment
if it had been done by then, by all that is known: a mistake that was annulled since never happened,
and an action that was reported late happened at its time of acting.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import takewhile
from typing import Self
from uuid import UUID

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.events.newer_event import is_understood
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, after
from ledger.procedure.case_fold import without_effect
from ledger.procedure.case_state import CaseState
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NEWEST = ("version", "position", "last_recorded_at")
"""Parts of a state that say how new it is."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment to look from, and one to look at."""

    position: int | None = None
    """Known is what was recorded up to this position."""
    time: datetime | None = None
    """Known is what was recorded up to this time."""
    valid_at: datetime | None = None
    """Look at what had happened by then; ``None`` for all that was known."""

    @classmethod
    def parse(cls, text: str, valid_at: str | None = None, zone: tzinfo = UTC) -> Self:
        """Read a position, a time with its offset, or a day; ``now`` for all that is recorded.

        A day means its last moment in ``zone``, so that all of the day counts. Raises
        ``ValueError`` that says how a moment is written.
        """
        valid = end_of(valid_at, zone) if valid_at is not None else None
        if text == "now":
            return cls(valid_at=valid)
        if text.isdigit():
            return cls(position=int(text), valid_at=valid)
        return cls(time=end_of(text, zone), valid_at=valid)

    def knows(self, position: int, recorded_at: datetime) -> bool:
        """Return whether an event recorded at a position and a time counts as known."""
        return (self.position is None or position <= self.position) and (
            self.time is None or recorded_at <= self.time
        )


class CorrectionShown(LedgerModel):
    """A correction of an action, and whether it was known at the moment."""

    action: UUID
    """The mistaken action."""
    kind: str
    effect: str
    reason: str
    correction: UUID
    agency: str
    position: int
    recorded_at: UtcDatetime
    known_then: bool
    """Whether the correction was recorded by the moment that is looked from."""


def acts_at(acts: Iterable[Act], moment: Moment) -> tuple[Act, ...]:
    """Return the actions that make the state at a moment, in the order in which they do.

    For a moment without ``valid_at``, the order is the ledger's, and annulled actions are included.
    For a moment with ``valid_at``, the order is that of the times of acting, without those
    that are annulled or undone.
    """
    known = [act for act in acts if moment.knows(act.position, act.recorded_at)]
    if moment.valid_at is None:
        return tuple(known)
    annulled = without_effect(known)
    happened = [a for a in known if a.acted_at <= moment.valid_at and a.id not in annulled]
    # What was taken before the opening is told of the case from its opening on.
    happened.sort(key=lambda act: (act.kind != "case_opened", act.acted_at, act.position))
    return tuple(happened) if happened and happened[0].kind == "case_opened" else ()


def state_at(acts: Iterable[Act], agreement: Agreement, moment: Moment) -> CaseState | None:
    """Return the state of a case at a moment, or ``None`` if the case was not opened then."""
    return folded(acts_at(acts, moment), agreement)


def folded(counted: Sequence[Act], agreement: Agreement) -> CaseState | None:
    """Return the state that the actions of :func:`acts_at` make, or ``None`` without one."""
    state: CaseState | None = None
    for _, _, later in steps(counted, agreement):
        state = later
    return state


def acts_of(events: Iterable[ActionRecorded]) -> list[Act]:
    """Return a case's recorded events as the acts that its fold needs.

    The acts end before the first event that needs a later program.
    """
    return [event.as_act() for event in takewhile(is_understood, events)]


def steps(
    counted: Iterable[Act], agreement: Agreement
) -> Iterator[tuple[Act, CaseState | None, CaseState]]:
    """Yield each action that makes a state, with the state before and after it."""
    case: Case | None = None
    for act in counted:
        before = case.state if case else None
        case, _ = after(case, act, agreement)
        if case is None:
            continue  # nothing that is understood has opened the case
        if before is not None and before.position > act.position:
            # Taken earlier and recorded later: the state is as new as the newest.
            newest = {name: getattr(before, name) for name in _NEWEST}
            case = replace(case, state=case.state.model_copy(update=newest))
        yield act, before, case.state


def corrections_at(acts: Sequence[Act], moment: Moment) -> tuple[CorrectionShown, ...]:
    """Return the corrections of actions known at a moment, including later corrections."""
    known = {a.id: a for a in acts if moment.knows(a.position, a.recorded_at)}
    shown = []
    for act in acts:
        mistaken = known.get(UUID(act.fields["corrects"])) if act.kind == "correction" else None
        if mistaken is None:
            continue
        shown.append(
            CorrectionShown(
                action=mistaken.id,
                kind=mistaken.kind,
                effect=act.fields["effect"],
                reason=act.fields["reason"],
                correction=act.id,
                agency=act.agency,
                position=act.position,
                recorded_at=act.recorded_at,
                known_then=act.id in known,
            )
        )
    return tuple(shown)


def end_of(text: str, zone: tzinfo) -> datetime:
    """Return a time with its offset as it is written, or the last moment of a day in ``zone``.

    Raises ``ValueError`` that says how a time is written.
    """
    return _time(text, zone, timedelta(days=1)) - timedelta(microseconds=is_day(text))


def beginning_of(text: str, zone: tzinfo) -> datetime:
    """Return a time with its offset as it is written, or the first moment of a day in ``zone``.

    Raises ``ValueError`` that says how a time is written.
    """
    return _time(text, zone, timedelta())


def is_day(text: str) -> bool:
    """Return whether a text is written as a day."""
    return _DAY.fullmatch(text) is not None


def _time(text: str, zone: tzinfo, on: timedelta) -> datetime:
    try:
        if is_day(text):
            day = date.fromisoformat(text) + on
            return datetime.combine(day, time(), zone).astimezone(UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment: give a day such as 2026-02-10, a time such as "
            "2026-02-10T12:00:00Z, or a position where the ledger's order is asked for"
        ) from None
    if moment.tzinfo is None:
        raise ValueError("give the time with its offset, such as 2026-02-10T12:00:00Z")
    return moment
