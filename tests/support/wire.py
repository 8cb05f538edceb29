"""The messages between a process and PostgreSQL, as libpq writes them down."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psycopg
from psycopg.pq import Trace

from ledger.store import database
from ledger.store.database import PooledConnection


class Wire:
    """The messages of all connections that were opened since."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = iter(range(1_000_000))
        self._seen: dict[Path, int] = {}

    def listen(self, connection: psycopg.Connection[object]) -> None:
        path = self._directory / f"{next(self._numbers)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        connection.pgconn.trace(descriptor)
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    def round_trips(self) -> int:
        """Return the number of times that this process waited for an answer since the last call."""
        return sum(kind in ("Sync", "Query") for kind in self.sent())

    def sent(self) -> list[str]:
        """Return the kinds of the messages that this process sent since the last call."""
        kinds = []
        for path in sorted(self._directory.iterdir()):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[self._seen.get(path, 0) :]:
                direction, _, kind = (line.split("\t") + [""] * 3)[:3]
                if direction == "F":
                    kinds.append(kind.split(" ")[0])
            self._seen[path] = len(lines)
        return kinds


@contextmanager
def listening(directory: Path) -> Iterator[Wire]:
    """Listen to the connections that pools open from now on."""
    directory.mkdir()
    wire, configure = Wire(directory), database._configure

    def configure_and_listen(connection: PooledConnection, role: str) -> None:
        configure(connection, role)
        wire.listen(connection)

    with patch.object(database, "_configure", configure_and_listen):
        yield wire
