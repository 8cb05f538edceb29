"""Connections in the application's least-privileged role."""

import math
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError
from psycopg import BaseConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool

APP_ROLE = "case_ledger_app"
DATABASE_AWAY = (psycopg.OperationalError, OperationalError, InterfaceError)
"""Errors of a database that ends a connection or gives none: the driver's, and the library's."""
_PATIENCE_SECONDS = 10.0
"""So long a caller waits for a connection: a server that is started again is there by then."""
OLDEST_SERVER = 16
"""The first PostgreSQL that can do what is asked of it: roles that are taken, not inherited."""


class ServerTooOldError(RuntimeError):
    """The database server is older than the version that this program needs."""


def check_server(connection: BaseConnection[Any]) -> None:
    """Check that the PostgreSQL server is new enough.

    Raises ``ServerTooOldError``, which names the server's version, if it is too old.
    """
    found = connection.info.server_version
    if found < OLDEST_SERVER * 10_000:
        raise ServerTooOldError(
            f"the database server is PostgreSQL {found // 10_000}.{found % 10_000}, and this "
            f"program needs {OLDEST_SERVER} or newer; name a newer server, or none to use the "
            "private one. Nothing was changed on this server"
        )


class ReconnectedError(psycopg.OperationalError):
    """The new commit depends on an earlier commit that did not wait for the disk.

    The connection is younger than that commit: the server may have crashed between, and lost it.
    """


class PooledConnection(Connection[DictRow]):
    """A connection with the time when it was opened."""

    opened_at: float = math.inf
    """By the monotonic clock. What was committed since then was not taken back by a crash, which
    would have ended this connection."""


def check_since(connection: Connection[Any], since: float | None) -> None:
    """Check that a connection was open at a moment: ``since`` is ``time.monotonic()``, in seconds.

    Raises ``ReconnectedError`` if the connection was opened later.
    """
    if since is not None and getattr(connection, "opened_at", math.inf) > since:
        raise ReconnectedError("the connection was opened meanwhile")


def _configure(connection: PooledConnection, role: str) -> None:
    """Set the role of a pool's new connection, and note when it was opened."""
    set_role(connection, role)
    connection.opened_at = time.monotonic()


def set_role(connection: Connection[Any], role: str = APP_ROLE) -> None:
    """Take ``role`` for the whole session, so that no statement runs with the login's rights."""
    connection.autocommit = True
    connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
    connection.execute("SET TIME ZONE 'UTC'")


def set_local_role(connection: Connection[Any], role: str) -> None:
    """Take ``role`` until the transaction ends."""
    connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))


def is_over(connection: BaseConnection[Any]) -> bool:
    """Return whether the server closed the connection, without a question to the server.

    A server sends nothing unasked but the end of the connection.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Pool(ConnectionPool[PooledConnection]):
    """A pool that gives no connection away whose server closed it.

    The library's own check sleeps between two tries, also after the pool was closed.
    """

    def getconn(self, timeout: float | None = None) -> PooledConnection:
        """Return a connection.

        Raises ``psycopg.OperationalError`` if none is there in time.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = super().getconn(deadline - time.monotonic())
            if not is_over(connection):
                return connection
            connection.close()  # the pool replaces a connection that comes back closed
            self.putconn(connection)


def make_pool(
    conninfo: str, *, role: str, size: int, name: str, is_checked: bool = True
) -> ConnectionPool[PooledConnection]:
    """Make a pool of connections in one role. It connects when it is opened.

    Without ``is_checked``, the pool may give away a connection whose server closed it. Its callers
    try again.
    """
    made = Pool if is_checked else ConnectionPool[PooledConnection]
    return made(
        conninfo,
        connection_class=PooledConnection,
        kwargs={"row_factory": dict_row},
        min_size=1,
        max_size=size,
        open=False,
        configure=partial(_configure, role=role),
        timeout=_PATIENCE_SECONDS,
        name=name,
    )


def let_go(pool: ConnectionPool[Any]) -> None:
    """Close a pool at once. Callers that wait for a connection get ``OperationalError``."""
    pool.close(timeout=0)


class Database:
    """A pool of connections that all run in one role, the application's unless said."""

    def __init__(
        self,
        conninfo: str,
        *,
        max_size: int = 10,
        role: str = APP_ROLE,
        is_checked: bool = True,
    ) -> None:
        self.conninfo = conninfo
        self._apart: list[Database] = []
        self._pool = make_pool(
            conninfo, role=role, size=max_size, name="case-ledger", is_checked=is_checked
        )

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """Yield a connection in autocommit mode."""
        self._pool.open()
        with self._pool.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self, *, role: str | None = None) -> Iterator[Connection[DictRow]]:
        """Yield a connection in a transaction, in another role if one is named.

        A country's vault has such a role.
        """
        with self.connection() as connection, connection.transaction():
            if role is not None:
                set_local_role(connection, role)
            yield connection

    def apart(self, role: str) -> "Database":
        """Return a pool of one more connection, in another role, that is closed with this pool.

        The pool does not check first whether the server closed the connection: the caller tries
        again.
        """
        made = Database(self.conninfo, max_size=1, role=role, is_checked=False)
        self._apart.append(made)
        return made

    def let_go(self) -> None:
        """Close the pools at once. Callers that wait for a connection get ``OperationalError``."""
        for database in (self, *self._apart):
            let_go(database._pool)

    def close(self) -> None:
        for database in self._apart:
            database.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
