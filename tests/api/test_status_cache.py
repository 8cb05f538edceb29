"""Requests that wait in an event loop for the status that the worker process reports."""

import asyncio
import threading
import time
from typing import cast
from unittest.mock import Mock

from api.runtime.status import NodeStatus, StatusCache
from ledger.store.database import Database

HOUR = 3600.0


def cache() -> StatusCache:
    return StatusCache(cast("Database", Mock(spec=Database)))


def said(size: int) -> str:
    return NodeStatus(size=size).model_dump_json()


def test_a_wait_ends_once_another_thread_hears_what_is_waited_for() -> None:
    told = cache()

    async def wait() -> None:
        waits = asyncio.create_task(told.until(lambda status: status.size > 3, HOUR))
        await asyncio.sleep(0)
        for size in (3, 4):
            assert not waits.done()
            hearing = threading.Thread(target=told.hear, args=(said(size),))
            hearing.start()
            hearing.join()
            await asyncio.sleep(0.01)
        await asyncio.wait_for(waits, 60)

    asyncio.run(wait())
    assert told.now.size == 4
    told.hear(said(5))  # nothing waits any more, and its event loop has ended
    assert told.now.size == 5


def test_what_holds_already_is_not_waited_for() -> None:
    told = cache()
    told.hear(said(4))
    asyncio.run(asyncio.wait_for(told.until(lambda status: status.size > 3, HOUR), 60))


def test_a_wait_ends_without_news_in_the_end() -> None:
    told, began = cache(), time.monotonic()
    asyncio.run(told.until(lambda status: status.size > 3, 0.05))
    assert time.monotonic() - began >= 0.05
