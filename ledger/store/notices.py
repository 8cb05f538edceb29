"""Listens to notices of PostgreSQL (``LISTEN``): in a thread, or in an event loop.

A connection that is lost is opened again. Notices that came meanwhile are lost: so
``when_listening`` is called after each opening, and looks for what they told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

import psycopg
import structlog
from psycopg import AsyncConnection, Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import APP_ROLE
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker

_CONNECT_SECONDS = 5
_LOOK_SECONDS = 0.5
"""So often the thread looks whether it is asked to stop."""
_BACKOFF = Backoff(0.2, 5.0)
_log = structlog.get_logger(__name__)

Handlers: TypeAlias = Mapping[str, Callable[[str], None]]
"""What is called with the payload of each notice, by channel."""


class Listener(PeriodicWorker):
    """Calls handlers in a thread for as long as the block runs."""

    def __init__(
        self,
        conninfo: str,
        handlers: Handlers,
        *,
        when_listening: Callable[[], None] = lambda: None,
        role: str = APP_ROLE,
        lock: int | None = None,
        name: str = "listen",
    ) -> None:
        """``lock`` is an advisory lock that the connection holds, shared, while it lasts."""
        self._conninfo = conninfo
        self._handlers = handlers
        self._when_listening = when_listening
        self._statements = _statements(role, handlers, lock)
        self._connection: Connection | None = None
        super().__init__(name, self._listen, every=0.0, backoff=_BACKOFF)

    def _listen(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._open()
                self._when_listening()
            for notice in self._connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                self._handlers[notice.channel](notice.payload)
        except BaseException:
            self._close()
            raise

    def _open(self) -> Connection:
        connection = psycopg.connect(
            self._conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
        try:
            for statement in self._statements:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


async def listen(
    conninfo: str,
    handlers: Handlers,
    *,
    when_listening: Callable[[], Awaitable[None]],
    role: str = APP_ROLE,
) -> None:
    """Call handlers in an event loop, until this task is cancelled."""
    failures = 0
    while True:
        try:
            async with await AsyncConnection.connect(
                conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS
            ) as connection:
                for statement in _statements(role, handlers):
                    await connection.execute(statement)
                await when_listening()
                failures = 0
                async for notice in connection.notifies():
                    handlers[notice.channel](notice.payload)
        except psycopg.Error as error:
            failures += 1
            _log.warning("listening interrupted", error=type(error).__name__)
            await asyncio.sleep(_BACKOFF.seconds(failures))


def _statements(role: str, channels: Iterable[str], lock: int | None = None) -> list[Composed]:
    statements = [SQL("SET ROLE {}").format(Identifier(role))]
    if lock is not None:
        statements.append(SQL("SELECT pg_advisory_lock_shared({})").format(lock))
    return statements + [SQL("LISTEN {}").format(Identifier(channel)) for channel in channels]
