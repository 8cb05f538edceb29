"""Follows the ledger once for all who follow it here: one listener, one reader.

The reader wakes when the ledger has grown (LISTEN / NOTIFY), reads the new events once, and writes
each once, into what followers share (``api/http/event_buffer.py``). Who may still follow is judged
here too: by the keys in memory, by the sessions with one question for all, at each growth and once
a second.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self, TypeVar
from uuid import UUID

import anyio
from sse_starlette import ServerSentEvent

from api.client.schemas import Event
from api.http.access import Caller
from api.http.documents import event_document
from api.http.event_buffer import EventBuffer, EventFrame
from api.node.node import Node
from api.runtime import status
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry
from ledger.store.event_rows import CHANNEL
from ledger.store.notices import ListenerTask
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_task import PeriodicTask

PAGE = 500
_CATCHING_UP = 4  # followers that are behind and read pages at the same time
_UNJUDGED = 2_000
_LOOK_SECONDS = 5.0  # a notice is not needed for an event to be seen at last
_JUDGE_SECONDS = 1.0
_LAG_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_BACKOFF = Backoff(0.5, 2.0)
T = TypeVar("T")


class _Rights(NamedTuple):
    """The rights of an agency by the protocol, by which a follower gets events."""

    party: str
    role: str
    is_retired: bool
    is_bound: bool


@dataclass(eq=False, slots=True)
class Subscriber:
    """One who follows."""

    caller: Caller
    over: bool = False
    """Whether the key, the session or the rights that it began with no longer count."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    rights: _Rights | None = field(init=False)
    """The rights with which it began."""

    def __post_init__(self) -> None:
        """Keep the rights of the request."""
        self.rights = _rights(self.caller.agency.id, self.caller.protocol)

    @property
    def viewer(self) -> str | None:
        """Return whose cases' events the follower sees, or ``None`` if it sees all."""
        return None if self.caller.sees_every_event else self.caller.viewer

    def end(self) -> None:
        """End the stream."""
        self.over = True
        self.woken.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when there may be more, or it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        self.woken.clear()


@dataclass(frozen=True, slots=True)
class _Read:
    """New events on the wire, and of which case each is."""

    frames: Sequence[tuple[EventFrame, UUID]]
    registry: Registry


