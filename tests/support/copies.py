"""Copies of a ledger, each in a database of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

from ledger.application import Ledger, environment
from ledger.replication.mirror import Mirror
from ledger.store.database import Database
from tests.support.databases import new_database
from tests.support.logs import Log, LogSource

COPIED = ("ledger.events", "ledger.tree", "ledger.head")


@dataclass
class Copy:
    """A copy in a database of its own."""

    conninfo: str
    ledger: Ledger
    database: Database
    mirror: Mirror

    def catch_up(self, source: LogSource) -> None:
        while self.mirror.step(source):
            pass

    def tables(self, conninfo: str | None = None) -> list[list[dict[str, object]]]:
        with psycopg.connect(conninfo or self.conninfo, row_factory=dict_row) as connection:
            return [
                connection.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in COPIED
            ]


@contextmanager
def one_copy(server: str, migrated: str, log: Log, adoption: bytes | None = None) -> Iterator[Copy]:
    """An empty copy in a database of its own."""
    with (
        new_database(server, migrated) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        Database(conninfo) as database,
    ):
        mirror = Mirror(ledger, database, log.policy, adoption=adoption)
        yield Copy(conninfo, ledger, database, mirror)
