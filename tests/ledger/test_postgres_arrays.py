"""Arrays packed by us are what PostgreSQL and its driver read back."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.store.postgres_arrays import Bigints, Byteas, Texts, Uuids

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
