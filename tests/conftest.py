"""A real PostgreSQL for the tests: embedded, or the one that the environment names."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from api.schema import migrate_all
from ledger import signing
from ledger.application import Ledger, environment
from ledger.store.embedded import EmbeddedServer
from tests.support.agencies import Agencies


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The connection string of a server in which tests may create databases."""
    named = os.environ.get("CASE_LEDGER_DATABASE_URL")
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-") as directory:
        Path(directory).chmod(0o755)
        embedded = EmbeddedServer(Path(directory) / "postgresql")
        try:
            yield embedded.conninfo
        finally:
            embedded.stop()


@pytest.fixture(scope="session")
def agencies() -> Agencies:
    return Agencies()


@pytest.fixture
def database(server: str, agencies: Agencies) -> Iterator[str]:
    """A new database with every migration applied."""
    name = f"case_ledger_test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    conninfo = make_conninfo(server, dbname=name)
    migrate_all(conninfo, agencies.protocol)
    try:
        yield conninfo
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def ledger(database: str, agencies: Agencies) -> Iterator[Ledger]:
    """A ledger that adopted the protocol, with every agency's key registered."""
    with Ledger(environment(database)) as application:
        for signed in (agencies.adoption(), *agencies.registrations()):
            application.append_to_registry(signing.read(signed))
        yield application
