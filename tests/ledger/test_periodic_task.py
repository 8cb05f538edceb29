"""A task of an event loop repeats its step as a worker does in a thread."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ledger.system.backoff import Backoff
from ledger.system.periodic_task import PeriodicTask

HOUR = 3600.0
SECONDS = 30.0


@contextlib.asynccontextmanager
async def running(task: PeriodicTask) -> AsyncIterator[None]:
    runs = asyncio.create_task(task.run())
    try:
        yield
    finally:
        runs.cancel()
        await asyncio.gather(runs, return_exceptions=True)


def test_a_step_is_repeated_woken_and_tried_again_after_failures() -> None:
    pauses: list[int] = []
    outcomes: list[Exception | float | None] = [0.0, None, ValueError(), OSError(), None]
    taken: asyncio.Queue[int] = asyncio.Queue()

    class Noted(Backoff):
        def seconds(self, failures: int) -> float:
            pauses.append(failures)
            return 0.0

    async def step() -> float | None:
        outcome = outcomes.pop(0)
        taken.put_nowait(len(outcomes))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def story() -> None:
        task = PeriodicTask("told", step, every=HOUR, backoff=Noted())
        async with asyncio.timeout(SECONDS), running(task):
            assert [await taken.get() for _ in range(2)] == [4, 3]  # the second waits an hour
            task.wake()
            assert [await taken.get() for _ in range(3)] == [2, 1, 0]
            while task.health.failures:
                await asyncio.sleep(0)
        assert (task.health.steps, task.health.error, pauses) == (3, None, [1, 2])

    asyncio.run(story())


def test_a_wake_up_during_a_step_begins_another_and_none_ends_a_backoff() -> None:
    count = 0

    async def woken() -> None:
        nonlocal count
        count += 1
        if count == 1:
            task.wake()

    async def failing() -> None:
        nonlocal count
        count += 1
        raise ValueError

    async def story() -> None:
        nonlocal task, count
        async with running(task):
            while count < 2:
                await asyncio.sleep(0)
        count = 0
        task = PeriodicTask("failing", failing, every=0.0, backoff=Backoff(HOUR, HOUR))
        async with running(task):
            while not count:
                await asyncio.sleep(0)
            task.wake()
            for _ in range(20):
                await asyncio.sleep(0)
            assert count == 1

    task = PeriodicTask("woken", woken, every=HOUR)
    asyncio.run(asyncio.wait_for(story(), SECONDS))
