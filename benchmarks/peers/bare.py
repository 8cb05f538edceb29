"""The limits: PostgreSQL that stores rows and does nothing else."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from benchmarks.peers import servers
from benchmarks.peers.peer import BATCHES, PAGE, WORKLOADS, Given, Workload
from benchmarks.peers.servers import Server, Servers

_DATABASE = "bench_bare"
_COPIED = 5000
_TABLE = """
CREATE TABLE events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial PRIMARY KEY,
    UNIQUE (originator_id, originator_version)
)
"""
_INSERT = """
INSERT INTO events (originator_id, originator_version, topic, state) VALUES (%b, %b, %b, %b)
"""
_PAGE = """
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""


class _Bare:
    """A table with the columns that any store of events has, and its two unique indexes."""

    verifies = False

    def __init__(self, server: Server) -> None:
        self.server = server.name
        self._server = server
        self._connections: list[psycopg.Connection[TupleRow]] = []

    def available(self) -> str | None:
        return self._server.available()

    def version(self) -> str:
        return servers.server_version(self._server.conninfo)

    def open(self, writers: int) -> None:
        conninfo = servers.create_database(self._server.conninfo, _DATABASE)
        self._connections = [psycopg.connect(conninfo, autocommit=True) for _ in range(writers)]
        self._connections[0].execute(_TABLE)

    def durability(self) -> str:
        return servers.durable_settings(self._server.conninfo)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        servers.drop_database(self._server.conninfo, _DATABASE)


class BareInsert(_Bare):
    """Single inserts, each its own transaction, on a connection for each writer.

    The unique index on case and version is its optimistic condition. Positions have gaps and
    may become visible out of order.
    """

    workloads: Sequence[Workload] = WORKLOADS

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(server)
        self.name = name
        self.about = "INSERT, a transaction each; no order, no tree; batches by executemany"

    def append(self, writer: int, events: Sequence[Given]) -> None:
        connection = self._connections[writer]
        rows = [(e.case_id, e.version, e.kind, e.content) for e in events]
        if len(rows) == 1:
            connection.execute(_INSERT, rows[0], prepare=True)
            return
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)

    def read(self) -> Iterator[bytes]:
        after = 0
        while rows := self._page(after):
            for row in rows:
                yield row[4]
            after = rows[-1][0]

    def _page(self, after: int) -> list[tuple[Any, ...]]:
        cursor = self._connections[0].execute(_PAGE, (after, PAGE), prepare=True, binary=True)
        return cursor.fetchall()


class BareCopy(_Bare):
    """Many rows in one binary COPY, and all of them out again by another."""

    name = "COPY"
    about = f"binary COPY of {_COPIED:,} rows a transaction, as the limit of any append or read"
    workloads: Sequence[Workload] = (Workload(BATCHES.name, 1, _COPIED),)

    def __init__(self, given: Servers) -> None:
        super().__init__(given.embedded)

    def append(self, writer: int, events: Sequence[Given]) -> None:
        statement = (
            "COPY events (originator_id, originator_version, topic, state)"
            " FROM STDIN (FORMAT BINARY)"
        )
        with self._connections[writer].cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["uuid", "int8", "text", "bytea"])
            for event in events:
                copy.write_row((event.case_id, event.version, event.kind, event.content))

    def read(self) -> Iterator[bytes]:
        statement = (
            "COPY (SELECT notification_id, originator_id, originator_version, topic, state"
            " FROM events ORDER BY notification_id) TO STDOUT (FORMAT BINARY)"
        )
        with self._connections[0].cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["int8", "uuid", "int8", "text", "bytea"])
            for row in copy.rows():
                yield row[4]
