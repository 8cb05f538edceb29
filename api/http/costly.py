"""Costly answers: few are made at the same time, and each caller waits for few."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from api.runtime.problem import problem
from api.runtime.rate_limit import STATUS, TITLE, OpenPlaces

T = TypeVar("T")
_RETRY = {"Retry-After": "5"}
_LOOK_SECONDS = 0.05
"""A request looks so often whether another process gave a place back."""


class Costly:
    """Runs work in threads of its own, so that it holds no thread that serves others.

    At most ``at_once`` are under way, and at most ``each`` of one caller are under way or waiting.
    One caller has all places but one at most, so that no caller keeps every other one waiting. The
    limits are those of all request processes of a node together. It is used from the event loop
    alone, so that nothing needs a lock.
    """

    def __init__(self, name: str, at_once: int, each: int, wait_seconds: float) -> None:
        """Prepare the limits. ``name`` tells their keys from those of other limits."""
        self._places = asyncio.Semaphore(at_once)
        self._threads = CapacityLimiter(at_once)
        self._of_one_caller = max(1, at_once - 1)
        self._own: dict[str, asyncio.Semaphore] = {}
        """The places that each caller may have at once."""
        self._wait_seconds = wait_seconds
        self._asked: Counter[str] = Counter()
        # Those of all processes. A process asks here for a place that it has by its own limits.
        self._asked_in_all = OpenPlaces(each, f"{name} asked")
        self._own_in_all = OpenPlaces(self._of_one_caller, f"{name} own")
        self._places_in_all = OpenPlaces(at_once, f"{name} places")

    async def run(self, caller: str, work: Callable[..., T], *given: object) -> T:
        """Do the work for a caller, once there is a place.

        Raises a problem: 429 where the caller has too many under way, 503 where no place became
        free in time.
        """
        release = await self.take(caller)
        try:
            return await anyio.to_thread.run_sync(partial(work, *given), limiter=self._threads)
        finally:
            release()

    async def take(self, caller: str) -> Callable[[], None]:
        """Take a place for a caller, once there is one, and return what gives it back.

        Raises as :meth:`run` does.
        """
        if not self._asked_in_all.enter(caller):
            raise problem(
                STATUS,
                TITLE,
                "too-many-at-once",
                "Too many of your requests of this kind are under way; wait for their answers.",
                _RETRY,
            )
        self._asked[caller] += 1
        try:
            await self._wait_for_a_place(caller)
        except BaseException:
            self._leave(caller)
            raise

        def release() -> None:
            self._places_in_all.leave("")
            self._own_in_all.leave(caller)
            self._places.release()
            self._own[caller].release()
            self._leave(caller)

        return release

    def _leave(self, caller: str) -> None:
        self._asked_in_all.leave(caller)
        self._asked[caller] -= 1
        if not self._asked[caller]:
            del self._asked[caller]
            self._own.pop(caller, None)

    async def _wait_for_a_place(self, caller: str) -> None:
        own = self._own.setdefault(caller, asyncio.Semaphore(self._of_one_caller))
        try:
            async with asyncio.timeout(self._wait_seconds), AsyncExitStack() as stack:
                await own.acquire()
                stack.callback(own.release)
                await self._places.acquire()
                stack.callback(self._places.release)
                await _entered(self._own_in_all, caller)
                stack.callback(self._own_in_all.leave, caller)
                await _entered(self._places_in_all, "")
                stack.pop_all()
        except TimeoutError:
            raise problem(
                503,
                "Not available now",
                "busy",
                "Too much of the same is asked for at this moment; try again.",
                _RETRY,
            ) from None


async def _entered(places: OpenPlaces, key: str) -> None:
    """Take a place of all processes, once there is one."""
    while not places.enter(key):
        await asyncio.sleep(_LOOK_SECONDS)
