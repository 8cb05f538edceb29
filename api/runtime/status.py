"""Send the status of a node's worker process to its request processes.

They are processes of their own, on one machine or several. The work writes one row, and notifies
with the same text; whoever answers requests keeps what it heard last. In the other direction a
notice alone is enough: there is something to do, which is in the database.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from api.runtime.trouble import Trouble
from ledger.store.database import Database
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker

CHANNEL = "node_work"
ASSESSED = "duplicate_assessed"
"""Notified where a coordinator assessed a duplicate, of which another country is to be told."""
WORK_LOCK = 7_205_301_447  # any number, the same in every process
"""The advisory lock that a node's background work holds, shared, for as long as it runs."""
_EVERY_SECONDS = 5.0
_AT_MOST_EVERY_SECONDS = 0.02
_log = structlog.get_logger(__name__)

_SAY = """
INSERT INTO node.work (said, said_at) VALUES (%(said)s::text::jsonb, now())
ON CONFLICT (is_only) DO UPDATE SET said = EXCLUDED.said, said_at = EXCLUDED.said_at
RETURNING pg_notify(%(channel)s, %(notice)s)
"""


class LedgerNodeStatus(BaseModel):
    """The state of a country's node towards the ledger node."""

    model_config = ConfigDict(frozen=True)

    reachable: bool
    """Whether it is heard there what the log signed."""
    takes_actions: bool
    """Whether it answered to what was passed on last."""
    heard_at: AwareDatetime | None
    trouble: str | None


class WorkerHealth(BaseModel):
    """The results of one worker's steps."""

    model_config = ConfigDict(frozen=True)

    name: str
    steps: int
    """How many steps ended without a failure since the process began."""
    failures: int
    """How many steps failed since the last one that did not."""


class NodeStatus(BaseModel):
    """The whole status of a node."""

    model_config = ConfigDict(frozen=True)

    size: int = 0
    """The last signed size that this node has."""
    troubles: tuple[Trouble, ...] = ()
    """The faults that the background work finds."""
    heard: LedgerNodeStatus | None = None
    """``None`` on the ledger node."""
    newer: int | None = None
    """The position of the first event in this node's database that needs a later program."""
    decided: int = 0
    """Grows whenever an outcome may be known of what is in the outbox."""
    workers: tuple[WorkerHealth, ...] = ()
    """How the steps of each worker went. It is in the row alone: a notice is bounded."""


class StatusCache:
    """The newest status that this process received."""

    def __init__(self, database: Database) -> None:
        self.now = NodeStatus()
        self._database = database
        self._changed = threading.Condition()
        self._wakes: set[Callable[[], object]] = set()
        """One for each wait in an event loop."""

    def hear(self, said: str) -> None:
        """Take in a notice's payload."""
        try:
            self._take(NodeStatus.model_validate_json(said))
        except ValidationError:
            _log.warning("a notice is not understood")

    def read(self) -> None:
        """Read the status that was written while this process did not listen.

        Raises ``psycopg.Error``.
        """
        with self._database.connection() as connection:
            row = connection.execute("SELECT said FROM node.work").fetchone()
        if row is not None:
            self._take(NodeStatus.model_validate(row["said"]))

    def workers(self) -> Sequence[WorkerHealth]:
        """Return how the steps of each worker went, as the row says. Raises ``psycopg.Error``."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT said FROM node.work", prepare=True).fetchone()
        return () if row is None else NodeStatus.model_validate(row["said"]).workers

    def said_at(self) -> datetime | None:
        """Return the time of the worker process's last report; it reports every few seconds."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT said_at FROM node.work", prepare=True).fetchone()
        return None if row is None else row["said_at"].astimezone(UTC)

    def wait(self, seconds: float) -> None:
        """Return when something else is said, at the latest after ``seconds``."""
        with self._changed:
            self._changed.wait(seconds)

    async def until(self, holds: Callable[[NodeStatus], bool], seconds: float) -> None:
        """Return when the status fulfils a condition, at the latest after ``seconds``.

        It is :meth:`wait` for an event loop.
        """
        said, loop = asyncio.Event(), asyncio.get_running_loop()
        wake = partial(loop.call_soon_threadsafe, said.set)
        with self._changed:
            self._wakes.add(wake)
        try:
            async with asyncio.timeout(seconds):
                while not holds(self.now):
                    await said.wait()
                    said.clear()
        except TimeoutError:
            pass
        finally:
            with self._changed:
                self._wakes.discard(wake)

    def _take(self, said: NodeStatus) -> None:
        with self._changed:
            self.now = said
            self._changed.notify_all()
            for wake in self._wakes:
                with suppress(RuntimeError):  # its event loop has ended
                    wake()


class StatusReporter(PeriodicWorker):
    """Says what ``look`` sees: when it changed, and every few seconds."""

    def __init__(self, database: Database, look: Callable[[], NodeStatus]) -> None:
        self._database = database
        self._look = look
        super().__init__(
            "tell",
            self.say,
            every=_EVERY_SECONDS,
            at_most_every=_AT_MOST_EVERY_SECONDS,
            backoff=Backoff(0.1, _EVERY_SECONDS),
        )

    def say(self) -> None:
        """Say it now. Raises ``psycopg.Error``."""
        with self._database.transaction() as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            said = self._look()
            row, notice = said.model_dump_json(), said.model_dump_json(exclude={"workers"})
            connection.execute(
                _SAY, {"said": row, "notice": notice, "channel": CHANNEL}, prepare=True
            )


def notify(database: Database, channel: str) -> None:
    """Say on a channel that there is something to do."""
    with database.connection() as connection:
        connection.execute("SELECT pg_notify(%s, '')", (channel,))
