"""Watches this machine's clock, since the times that are recorded come from it.

No single clock is believed. This one is compared with four things:

- **the database's clock**, which decides about sessions and about what is to be tried again;
- **the count of seconds since the machine started**, which never jumps: a clock that moved against
  it was set, or jumped;
- **other nodes' clocks**: the time of a witness's cosignature as it arrives, and the time of the
  ledger node's answers;
- **the last published checkpoint**: the clock cannot be behind the times at which the witnesses of
  other machines cosigned it, unless they tell another time by now.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from statistics import median_high, median_low
from typing import Self

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.store.database import Database
from ledger.system import clock

RULE = "clock-differs"
SETTLED_AFTER_SECONDS = 30.0
"""After a clock was set back, and nothing contradicts it, recording goes on so much later."""
_FRESH_SECONDS = 90.0
"""Another node's time counts for so long after it was heard: longer than witnesses are asked again
whose times are ahead."""
_RUNS_ON_AFTER_SECONDS = 3.0
"""A second answer comes so much later before it can show that its sender's clock runs on."""
_RUNS_ON_WITHIN_SECONDS = 2.0
"""Less than the time before: a clock that stands still does not run on. ``Date`` has whole seconds,
and an answer takes a while."""
_HELD = 4
"""So many readings are kept of a clock that was set back again and again."""
_ADVICE = (
    "Nothing is recorded until they agree again; reading goes on. Set the clock right (NTP). "
    "If it is right now, start this node again."
)

Floor = Callable[[], datetime | None]
"""The time at which other machines' witnesses cosigned the last published checkpoint, if any."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A clock's time, and the monotonic count of seconds at that moment."""

    moment: datetime
    count: float

    def at(self, count: float) -> datetime:
        """Return the clock's time at another count, if the clock has not jumped since."""
        try:
            return self.moment + timedelta(seconds=count - self.count)
        except OverflowError:  # at the end of the year 9999 there is no later moment
            return self.moment


