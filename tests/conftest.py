"""A real PostgreSQL for the tests: embedded, or the one that the environment names."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.store.embedded import EmbeddedServer
from tests.support.agencies import Agencies
from tests.support.databases import new_database


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no core waits for it in the end."""
    items.sort(key=lambda item: item.path.parent.name not in ("scenarios", "faults"))


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
def directory() -> Iterator[Path]:
    """A directory that the user of an embedded server may enter too."""
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def database(server: str, agencies: Agencies) -> Iterator[str]:
    """A new database with every migration applied."""
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        yield conninfo


@pytest.fixture
def ledger(database: str, agencies: Agencies) -> Iterator[Ledger]:
    """A ledger that adopted the protocol, with every agency's key registered."""
    with Ledger(environment(database)) as application:
        agencies.begin(application)
        yield application
