"""Bounds how many chunks of documents the requests of one process have in memory.

A request needs memory of its own for a chunk only while it fills, encrypts, opens or sends the
chunk. All others wait with a few kilobytes each, and their connections read or send nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter

T = TypeVar("T")
_SLOW_SECONDS: Final = 0.5
"""A request whose line is slower gives its place to one that waits."""


class ChunkPlaces:
    """The places of one process. They are used from its event loop alone."""

    def __init__(self, most: int) -> None:
        self.limiter = CapacityLimiter(most)

    def place(self) -> "ChunkPlace":
        """Return a place for one request, which is not taken yet."""
        return ChunkPlace(self.limiter)


class ChunkPlace:
    """The place of one request."""

    def __init__(self, limiter: CapacityLimiter) -> None:
        self._limiter = limiter
        self.is_taken = False

    async def take(self) -> None:
        """Wait for a place, in the order of asking. A request that has one keeps it."""
        if not self.is_taken:
            await self._limiter.acquire_on_behalf_of(self)
            self.is_taken = True

    def give_back(self) -> None:
        """Give the place to the next request, if this one has it."""
        if self.is_taken:
            self.is_taken = False
            self._limiter.release_on_behalf_of(self)

    async def wait(self, line: Awaitable[T], let_go: Callable[[], Awaitable[None]]) -> T:
        """Wait for the line of this request, and return what it brings.

        If the line is slow while other requests wait for a place, ``let_go`` frees the memory of
        this one, and the place is given back.
        """
        if not self.is_taken:
            return await line
        waiting = asyncio.ensure_future(line)
        try:
            while not (await asyncio.wait([waiting], timeout=_SLOW_SECONDS))[0]:
                if self._limiter.statistics().tasks_waiting:
                    await let_go()
                    self.give_back()
                    break
            return await waiting
        finally:
            waiting.cancel()