class ClockWatch:
    """Compares the clocks of one process's node. Its methods may be called from any thread."""

    def __init__(
        self,
        database: Callable[[], datetime],
        tolerance: timedelta,
        floor: Floor = lambda: None,
        count: Callable[[], float] = clock.count,
    ) -> None:
        self._ask_database = database
        self._tolerance = tolerance
        self._floor = floor
        self._count = count
        self._held: tuple[_Reading, ...] = (self._read(),)
        """The readings with which later ones are compared: the last that was not contradicted.

        After it come those of a clock that was set back, while nothing told whether it is right."""
        self._database: _Reading | None = None
        """The same of the database's clock."""
        self._jumped_at: float | None = None
        self._heard: Mapping[str, _Reading] = {}

    @classmethod
    def of(cls, settings: Settings, database: Database, floor: Floor = lambda: None) -> Self:
        """Return one that compares with this database's clock, as far as the settings say."""
        tolerance = timedelta(seconds=settings.clock_tolerance_seconds)
        return cls(database_clock(database), tolerance, floor)

    def heard(self, source: str, moment: datetime) -> None:
        """Take in the time that another machine sent just now."""
        self._heard = {**self._heard, source: _Reading(moment, self._count())}

    def heard_from(
        self, source: str, *, at_once: bool = False
    ) -> Callable[[Mapping[str, str]], None]:
        """Return a function that takes in the ``Date`` of an HTTP answer's headers.

        A proxy may answer with an old ``Date``, with or without its ``Age``. So a time that differs
        from this clock's counts once a second answer, some seconds later, shows that it runs on.
        ``at_once``: one answer is enough, for a command that asks little and can be run again.
        """
        doubted: list[_Reading] = []

        def hear(headers: Mapping[str, str]) -> None:
            try:
                told = parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
                moment = told + timedelta(seconds=int(headers.get("age", "0")))
            except (ValueError, OverflowError):
                return
            own = self._read()
            if at_once or abs(own.moment - moment) <= self._tolerance:
                doubted.clear()
                self.heard(source, moment)
                return
            reading = _Reading(moment, own.count)
            if not doubted:
                doubted.append(reading)
                return
            passed = reading.count - doubted[0].count
            if passed < _RUNS_ON_AFTER_SECONDS:
                return
            moved = (reading.moment - doubted[0].moment).total_seconds()
            doubted[:] = [reading]
            if abs(moved - passed) <= _RUNS_ON_WITHIN_SECONDS:
                self.heard(source, moment)

        return hear

    def moments(self) -> tuple[datetime, ...]:
        """Return the times that it may be now: by this clock, and in doubt by the others too.

        A request that one of them accepts is accepted, so that a clock that jumped locks nobody out
        of reading.
        """
        own, database = self._read(), self._database
        told = [reading.at(own.count) for reading in self._held]
        if database is not None:
            told.append(database.at(own.count))
        if (peers := self._peers(own)) is not None:
            told.append(peers)
        doubts = [moment for moment in told if abs(moment - own.moment) > self._tolerance]
        return (own.moment, *doubts)

    def at_once(self) -> Sequence[Trouble]:
        """Return the trouble that can be seen without asking anyone: the clock jumped."""
        moved = self._moved(self._read())
        return (_jumped(moved),) if abs(moved) > self._tolerance else ()

    def check(self) -> Sequence[Trouble]:
        """Compare the clocks, and return the troubles.

        Raises the errors of the question to the database.
        """
        before = self._count()
        database_moment = self._ask_database()
        own = self._read()
        tolerance = self._tolerance + timedelta(seconds=own.count - before)  # asking takes a while
        database = _Reading(database_moment, (before + own.count) / 2)
        differs = own.moment - database.at(own.count)
        if abs(differs) > tolerance:
            return (_differs(differs, "the database's"),)
        peers = self._peers(own)
        if peers is not None:
            if abs(own.moment - peers) > tolerance:
                return (_differs(own.moment - peers, "the other nodes'"),)
        elif (floor := self._floor()) is not None and own.moment < floor - tolerance:
            return (_differs(own.moment - floor, "the last published checkpoint's"),)
        moved = self._moved(own)
        if abs(moved) <= tolerance:
            self._keep(own)
        elif self._is_confirmed(own, database, tolerance):
            self._held = (own,)
        elif own.moment < self._held[0].at(own.count) and self._is_settled(own):
            first, *others = self._held
            self._held = (first, *others[1 - _HELD :], own)
        else:
            return (_jumped(moved),)
        self._database, self._jumped_at = database, None
        return ()

    def _keep(self, own: _Reading) -> None:
        """Put a reading in the place of the one that it agrees with best."""
        nearest = min(self._held, key=lambda reading: abs(own.moment - reading.at(own.count)))
        self._held = tuple(own if reading is nearest else reading for reading in self._held)

    def _is_confirmed(self, own: _Reading, database: _Reading, tolerance: timedelta) -> bool:
        """Return whether another clock, which did not jump, agrees with one that jumped.

        A clock that jumped ahead needs that: the dates that it writes can never be taken back.
        """
        if self._jumped_at is None:
            self._jumped_at = own.count
        known = self._database
        if known is not None and abs(database.moment - known.at(database.count)) <= tolerance:
            return True  # the database's clock ran on evenly, and they agree
        # The others' time was compared before.
        return self._peers(own, since=self._jumped_at) is not None

    def _is_settled(self, own: _Reading) -> bool:
        """Return whether a clock was set back so long ago that recording goes on by it.

        That does no harm, since times of recording never go back. The time before is kept: requests
        by that time are answered too, and the clock may return to it.
        """
        return self._jumped_at is not None and (
            own.count - self._jumped_at >= SETTLED_AFTER_SECONDS
        )

    def _moved(self, own: _Reading) -> timedelta:
        """Return how far the clock moved against the count of seconds."""
        return min((own.moment - reading.at(own.count) for reading in self._held), key=abs)

    def _peers(self, own: _Reading, since: float = 0.0) -> datetime | None:
        """Return the median time of other nodes that was received lately and after ``since``.

        Of two in the middle it is the one nearer to this clock, or this clock between them: one of
        two other nodes whose clock is wrong, or that lies, must not stop this node.
        """
        earliest = max(since, own.count - _FRESH_SECONDS)
        told = [r.at(own.count) for r in self._heard.values() if r.count >= earliest]
        if not told:
            return None
        return min(max(own.moment, median_low(told)), median_high(told))

    def _read(self) -> _Reading:
        return _Reading(clock.now(), self._count())


def database_clock(database: Database) -> Callable[[], datetime]:
    """Return a function that asks the database for its time and raises ``psycopg.Error``."""

    def ask() -> datetime:
        with database.connection() as connection:
            row = connection.execute("SELECT clock_timestamp() AS now", prepare=True).fetchone()
        if row is None:
            raise RuntimeError("a question for one row has no answer")
        now: datetime = row["now"]
        return now.astimezone(UTC)

    return ask


def _differs(by: timedelta, whose: str) -> Trouble:
    direction = "ahead of" if by > timedelta() else "behind"
    return _trouble(f"This node's clock is {_span(by)} {direction} {whose}.")


def _jumped(by: timedelta) -> Trouble:
    direction = "ahead" if by > timedelta() else "back"
    return _trouble(f"This node's clock jumped {direction} by {_span(by)}.")


def _trouble(what: str) -> Trouble:
    return Trouble(
        rule=RULE,
        message=f"{what} {_ADVICE}",
        effect=Effect.NO_RECORDING,
        title="The clock is not to be relied on",
    )


def _span(by: timedelta) -> str:
    return f"{round(abs(by).total_seconds()):,} seconds"
