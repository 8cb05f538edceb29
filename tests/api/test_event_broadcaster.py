"""Subscribers to the ledger share one reader, whatever their number, and miss and repeat nothing.

``CASE_LEDGER_TEST_FOLLOWERS`` sets how many there are.
"""

import asyncio
import os
import resource
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from api.authentication.sessions import Session
from api.client.assertion import make_assertion
from api.http import event_buffer
from api.http.access import Caller
from api.http.event_broadcaster import EventBroadcaster
from api.http.event_buffer import EventBuffer, EventFrame
from api.http.routes import events as routes
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.procedure.case_access import CaseAccess
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from projections.tables.view_queries import ViewReader
from tests.support.actions import START, opening
from tests.support.agencies import Agencies, adopted_protocol
from tests.support.serving import Server, running
from tests.support.waiting import until

FOLLOWERS = int(os.environ.get("CASE_LEDGER_TEST_FOLLOWERS", "200"))
ALL, KOSOVO, MONTENEGRO = "xk-nac", "xk-border", "me-border"


@pytest.fixture
def served(ledger: Ledger, database: str, agencies: Agencies, directory: Path) -> Iterator[Server]:
    """A server with places for many followers."""
    assert ledger.registry() is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * FOLLOWERS + 2_000), hard))
    settings = Settings(
        data_directory=directory,
        port=0,
        streams=FOLLOWERS + 60,  # with the places that are kept for oversight and nodes
        streams_per_agency=FOLLOWERS,
        requests_per_minute=100_000,
    )
    with running(settings, database, agencies) as server:
        yield server
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Following(threading.Thread):
    """Many followers in one event loop of their own, each with the positions that it was sent."""

    def __init__(self, server: Server, agencies: list[str], after: int) -> None:
        super().__init__(name="followers")
        self.seen: list[list[int]] = [[] for _ in agencies]
        self.begun = 0
        self.refused: list[bytes] = []
        self._server = server
        self._agencies = agencies
        self._after = after
        self._until = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        tasks = []
        for seen, agency in zip(self.seen, self._agencies, strict=True):
            tasks.append(asyncio.create_task(self._one(agency, seen)))
            if len(tasks) % 20 == 0:
                await asyncio.sleep(0.05)
        await self._until.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, agency: str, seen: list[int]) -> None:
        address = urlsplit(self._server.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        with closing(writer):
            token = make_assertion(agency, self._server.agencies.keys[agency], "case-ledger")
            writer.write(
                f"GET /v1/events?after={self._after} HTTP/1.1\r\nHost: a\r\n"
                f"Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            )
            line = await reader.readline()
            if b" 200 " not in line:
                self.refused.append(line)
                return
            self.begun += 1
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    seen.append(int(line[4:]))

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._until.set)
        self.join()

    def wait_until_all_begun(self) -> None:
        until(
            lambda: self.begun == len(self.seen), lambda: f"{self.begun} begun, {self.refused[:3]}"
        )


@contextmanager
def following(server: Server, agencies: list[str], after: int) -> Iterator[Following]:
    made = Following(server, agencies, after)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the feed's readings of events and of rights, and each follower's readings of pages."""
    counted: Counter[str] = Counter()
    readers = ((EventBroadcaster, "_rows"), (ViewReader, "viewers_of"), (routes, "_page"))
    with monkeypatch.context() as patched:
        for owner, name in readers:
            patched.setattr(owner, name, counting(counted, name, getattr(owner, name)))
        yield counted


def counting(counted: Counter[str], name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
    def called(*given: Any, **named: Any) -> Any:
        counted[name] += 1
        return whole(*given, **named)

    return called


def transactions(database: str) -> int:
    """Return the number of transactions of the database: each of our readings is one."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def act(server: Server, cases: int) -> tuple[list[int], list[int], list[int]]:
    """Act on cases of both countries. Returns all positions, Kosovo's and Montenegro's."""
    everything, of_kosovo, of_montenegro = [], [], []
    with (
        server.client("xk-dhtqnj") as kosovo,
        server.client("me-police-thb") as montenegro,
        server.client("xk-nac") as coordinator,
    ):
        for number in range(cases):
            ours = kosovo.open_case(opening())
            theirs = montenegro.open_case(opening(("ME",)))
            everything += [ours.position, theirs.position]
            of_kosovo.append(ours.position)
            of_montenegro.append(theirs.position)
            if number % 3 == 0:  # and from here on the case is Montenegro's too
                asked = coordinator.append(request(), ours.case_id, 1)
                everything.append(asked.position)
                of_kosovo.append(asked.position)
                of_montenegro.append(asked.position)
    return everything, of_kosovo, of_montenegro


def request() -> InformationRequested:
    return InformationRequested(
        acted_at=START,
        addressee="me-nac",
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.PROTECTION,
    )


def test_many_followers_cost_the_database_what_a_few_cost(
    served: Server, ledger: Ledger, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for number in (3, FOLLOWERS):
        agencies = [(ALL, KOSOVO, MONTENEGRO)[place % 3] for place in range(number)]
        head = ledger.head()
        with following(served, agencies, head) as followers:
            followers.wait_until_all_begun()
            # Who was told of an event is behind no more.
            first = wait_until_told(followers, agencies, act(served, 1))
            with reads(monkeypatch) as counted:
                before = transactions(database)
                acts = act(served, 10)
                wanted = wait_until_told(followers, agencies, acts)
                used = transactions(database) - before
            everything = acts[0]
            # An event that came twice would have come before this one.
            last = wait_until_told(followers, agencies, act(served, 1))
            check_told(
                followers.seen, [a + b + c for a, b, c in zip(first, wanted, last, strict=True)]
            )
        costs.append((counted, used))
    for counted, _ in costs:
        # One read of the new events at most for each growth; then who sees them, again while the
        # view lags. No follower reads a page of its own.
        assert counted["_page"] == 0
        assert counted["_rows"] <= 2 * len(everything)
        assert counted["viewers_of"] <= 10 * len(everything)
    (_, few), (_, many) = costs
    # All transactions of the node: with one for each follower and event there would be far more.
    assert many - few < FOLLOWERS * len(everything) / 2


def wait_until_told(
    followers: Following, agencies: list[str], acts: tuple[list[int], list[int], list[int]]
) -> list[list[int]]:
    """Wait until each follower was told what it should see. Returns that, for each."""
    seen_by = dict(zip((ALL, KOSOVO, MONTENEGRO), acts, strict=True))
    wanted = [seen_by[agency] for agency in agencies]
    until(partial(all_told, followers, wanted), "not all were told")
    return wanted


def all_told(followers: Following, wanted: list[list[int]]) -> bool:
    return all(set(w) <= set(seen) for seen, w in zip(followers.seen, wanted, strict=True))


def check_told(told: list[list[int]], wanted: list[list[int]]) -> None:
    """Each was told what it should see, once, in order.

    Montenegro may also be told what came before it became party to a case, as its pages do.
    """
    for seen, expected in zip(told, wanted, strict=True):
        assert seen == sorted(set(seen))
        assert [position for position in seen if position in set(expected)] == expected
        assert set(seen) <= set(expected) | set(wanted[0])


def test_a_follower_that_is_behind_reads_pages_until_it_is_back(
    served: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail holds but a few events, so that everyone falls behind, and still misses none."""
    monkeypatch.setattr(event_buffer, "EVENTS", 3)
    head = ledger.head()
    before, kosovo_before, montenegro_before = act(served, 4)
    with following(served, [ALL, KOSOVO, MONTENEGRO] * 4, head) as followers:
        after, kosovo_after, montenegro_after = act(served, 6)
        expected = [
            before + after,
            kosovo_before + kosovo_after,
            montenegro_before + montenegro_after,
        ] * 4
        until(partial(all_told, followers, expected), "not all were told")
        check_told(followers.seen, expected)


def test_following_begins_anew_after_nobody_followed(served: Server, ledger: Ledger) -> None:
    for _ in range(3):
        head = ledger.head()
        with ExitStack() as stack:
            followers = stack.enter_context(following(served, [ALL, KOSOVO], head))
            followers.wait_until_all_begun()
            everything, of_kosovo, _ = act(served, 1)
            wanted = [everything, of_kosovo]
            until(partial(all_told, followers, wanted), "not all were told")
        assert followers.seen == wanted
        act(served, 1)  # while nobody follows


def test_a_follower_whose_rights_change_begins_anew() -> None:
    protocol = adopted_protocol()
    session = Session(b"", KOSOVO, "", START)

    def registry(in_force: Protocol) -> Any:
        return SimpleNamespace(protocol_today=lambda _: in_force, keys={})

    node: Any = SimpleNamespace(
        conninfo="",
        told=SimpleNamespace(hear=None),
        clock=SimpleNamespace(moments=lambda: (START,)),
    )
    broadcaster = EventBroadcaster(node)
    agency = protocol.agencies_by_id[KOSOVO]
    others = tuple(one for one in protocol.agencies if one.id != KOSOVO)
    for changed, is_over in (
        ({}, False),
        ({"case_access": CaseAccess.NAMED}, True),
        ({"agencies": (*others, agency.model_copy(update={"role": "oversight"}))}, True),
        ({"agencies": (*others, agency.model_copy(update={"retired_at": START}))}, True),
        ({"agencies": others}, True),
    ):
        caller = Caller(agency, registry(protocol), session=session)
        with broadcaster.followed_by(caller) as follower:
            broadcaster._judge_keys(registry(protocol.model_copy(update=changed)))
            assert follower.over is is_over, changed


def frames(positions: range, length: int = 10) -> list[EventFrame]:
    return [EventFrame(position, str(position).encode().ljust(length)) for position in positions]


def read(tail: EventBuffer, position: int) -> list[int]:
    """Return all events that a follower gets from a tail."""
    taken: list[int] = []
    while True:
        content, position = tail.after(position)
        if not content:
            return taken
        taken += [int(part) for part in content.split()]


def test_a_tail_is_bounded_by_number_and_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_buffer, "EVENTS", 50)
    tail = EventBuffer(100)
    tail.grow(frames(range(101, 121)), 120)
    assert (tail.start, read(tail, 100)) == (100, list(range(101, 121)))
    tail.grow(frames(range(121, 181)), 181)
    assert (tail.start, tail.upto) == (130, 181)
    assert read(tail, 130) == list(range(131, 181))
    assert read(tail, 170) == list(range(171, 181))
    assert tail.after(500) == (b"", 500)
    monkeypatch.setattr(event_buffer, "BYTES", 1_000)
    tail.grow(frames(range(200, 204), 300), 210)
    assert (tail.start, read(tail, 200)) == (200, [201, 202, 203])


def test_what_a_follower_is_sent_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_buffer, "CHUNK_BYTES", 100)
    tail = EventBuffer(0)
    tail.grow(frames(range(1, 40), 30), 50)
    content, upto = tail.after(0)
    assert (len(content), upto) == (90, 3)
    assert tail.after(0)[0] is content  # the same bytes for all who stand there
    assert read(tail, 0) == list(range(1, 40))
