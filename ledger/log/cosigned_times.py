"""Measure elapsed time by the times that witnesses put into their cosignatures.

One node's clock proves nothing: a clock that jumps by a year would end every period at once. So
elapsed time is counted from the checkpoints that this node saw published, in the order in which
it saw them, separately for each witness (C2SP ``tlog-cosignature``, https://c2sp.org/tlog-cosignature).

- A time that a later checkpoint contradicts, because the same witness cosigned that one at an
  earlier time, does not count.
- Two checkpoints that follow each other count for at most :data:`LONGEST_STEP`, however far
  apart their times are. A clock that jumps gains one step and no more.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

from ledger.log.policy import Policy

LONGEST_STEP = timedelta(days=1)
"""At most so much time counts between two checkpoints that follow each other."""


@dataclass(frozen=True, slots=True)
class DatedCheckpoint:
    """A published checkpoint's size, and when each witness cosigned it."""

    size: int
    times: Mapping[str, datetime]


@dataclass(frozen=True)
class CosignedTimes:
    """The dated checkpoints that a node kept, in the order in which it saw them."""

    checkpoints: Sequence[DatedCheckpoint]
    policy: Policy
    """The policy in force now. Its quorum of witnesses must agree that time has passed."""
    own: AbstractSet[str] = frozenset()
    """The names of the witnesses that run in this node."""

    def have_passed(self, elapsed: timedelta, *, after_position: int, not_before: datetime) -> bool:
        """Return whether enough witnesses show that a period has passed.

        The period is ``elapsed`` long, begins with the first checkpoint that covers
        ``after_position``, and does not end before ``not_before``. A quorum must agree, and in it a
        witness of another node if the policy names one.
        """
        agreeing = {
            name
            for name in self.policy.witnesses
            if _has_passed(self._of(name, after_position), elapsed, not_before)
        }
        return self._is_believed(agreeing)

    def have_been_after(self, moment: datetime, elapsed: timedelta) -> bool:
        """Return whether enough witnesses cosigned after ``moment`` for ``elapsed`` long."""
        agreeing = set()
        for name in self.policy.witnesses:
            later = [time for time in uncontradicted(self._of(name, 0)) if time >= moment]
            if later and counted(later) >= elapsed:
                agreeing.add(name)
        return self._is_believed(agreeing)

    @cached_property
    def now(self) -> datetime | None:
        """Return the latest time that enough witnesses agree has passed; ``None`` without any."""
        last = {name: times[-1] for name in self.policy.witnesses if (times := self._of(name, 0))}
        for moment in sorted(set(last.values()), reverse=True):
            if self._is_believed({name for name, time in last.items() if time >= moment}):
                return moment
        return None

    def elapsed(self, after_position: int) -> timedelta:
        """Return how much time has passed since a position, as the slowest witness has it."""
        times = (self._of(name, after_position) for name in self.policy.witnesses)
        return min((counted(uncontradicted(one)) for one in times), default=timedelta())

    def _of(self, witness: str, position: int) -> list[datetime]:
        return [
            dated.times[witness]
            for dated in self.checkpoints
            if dated.size >= position and witness in dated.times
        ]

    def _is_believed(self, agreeing: AbstractSet[str]) -> bool:
        others = self.policy.witnesses.keys() - self.own
        return (
            bool(agreeing)
            and self.policy.is_met(dict.fromkeys(agreeing))
            and (not others or bool(agreeing & others))
        )


def uncontradicted(times: Sequence[datetime]) -> list[datetime]:
    """Return the times that are not later than any time after them, in order."""
    kept: list[datetime] = []
    for time in reversed(times):
        if not kept or time <= kept[-1]:
            kept.append(time)
    return kept[::-1]


def counted(times: Sequence[datetime]) -> timedelta:
    """Return the time between the first and the last time; a long gap counts as one step."""
    steps = (min(later - earlier, LONGEST_STEP) for earlier, later in pairwise(times))
    return sum(steps, timedelta())


def _has_passed(times: Sequence[datetime], elapsed: timedelta, not_before: datetime) -> bool:
    if not times or times[-1] < not_before:
        return False
    return counted(uncontradicted(times)) >= elapsed
