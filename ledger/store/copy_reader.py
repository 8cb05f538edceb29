"""Reads recorded rows by binary COPY, in order, one at a time whatever the ledger's size.

The connection is the stream's until it ends: no other statement can run on it meanwhile.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import starmap
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composable, Literal

from ledger.store.database import set_role
from ledger.store.event_rows import COLUMNS, RecordedRow

_ROWS = SQL(
    "COPY (SELECT {columns} FROM ledger.events WHERE {where} ORDER BY {order})"
    " TO STDOUT (FORMAT BINARY)"
)
_TYPES = ("int8", "uuid", "int8", "text", "bytea", "uuid", "timestamptz", "bytea")
_BY_POSITION = SQL("notification_id")
_BY_CASE = SQL("originator_id, originator_version")


@contextmanager
def streaming(connection: Connection[Any]) -> Iterator[Connection[Any]]:
    """Yield a connection for streams, and close it if the block ends while one is under way.

    A stream that is left before its end, because of an error or an interrupt, keeps the
    connection: the end of the transaction would wait for it for ever.
    """
    try:
        yield connection
    finally:
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=1.0)
            connection.close()


@contextmanager
def reading(conninfo: str) -> Iterator[Connection[Any]]:
    """Open a connection for streams in the application's role, until the block ends."""
    with psycopg.connect(conninfo) as connection, streaming(connection):
        set_role(connection)
        yield connection


def rows_by_position(
    connection: Connection[Any],
    *,
    after: int | None = None,
    upto: int | None = None,
    kinds: Collection[str] | None = None,
) -> Iterator[RecordedRow]:
    """Yield rows by position, beyond ``after`` and up to ``upto``: all, or some ``kinds``."""
    where: list[Composable] = [SQL("true")]
    if after is not None:
        where.append(SQL("notification_id > {}").format(Literal(after)))
    if upto is not None:
        where.append(SQL("notification_id <= {}").format(Literal(upto)))
    if kinds is not None:
        where.append(SQL("topic = ANY({})").format(Literal(list(kinds))))
    return _stream(connection, where, _BY_POSITION)


def acceptances(connection: Connection[Any], *, upto: int) -> Iterator[RecordedRow]:
    """Yield the rows of the acceptances of merges, by position, at positions up to ``upto``."""
    return rows_by_position(connection, upto=upto, kinds=["merge_accepted"])


def rows_by_case(
    connection: Connection[Any],
    *,
    above: UUID | None = None,
    upto_case: UUID | None = None,
    upto: int,
) -> Generator[RecordedRow, None, None]:
    """Yield each case's rows one after another, by version, at positions up to ``upto``.

    The cases are those whose ids lie above ``above``, up to ``upto_case``.
    """
    where: list[Composable] = [SQL("notification_id <= {}").format(Literal(upto))]
    if above is not None:
        where.append(SQL("originator_id > {}").format(Literal(above)))
    if upto_case is not None:
        where.append(SQL("originator_id <= {}").format(Literal(upto_case)))
    return _stream(connection, where, _BY_CASE)


def rows_of(
    connection: Connection[Any], originator_id: UUID, *, upto: int
) -> Iterator[RecordedRow]:
    """Yield the rows of one case, or of the registry, by version, at positions up to ``upto``."""
    where = [
        SQL("originator_id = {}").format(Literal(originator_id)),
        SQL("notification_id <= {}").format(Literal(upto)),
    ]
    return _stream(connection, where, _BY_CASE)


def _stream(
    connection: Connection[Any], where: Sequence[Composable], order: SQL
) -> Generator[RecordedRow, None, None]:
    statement = _ROWS.format(columns=SQL(COLUMNS), where=SQL(" AND ").join(where), order=order)
    with connection.cursor() as curs, curs.copy(statement) as copy:
        copy.set_types(_TYPES)
        yield from starmap(RecordedRow, copy.rows())
