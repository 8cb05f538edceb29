"""Arrays packed by us are what PostgreSQL and its driver read back."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from ledger.store.postgres_arrays import Bigints, Byteas, Texts, Uuids
from ledger.store.postgres_values import (
    bigint,
    boolean,
    moment,
    read_bigint,
    read_boolean,
    read_moment,
)
from ledger.store.prepared import BEGIN, COMMIT, Call, Prepared, run

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@pytest.fixture(scope="module")
def connection(server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server, autocommit=True) as connected:
        yield connected


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    uuids=st.lists(st.uuids()),
    bigints=st.lists(st.integers(-(2**63), 2**63 - 1)),
    texts=st.lists(_TEXT | st.none()),
    byteas=st.lists(st.binary()),
)
def test_arrays_come_back_as_they_were(
    connection: psycopg.Connection, uuids: list, bigints: list, texts: list, byteas: list
) -> None:
    row = connection.execute(
        "SELECT %b::uuid[], %b::bigint[], %b::text[], %b::bytea[]",
        (Uuids(uuids), Bigints(bigints), Texts(texts), Byteas(byteas)),
        prepare=True,
    ).fetchone()
    assert row is not None
    assert row[:3] == (uuids, bigints, texts)
    assert [bytes(item) for item in row[3]] == byteas


def test_a_statement_that_the_driver_forgot_is_prepared_again(server: str) -> None:
    """The driver removes all prepared statements of a connection after it rolled back."""
    statement = Prepared(b"one", b"SELECT $1::bigint, $2::boolean, $3::timestamptz")
    at = datetime(2026, 12, 1, 9, 30, 0, 123_456, tzinfo=UTC)
    call = Call(statement, (bigint(-5), boolean(True), moment(at)))
    with psycopg.connect(server, autocommit=True) as connection:
        for _ in range(2):
            (found,) = run(connection, (call,))
            assert read_bigint(found.get_value(0, 0)) == -5
            assert read_boolean(found.get_value(0, 1))
            assert read_moment(found.get_value(0, 2)) == at
            connection.execute("DEALLOCATE ALL")
        with connection.transaction(force_rollback=True):
            run(connection, (call,), keep=False)
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                run(connection, (call,))


def test_a_failed_statement_takes_back_those_before_and_leaves_the_connection_usable(
    server: str,
) -> None:
    make = Call(Prepared(b"make", b"CREATE TEMPORARY TABLE made (n integer)"))
    fail = Call(Prepared(b"fail", b"SELECT 1 / $1::bigint"), (bigint(0),))
    later = Call(Prepared(b"later", b"SELECT count(*) FROM made"))
    with psycopg.connect(server, autocommit=True) as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.DivisionByZero):
                run(connection, (BEGIN, make, fail, later, COMMIT))
            assert connection.info.transaction_status is TransactionStatus.IDLE
        run(connection, (BEGIN, make, later, COMMIT))
        with psycopg.connect(server, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            run(connection, (later,))
        assert connection.closed
