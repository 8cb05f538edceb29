"""Listens to notices of PostgreSQL (``LISTEN``): in a thread, or in an event loop.

A connection that is lost is opened again. Notices that came meanwhile are lost: so
``when_listening`` is called after each opening, and looks for the changes that they announced.
"""

import selectors
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import APP_ROLE
from ledger.system.backoff import Backoff
from ledger.system.periodic_task import PeriodicTask
from ledger.system.periodic_worker import PeriodicWorker

_CONNECT_SECONDS = 5
_CANCEL_SECONDS = 2.0
_IDLE_SECONDS = 60.0
"""So long a step lasts, where no notice comes."""
_BACKOFF = Backoff(0.2, 5.0)

Handlers: TypeAlias = Mapping[str, Callable[[str], None]]
"""The function that is called with the payload of each notice, by channel."""


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
        """Set up the listener; ``lock`` is an advisory lock that its connection holds, shared.

        The connection holds the lock while it lasts.
        """
        self._conninfo = conninfo
        self._handlers = handlers
        self._when_listening = when_listening
        self._statements = _statements(role, handlers, lock)
        self._connection: Connection | None = None
        self._stopping: tuple[socket.socket, socket.socket] | None = None
        """Two ends: a byte that is sent to the first one ends the wait for a notice."""
        super().__init__(name, self._listen, every=0.0, backoff=_BACKOFF)

    def start(self) -> None:
        self._stopping = socket.socketpair()
        super().start()

    def _listen(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._open()
                for statement in self._statements:
                    self._connection.execute(statement)
                self._when_listening()
            else:
                self._wait(self._connection)
            # Those that came with the answers to the statements are given too, without a wait.
            for notice in self._connection.notifies(timeout=0.0):
                self._handlers[notice.channel](notice.payload)
        except BaseException:
            self._disconnect()
            raise

    def _wait(self, connection: Connection) -> None:
        """Wait until the server sends something, or the listener is asked to stop."""
        if self._stopping is None:
            raise RuntimeError("the listener was not started")
        with selectors.DefaultSelector() as either:
            either.register(connection.fileno(), selectors.EVENT_READ)
            either.register(self._stopping[1], selectors.EVENT_READ)
            either.select(_IDLE_SECONDS)

    def _open(self) -> Connection:
        return psycopg.connect(self._conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS)

    def _let_go(self) -> None:
        """End a wait for the lock, which another process may hold for long."""
        if (connection := self._connection) is not None:
            connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def _asked_to_stop(self) -> None:
        if self._stopping is not None:
            self._stopping[0].send(b"s")

    def _close(self) -> None:
        self._disconnect()
        ends, self._stopping = self._stopping, None
        for end in ends or ():
            end.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class ListenerTask(PeriodicTask):
    """Calls handlers in an event loop, until the task that runs it is cancelled."""

    def __init__(
        self,
        conninfo: str,
        handlers: Handlers,
        *,
        when_listening: Callable[[], Awaitable[None]],
        role: str = APP_ROLE,
        name: str = "listen",
    ) -> None:
        self._conninfo = conninfo
        self._handlers = handlers
        self._when_listening = when_listening
        self._statements = _statements(role, handlers)
        self._connection: AsyncConnection | None = None
        super().__init__(name, self._listen, every=0.0, backoff=_BACKOFF)

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self._close()

    async def _listen(self) -> None:
        try:
            if self._connection is None:
                self._connection = await self._open()
                for statement in self._statements:
                    await self._connection.execute(statement)
                await self._when_listening()
            async for notice in self._connection.notifies(timeout=_IDLE_SECONDS, stop_after=1):
                self._handlers[notice.channel](notice.payload)
        except BaseException:
            await self._close()
            raise

    async def _open(self) -> AsyncConnection:
        return await AsyncConnection.connect(
            self._conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _statements(role: str, channels: Iterable[str], lock: int | None = None) -> list[Composed]:
    statements = [SQL("SET ROLE {}").format(Identifier(role))]
    if lock is not None:
        statements.append(SQL("SELECT pg_advisory_lock_shared({})").format(lock))
    return statements + [SQL("LISTEN {}").format(Identifier(channel)) for channel in channels]