class EventBroadcaster:
    """One listening connection and one reader, however many follow."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._followers: set[Subscriber] = set()
        self._wanted = asyncio.Event()
        self._is_grown = False
        """Whether the ledger may have grown since it was read."""
        self._lag = 0
        """How often countries' followers waited for the views since there is something for them."""
        self._reader = PeriodicTask("feed", self._read, every=_LOOK_SECONDS, backoff=_BACKOFF)
        self._listener = ListenerTask(
            node.conninfo,
            {CHANNEL: lambda _: self._grown(), status.CHANNEL: node.told.hear},
            when_listening=self._begin_anew,
        )
        self._judging = PeriodicTask(
            "judge", self._judge, every=_JUDGE_SECONDS, first_after=_JUDGE_SECONDS
        )
        self._registry: Registry | None = None
        self._all: EventBuffer | None = None
        self._countries: dict[str, EventBuffer] = {}
        self._unjudged: deque[tuple[EventFrame, UUID]] = deque()
        # The reader and those behind have threads of their own: no slow request delays them.
        self._reading = anyio.CapacityLimiter(1)
        self.catching_up = anyio.CapacityLimiter(_CATCHING_UP)
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def followed_by(self, caller: Caller) -> Iterator[Subscriber]:
        """Follow for as long as the block runs."""
        follower = Subscriber(caller)
        self._followers.add(follower)
        self._wanted.set()
        if self._all is None or (follower.viewer is not None and not self._countries):
            self._grown()
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            if not self._followers:
                self._wanted.clear()

    def tail(self, follower: Subscriber) -> EventBuffer | None:
        """Return the buffer that a follower shares with others.

        Returns ``None`` before it exists, and for an agency that sees only the cases that it has to
        know of: it shares no buffer, and reads pages.
        """
        if follower.viewer is None:
            return self._all
        if follower.caller.bound_to is not None:
            return None
        return self._countries.get(follower.viewer)

    async def __aenter__(self) -> Self:
        works: tuple[PeriodicTask, ...] = (self._listener, self._reader, self._judging)
        self._tasks = [asyncio.create_task(work.run()) for work in works]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin_anew(self) -> None:
        """Take in the statuses and events that came while this process did not listen."""
        await self._in_thread(self._node.told.read)
        self._grown()

    def _grown(self) -> None:
        self._is_grown = True
        self._reader.wake()

    async def _read(self) -> float | None:
        if not self._followers:
            self._all, self._countries = None, {}
            self._unjudged.clear()
        await self._wanted.wait()
        grown, self._is_grown = self._is_grown or not self._unjudged, False
        try:
            await self._step(grown)
        except Exception:
            self._is_grown = True
            raise
        # Views follow the ledger without a notice of their own.
        self._lag = min(self._lag + 1, len(_LAG_SECONDS)) if self._unjudged else 0
        return _LAG_SECONDS[self._lag - 1] if self._lag else None

    async def _step(self, grown: bool) -> None:
        if self._all is None:
            at, self._registry = await self._in_thread(self._begin)
            self._all = EventBuffer(at)
            self._wake()
        if not any(follower.viewer is not None for follower in self._followers):
            self._countries = {}
            self._unjudged.clear()
        elif not self._countries and self._registry is not None:
            codes = self._registry.directory.party_codes
            self._countries = {code: EventBuffer(self._all.upto) for code in codes}
            self._wake()
        if grown:
            await self._read_on(self._all)
        if self._unjudged:
            await self._tell_countries()

    def _begin(self) -> tuple[int, Registry]:
        # In this order: a key that was revoked up to there is known to be.
        head = self._node.ledger.head()
        return head, self._node.ledger.adopted()

    async def _read_on(self, tail: EventBuffer) -> None:
        while True:
            at, known = tail.upto, self._registry
            read = await self._in_thread(partial(self._rows, at, known))
            if not read.frames:
                return
            await self._judge_people()  # whose session is over is told nothing more
            if read.registry is not known:
                self._registry = read.registry
                self._judge_keys(read.registry)
                self._add_joined(read.registry, at)
            if self._countries:
                self._unjudged.extend(read.frames)
                self._keep_bounds()
            frames = [frame for frame, _ in read.frames]
            tail.grow(frames, frames[-1].position)
            self._wake()
            if len(frames) < PAGE:
                return

    def _rows(self, after: int, known: Registry | None) -> _Read:
        rows = self._node.ledger.rows_after(after, PAGE)
        registry = known
        if registry is None or any(r.originator_id == registry.ledger_id for r in rows):
            registry = self._node.ledger.adopted()
        return _Read([(frame(event_document(row)), row.originator_id) for row in rows], registry)

    def _add_joined(self, registry: Registry | None, at: int) -> None:
        """Begin a buffer for each party that joined while other countries' buffers are there."""
        if registry is None or not self._countries:
            return
        begins = self._unjudged[0][0].position - 1 if self._unjudged else at
        for code in registry.directory.every_party_code - self._countries.keys():
            self._countries[code] = EventBuffer(begins)

    def _keep_bounds(self) -> None:
        """Forget the oldest unjudged events if the views are far behind.

        The countries' followers then read pages once the views have come there.
        """
        gone = None
        while len(self._unjudged) > _UNJUDGED:
            gone, _ = self._unjudged.popleft()
        if gone is not None:
            self._countries = {code: EventBuffer(gone.position) for code in self._countries}

    async def _tell_countries(self) -> None:
        """Give each country's tail the events of its cases, as far as its view of them goes."""
        countries = tuple(self._countries)
        cases = {case_id for _, case_id in self._unjudged}
        judged = partial(self._node.views.viewers_of, cases, countries)
        upto, viewers = await self._in_thread(judged)
        await self._judge_people()
        seen: dict[str, list[EventFrame]] = {country: [] for country in countries}
        last = None
        while self._unjudged and self._unjudged[0][0].position <= upto:
            last, case_id = self._unjudged.popleft()
            of_protocol = self._registry and case_id == self._registry.ledger_id
            for country in countries if of_protocol else viewers.get(case_id, ()):
                seen[country].append(last)
        if last is not None:
            for country, tail in self._countries.items():
                tail.grow(seen[country], last.position)
            self._wake()

    async def _judge(self) -> None:
        """Once a second, end the streams whose key, session or rights no longer count."""
        await self._wanted.wait()
        if self._registry is not None:
            self._judge_keys(self._registry)
        await self._judge_people()

    def _judge_keys(self, registry: Registry) -> None:
        moments = self._node.clock.moments()
        protocol = registry.protocol_today(clock.now())
        for follower in self._followers:
            by_key = follower.caller.session is None or follower.caller.key_id is not None
            is_over = by_key and not follower.caller.key_counts(registry, moments)
            # A follower whose agency may see more or less from now on begins anew.
            if is_over or follower.rights != _rights(follower.caller.agency.id, protocol):
                follower.end()

    async def _judge_people(self) -> None:
        """End the streams of sessions that are over, and of disabled members' keys."""
        with_session = [(f, f.caller.session) for f in self._followers if f.caller.session]
        if with_session:
            digests = {session.digest for _, session in with_session}
            living = await self._in_thread(partial(self._node.sessions.living, digests))
            for follower, session in with_session:
                if session.digest not in living:
                    follower.end()
        members = {f.caller.member for f in self._followers if f.caller.member is not None}
        if members:
            disabled = await self._in_thread(partial(self._node.members.disabled_among, members))
            for follower in self._followers:
                if follower.caller.member in disabled:
                    follower.end()

    def _wake(self) -> None:
        for follower in self._followers:
            follower.woken.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._reading)


def _rights(agency_id: str, protocol: Protocol) -> _Rights | None:
    """Return the rights of an agency by a version of the protocol; ``None`` if it has no such."""
    agency = protocol.agencies_by_id.get(agency_id)
    if agency is None:
        return None
    is_retired = agency.retired_at is not None
    return _Rights(agency.party, agency.role, is_retired, is_bound(agency, protocol))


def frame(event: Event) -> EventFrame:
    """Return an event as it is sent."""
    sent = ServerSentEvent(data=event.model_dump_json(), event="event", id=str(event.position))
    return EventFrame(event.position, sent.encode())
