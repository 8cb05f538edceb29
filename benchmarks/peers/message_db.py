"""message-db: an event store in SQL functions for PostgreSQL, from its npm package."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from benchmarks.peers import servers
from benchmarks.peers.peer import PAGE, WORKLOADS, Given, Workload
from benchmarks.peers.servers import Servers

_VERSION = "1.3.1"
_SHA512 = "n3hdE5YAZNXTr2HK9gG0GJ6dusgdE544LTvS+21/yOEHBvNuUzNmXXw5vS05vpe6RSuhzTRy5Wg0q7c1VfJg+A=="
_ARCHIVE = f"eventide-message-db-{_VERSION}.tgz"
_PATIENCE_SECONDS = 60
_DATABASE = "bench_message_db"
_TEMPLATE = "bench_message_db_installed"
_FILES = (  # in the order of its own installation scripts
    *("roles/message-store", "schema/message-store", "extensions/pgcrypto", "tables/messages"),
    "types/message",
    *(
        f"functions/{name}"
        for name in (
            "message-store-version",
            "hash-64",
            "acquire-lock",
            "category",
            "is-category",
            "id",
            "cardinal-id",
            "stream-version",
            "write-message",
            "get-stream-messages",
            "get-category-messages",
            "get-last-stream-message",
        )
    ),
    *("indexes/messages-id", "indexes/messages-stream", "indexes/messages-category"),
)
_WRITE = "SELECT write_message(%s::varchar, %s::varchar, %s::varchar, %s::jsonb, NULL, %s::bigint)"
_PAGE = "SELECT global_position, data FROM get_category_messages('case', %s, %s)"


class MessageDb:
    """A stream for each case, in one category, which is what it orders."""

    name = "message-db"
    about = (
        "write_message with the expected version, a stream for each case; content as a JSON"
        " string; batches are calls in one transaction"
    )
    workloads: Sequence[Workload] = WORKLOADS
    verifies = False

    def __init__(self, given: Servers) -> None:
        self._server = given.installed
        self.server = self._server.name
        self._directory = given.directory / "message-db"
        self._connections: list[psycopg.Connection[TupleRow]] = []
        self._installed = False

    def available(self) -> str | None:
        if (reason := self._server.available()) is not None:
            return reason
        return self._fetched if isinstance(self._fetched, str) else None

    def version(self) -> str:
        return f"message-db {_VERSION} on {servers.server_version(self._server.conninfo)}"

    @cached_property
    def _fetched(self) -> Path | str:
        """The package, kept in the virtual environment, or why it is not there."""
        kept = Path(sys.prefix) / _ARCHIVE
        if not kept.exists():
            if shutil.which("npm") is None:
                return "npm, which fetches @eventide/message-db, is not installed"
            asked = ["npm", "pack", "--silent", f"@eventide/message-db@{_VERSION}"]
            try:
                subprocess.run(
                    [*asked, "--pack-destination", sys.prefix],
                    check=True,
                    capture_output=True,
                    timeout=_PATIENCE_SECONDS,
                )
            except (subprocess.SubprocessError, OSError) as error:
                return f"npm could not fetch @eventide/message-db: {type(error).__name__}"
        found = base64.b64encode(hashlib.sha512(kept.read_bytes()).digest()).decode()
        if found != _SHA512:
            return f"{kept} is not the package that is pinned here by its SHA-512"
        return kept

    def open(self, writers: int) -> None:
        if not self._installed:
            self._install()
        conninfo = servers.create_database(self._server.conninfo, _DATABASE, _TEMPLATE)
        conninfo = make_conninfo(conninfo, options="-csearch_path=message_store,public")
        self._connections = [psycopg.connect(conninfo, autocommit=True) for _ in range(writers)]

    def _install(self) -> None:
        archive = self._fetched
        if isinstance(archive, str):
            raise RuntimeError(archive)
        with tarfile.open(archive) as opened:
            opened.extractall(self._directory, filter="data")
        conninfo = servers.create_database(self._server.conninfo, _TEMPLATE)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            # Its scripts say where each object goes, but for what they find by name.
            connection.execute("SET search_path = message_store, public")
            for name in _FILES:
                path = self._directory / "package" / "database" / f"{name}.sql"
                connection.execute(path.read_bytes())
        self._installed = True

    def durability(self) -> str:
        return servers.durable_settings(self._server.conninfo)

    def append(self, writer: int, events: Sequence[Given]) -> None:
        connection = self._connections[writer]
        calls = [_call(event) for event in events]
        if len(calls) == 1:
            connection.execute(_WRITE, calls[0], prepare=True)
            return
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_WRITE, calls)

    def read(self) -> Iterator[bytes]:
        start = 1
        while rows := self._connections[0].execute(_PAGE, (start, PAGE), prepare=True).fetchall():
            for row in rows:
                yield json.loads(row[1]).encode("ascii")
            start = rows[-1][0] + 1

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        servers.drop_database(self._server.conninfo, _DATABASE)


def _call(event: Given) -> tuple[Any, ...]:
    # Its versions begin at 0, and -1 is that of a stream that does not exist yet. The content
    # has letters that JSON takes as they are.
    data = f'"{event.content.decode("ascii")}"'
    return str(event.action_id), f"case-{event.case_id}", event.kind, data, event.version - 2
