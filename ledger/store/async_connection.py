"""One connection that an event loop asks, in one role, opened anew where it was lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier

from ledger.store.database import APP_ROLE, is_over
from ledger.system.backoff import Backoff
from ledger.system.retrying import async_retrying

_PATIENCE_SECONDS = 10.0
_BACKOFF = Backoff(0.1, 0.2)
_RESTED_SECONDS = 0.05  # under load it is not asked each time whether the server is still there


class SharedConnection:
    """One connection on which statements follow each other: each waits for the one before."""

    def __init__(self, conninfo: str, *, role: str = APP_ROLE) -> None:
        self._conninfo = conninfo
        self._role = role
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection[DictRow] | None = None
        self._used_at = 0.0
        self.opened = 0
        """How often a connection was opened: what one knew of the last may not be so any more."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Yield the connection, in autocommit mode.

        Raises ``psycopg.OperationalError`` if the database cannot be reached.
        """
        async with self._turn:
            connection = await self._usable()
            try:
                yield connection
            finally:
                self._used_at = time.monotonic()
                status = connection.info.transaction_status
                if connection.closed or status is not TransactionStatus.IDLE:
                    await self._drop()

    async def close(self) -> None:
        async with self._turn:
            await self._drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _usable(self) -> AsyncConnection[DictRow]:
        rested = time.monotonic() - self._used_at > _RESTED_SECONDS
        if self._connection is not None and rested and is_over(self._connection):
            await self._drop()
        if self._connection is None:
            self._connection = await self._open()
            self.opened += 1
        return self._connection

    async def _open(self) -> AsyncConnection[DictRow]:
        """Connect, and wait a little for a server that is just starting again."""
        opening = async_retrying(
            psycopg.OperationalError, seconds=_PATIENCE_SECONDS, backoff=_BACKOFF
        )
        return await opening(self._connect)

    async def _connect(self) -> AsyncConnection[DictRow]:
        connection = await AsyncConnection.connect(
            self._conninfo, autocommit=True, row_factory=dict_row, connect_timeout=5
        )
        try:
            await connection.execute(SQL("SET ROLE {}").format(Identifier(self._role)))
            # Whatever the login's own settings are: a commit that we wait for is durable.
            await connection.execute("SET TIME ZONE 'UTC'; SET synchronous_commit = on")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
