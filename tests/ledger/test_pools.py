"""A pool keeps nobody waiting once it is let go."""

import threading
import time

import psycopg
import pytest

from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore

SECONDS = 30.0


def test_who_waits_for_a_connection_fails_once_the_pool_is_let_go(database: str) -> None:
    with Database(database, max_size=1) as pool:
        failed: list[float] = []

        def wait() -> None:
            with pytest.raises(psycopg.OperationalError), pool.connection():
                pass
            failed.append(time.monotonic())

        with pool.connection() as connection:
            waiting = threading.Thread(target=wait)
            waiting.start()
            began = time.monotonic()
            pool.let_go()
            waiting.join(SECONDS)
            assert failed[0] - began < 5  # it would wait ten seconds for a connection
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError), pool.connection():
            pass
        assert time.monotonic() - began < 5


def test_the_ledgers_pools_are_let_go_together(database: str) -> None:
    datastore = LedgerDatastore(database, pool_size=1)
    try:
        for one in (datastore, datastore.appends):
            with one.get_connection() as connection:
                assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        datastore.let_go()
        for one in (datastore, datastore.appends):
            with pytest.raises(Exception, match="closed"), one.get_connection():
                pass
    finally:
        datastore.close()
