"""Work that a task of an event loop repeats: as PeriodicWorker does in a thread."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ledger.system.backoff import USUAL, Backoff
from ledger.system.health import StepHealth

Step = Callable[[], Awaitable[float | None]]
"""Does some work. Gives how many seconds to wait before the next step; ``None``: the usual time."""


class PeriodicTask:
    """Repeats a step until the task that runs it is cancelled.

    After a failure it waits longer each time, as ``backoff`` says. A step without a failure ends
    that.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        every: float,
        first_after: float = 0.0,
        backoff: Backoff = USUAL,
    ) -> None:
        """Set up the task; ``every`` is the usual time between two steps, in seconds."""
        self.name = name
        self.health = StepHealth(0, 0, None)
        """How the steps went until now."""
        self._step = step
        self._every = every
        self._first_after = first_after
        self._backoff = backoff
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Begin the next step at once, even if a step is under way; not during a backoff."""
        self._woken.set()

    async def run(self) -> None:
        """Repeat the step for ever."""
        await self._rest(self._first_after)
        while True:
            self._woken.clear()
            try:
                pause = await self._step()
            except Exception as error:
                self.health = self.health.failed(error)
                self.health.log(self.name)
                await asyncio.sleep(self._backoff.seconds(self.health.failures))
            else:
                self.health = self.health.succeeded()
                await self._rest(self._every if pause is None else pause)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
