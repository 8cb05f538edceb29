"""One listener for notices of PostgreSQL, for a thread and for an event loop."""

import asyncio
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import psycopg
import pytest

from ledger.store import notices
from ledger.store.notices import Listener, ListenerTask
from ledger.system import periodic_worker
from tests.support.waiting import until

SECONDS = 30.0
HEARING = "listening"

Tell = Callable[[str], None]


@contextmanager
def in_thread(database: str, said: Tell) -> Iterator[None]:
    handlers = {"one": lambda text: said(f"1 {text}"), "two": lambda text: said(f"2 {text}")}
    with Listener(database, handlers, when_listening=lambda: said(HEARING)):
        yield


@contextmanager
def in_event_loop(database: str, said: Tell) -> Iterator[None]:
    handlers = {"one": lambda text: said(f"1 {text}"), "two": lambda text: said(f"2 {text}")}
    loop = asyncio.new_event_loop()

    async def when_listening() -> None:
        said(HEARING)

    listener = ListenerTask(database, handlers, when_listening=when_listening)
    task = loop.create_task(listener.run())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(SECONDS)
        assert task.cancelled()
        loop.close()


@pytest.mark.parametrize("face", [in_thread, in_event_loop])
def test_notices_are_heard_and_a_lost_connection_is_opened_again(
    face: Callable[[str, Tell], Iterator[None]], database: str
) -> None:
    said: queue.Queue[str] = queue.Queue()
    with (
        psycopg.connect(database, autocommit=True) as other,
        face(database, said.put),  # type: ignore[attr-defined]
    ):
        assert said.get(timeout=SECONDS) == HEARING
        other.execute("SELECT pg_notify('one', 'a'), pg_notify('three', 'b'), pg_notify('two', '')")
        assert [said.get(timeout=SECONDS) for _ in range(2)] == ["1 a", "2 "]
        ended = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        assert len(ended.fetchall()) == 1
        assert said.get(timeout=SECONDS) == HEARING
        other.execute("SELECT pg_notify('two', 'c')")
        assert said.get(timeout=SECONDS) == "2 c"


def test_a_failing_handler_does_not_end_the_listening(database: str) -> None:
    heard: queue.Queue[str] = queue.Queue()

    def fail(text: str) -> None:
        heard.put(text)
        raise ValueError(text)

    with (
        psycopg.connect(database, autocommit=True) as other,
        Listener(database, {"one": fail}, when_listening=lambda: heard.put(HEARING)) as listener,
    ):
        assert heard.get(timeout=SECONDS) == HEARING
        other.execute("SELECT pg_notify('one', 'a')")
        assert heard.get(timeout=SECONDS) == "a"
        assert heard.get(timeout=SECONDS) == HEARING
        began = time.monotonic()
    assert time.monotonic() - began < SECONDS / 3
    assert listener.health.steps >= 0


def test_a_stop_ends_the_wait_for_a_notice(database: str) -> None:
    assert notices._IDLE_SECONDS > SECONDS  # so long the wait would last
    heard: queue.Queue[str] = queue.Queue()
    with (
        psycopg.connect(database, autocommit=True) as other,
        Listener(database, {"one": heard.put}, when_listening=lambda: heard.put(HEARING)),
    ):
        assert heard.get(timeout=SECONDS) == HEARING
        other.execute("SELECT pg_notify('one', 'a')")
        assert heard.get(timeout=SECONDS) == "a"  # from now on it waits
        began = time.monotonic()
    assert time.monotonic() - began < SECONDS / 3


def test_notices_that_come_before_the_listener_waits_are_heard(database: str) -> None:
    heard: queue.Queue[str] = queue.Queue()
    with psycopg.connect(database, autocommit=True) as other:

        def told_meanwhile() -> None:
            other.execute("SELECT pg_notify('one', 'a')")
            other.execute("SELECT pg_notify('one', 'b')")

        with Listener(database, {"one": heard.put}, when_listening=told_meanwhile):
            assert [heard.get(timeout=SECONDS) for _ in range(2)] == ["a", "b"]


def test_a_stop_ends_the_wait_for_a_lock(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_worker, "STOP_GRACE_SECONDS", 0.05)
    heard: list[str] = []
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(42)")
        with Listener(database, {"one": heard.append}, lock=42):
            waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            until(lambda: other.execute(waits).fetchall())
            began = time.monotonic()
        assert time.monotonic() - began < SECONDS / 3
    assert heard == []
