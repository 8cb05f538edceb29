"""Statements that are prepared by name and leave together: one round trip for all of them.

Appends go past the driver's cursors, which take as long for a statement as the server does. Values
are given in PostgreSQL's binary form, and rows come back so.
"""

import select
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

Value = Buffer | None
"""A value in PostgreSQL's binary form; ``None`` is NULL."""

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement with its values as ``$1``, ``$2`` and so on, each with a cast to its type."""

    name: bytes
    sql: bytes


class Call(NamedTuple):
    """A statement to be run, with its values."""

    statement: Prepared
    values: Sequence[Value] = ()


BEGIN = Call(Prepared(b"cl_begin", b"BEGIN"))
COMMIT = Call(Prepared(b"cl_commit", b"COMMIT"))


def role_call(role: str) -> Call:
    """Return the call that takes a role until the transaction ends.

    ``role`` is a name that this program made: lower-case letters, digits and underscores.
    """
    if not role.replace("_", "a").isalnum():
        raise ValueError("a role has letters, digits and underscores")
    return Call(Prepared(f"cl_role_{role}".encode(), f'SET LOCAL ROLE "{role}"'.encode()))


def run(connection: Connection[Any], calls: Sequence[Call], *, keep: bool = True) -> list[PGresult]:
    """Run statements in one round trip, and return the result of each.

    Where one fails, none after it runs, and its error is raised; a transaction that began with the
    first of them is rolled back. With ``keep``, the connection keeps each statement prepared under
    its name. Without, the server plans the statements anew: a connection that the driver's cursors
    share may lose what is prepared on it.
    """
    try:
        return _run(connection, calls, _kept(connection) if keep else None)
    except psycopg.errors.InvalidSqlStatementName:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            raise
        # The driver removed all prepared statements of the connection. Nothing was done.
        _kept(connection).clear()
        return _run(connection, calls, _kept(connection))


def roll_back(connection: Connection[Any]) -> None:
    """End a transaction that :func:`run` began, unless the connection is gone."""
    pgconn = connection.pgconn
    if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        pgconn.exec_(b"ROLLBACK")


def _kept(connection: Connection[Any]) -> set[bytes]:
    """Return the names of the statements that a connection has prepared."""
    kept: set[bytes] = connection.__dict__.setdefault("kept_statements", set())
    return kept


def _run(
    connection: Connection[Any], calls: Sequence[Call], kept: set[bytes] | None
) -> list[PGresult]:
    with connection.lock:
        pgconn = connection.pgconn
        try:
            pgconn.enter_pipeline_mode()
            preparing = _send(pgconn, calls, kept)
            results = _received(pgconn)
            pgconn.exit_pipeline_mode()
        except BaseException:
            connection.close()  # with answers under way it is of no more use
            raise
        failed = next((one for one in results if one.status in _FAILED), None)
        if failed is None:
            return [one for place, one in enumerate(results) if place not in preparing]
        for place, name in preparing.items():
            if kept is not None and results[place].status != ExecStatus.COMMAND_OK:
                kept.discard(name)
        if calls[0] is BEGIN:
            roll_back(connection)
        raise psycopg.errors.error_from_result(failed)


def _send(pgconn: PGconn, calls: Sequence[Call], kept: set[bytes] | None) -> Mapping[int, bytes]:
    """Send statements, and return the place of each answer that is of preparing one.

    Each place has the statement's name.
    """
    preparing: dict[int, bytes] = {}
    place = 0
    for statement, values in calls:
        formats = [Format.BINARY] * len(values)
        if kept is None:
            pgconn.send_query_params(
                statement.sql, values, param_formats=formats, result_format=Format.BINARY
            )
        else:
            if statement.name not in kept:
                pgconn.send_prepare(statement.name, statement.sql)
                kept.add(statement.name)
                preparing[place] = statement.name
                place += 1
            pgconn.send_query_prepared(
                statement.name, values, param_formats=formats, result_format=Format.BINARY
            )
        place += 1
    pgconn.pipeline_sync()
    return preparing


def _received(pgconn: PGconn) -> list[PGresult]:
    """Return all answers up to the end of the pipeline."""
    poll = select.poll()
    socket = pgconn.socket
    poll.register(socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():
        if poll.poll()[0][1] & ~select.POLLOUT:
            pgconn.consume_input()
    poll.modify(socket, select.POLLIN)
    results: list[PGresult] = []
    was_nothing = False
    while True:
        while pgconn.is_busy():
            poll.poll()
            pgconn.consume_input()
        found = pgconn.get_result()
        if found is None:  # once after each answer
            if was_nothing:
                raise psycopg.OperationalError(pgconn.get_error_message())
            was_nothing = True
            continue
        was_nothing = False
        if found.status == ExecStatus.PIPELINE_SYNC:
            return results
        results.append(found)
