"""Questions that come while others are answered are asked together, on one connection."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.database import Database


def test_what_comes_meanwhile_is_asked_together_and_each_gets_its_own_answer() -> None:
    batches: list[list[int]] = []

    async def doubled(some: Sequence[int]) -> Sequence[int]:
        batches.append(list(some))
        await asyncio.sleep(0.01)
        return [2 * one for one in some]

    async def ask() -> list[int]:
        together = AsyncBatcher(doubled, most=5)
        first = together.ask(1)
        await asyncio.sleep(0.001)
        rest = [together.ask(number) for number in range(2, 10)]
        rest[3].cancel()  # who asked is gone
        return await asyncio.gather(first, *(one for one in rest if not one.cancelled()))

    assert asyncio.run(ask()) == [2, 4, 6, 8, 12, 14, 16, 18]
    assert batches == [[1], [2, 3, 4, 5, 6], [7, 8, 9]]


def test_an_error_is_everyones_and_the_next_are_asked_again() -> None:
    async def answer(some: Sequence[int]) -> Sequence[int]:
        if 0 in some:
            raise psycopg.OperationalError("away")
        return some

    async def ask() -> None:
        together = AsyncBatcher(answer)
        told = await asyncio.gather(*map(together.ask, (0, 1)), return_exceptions=True)
        assert [type(one) for one in told] == [psycopg.OperationalError] * 2
        assert await together.ask(2) == 2

    asyncio.run(ask())


def test_a_lane_opens_a_connection_anew_where_it_was_lost(server: str) -> None:
    async def ask() -> None:
        async with SharedConnection(server, role="pg_monitor") as lane:
            async with lane.connection() as connection:
                cursor = await connection.execute("SELECT current_user AS role")
                assert await cursor.fetchone() == {"role": "pg_monitor"}
                pid = connection.info.backend_pid
            with psycopg.connect(server, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            await asyncio.sleep(0.1)
            async with lane.connection() as connection:  # it finds out by itself
                cursor = await connection.execute("SHOW synchronous_commit")
                assert await cursor.fetchone() == {"synchronous_commit": "on"}
            assert lane.opened == 2
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with lane.connection() as connection:
                    await connection.execute("SELECT 1 / 0")
            async with lane.connection() as connection:
                await connection.execute("BEGIN")
            async with lane.connection() as connection:  # what was left half done is dropped
                await connection.execute("SELECT 1")
            assert lane.opened == 3

    asyncio.run(ask())


def test_a_pool_gives_no_connection_away_whose_server_is_gone(server: str) -> None:
    with Database(server, max_size=2, role="pg_monitor") as pool:
        with pool.connection() as one, pool.connection() as other:
            pids = [one.info.backend_pid, other.info.backend_pid]
        with psycopg.connect(server, autocommit=True) as killing:
            for pid in pids:
                killing.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        for _ in range(3):
            with pool.connection() as connection:
                found = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
            assert found is not None
            assert found["pid"] not in pids
