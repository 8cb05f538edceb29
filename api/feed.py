"""Tells waiting followers that the ledger has grown (LISTEN / NOTIFY)."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

import psycopg
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from ledger.store.recorder import CHANNEL

_log = structlog.get_logger(__name__)


class Feed:
    """One listening connection, however many wait."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._grown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Return when the ledger has grown, at the latest after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._grown.wait(), seconds)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen(), name="feed")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(psycopg.Error),
            wait=wait_exponential(multiplier=0.2, max=5),
        ):
            with attempt:
                await self._listen_once()

    async def _listen_once(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        async with connection:
            await connection.execute("SET ROLE case_ledger_app")
            await connection.execute(f"LISTEN {CHANNEL}")
            self._wake()
            async for _ in connection.notifies():
                self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
