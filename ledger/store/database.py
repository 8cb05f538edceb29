"""Connections in the application's least-privileged role."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool

APP_ROLE = "case_ledger_app"


def set_role(connection: Connection[Any], role: str = APP_ROLE) -> None:
    """Take ``role`` for the whole session, so that no statement runs with the login's rights."""
    connection.autocommit = True
    connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
    connection.execute("SET TIME ZONE 'UTC'")


def set_local_role(connection: Connection[Any], role: str) -> None:
    """Take ``role`` for what is left of the transaction."""
    connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))


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
        self._pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            conninfo,
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=max_size,
            open=False,
            configure=partial(set_role, role=role),
            check=ConnectionPool.check_connection if is_checked else None,
            timeout=10.0,
            name="case-ledger",
        )

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """A connection in autocommit mode."""
        self._pool.open()
        with self._pool.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self, *, role: str | None = None) -> Iterator[Connection[DictRow]]:
        """A transaction, in another role where one is named (a country's vault)."""
        with self.connection() as connection, connection.transaction():
            if role is not None:
                set_local_role(connection, role)
            yield connection

    def apart(self, role: str) -> "Database":
        """One more connection, in another role, that is closed with this pool.

        It is not asked first whether it still answers: who uses it tries again.
        """
        made = Database(self.conninfo, max_size=1, role=role, is_checked=False)
        self._apart.append(made)
        return made

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
