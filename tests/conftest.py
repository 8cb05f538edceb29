"""A real PostgreSQL for the tests: embedded, or the one that the environment names."""

import gc
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
from httpx._transports import default as httpx_transports

from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.store.datastore import LedgerDatastore
from ledger.store.embedded import EmbeddedServer
from ledger.system.gc_tuning import collect_seldom
from projections.tables.all_views import VIEWS
from projections.upkeep import runner
from tests.support.agencies import Agencies
from tests.support.databases import name_of, new_database
from tests.support.markers import ProcessGuard, add_markers
from tests.support.serving import serving
from tests.support.story import ToldStory, tell

_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30


_ORDER = (
    "scenarios", "faults", "ledgers", "crosscheck", "browser",
    "projections", "web", "attacks", "api",
)  # fmt: skip
"""Folders whose files take long begin first, so that no core waits for a long file in the end."""
_LONG_FILES = frozenset({"test_case_rules_properties.py", "test_compose.py", "test_auditor.py"})
"""Files of other folders that take more than ten seconds begin with those of the first folder."""


_GUARD = ProcessGuard()


def pytest_configure() -> None:
    """Watch for processes, and keep the collector still while all tests are loaded."""
    _GUARD.install()
    gc.set_threshold(1_000_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_ORDER)}
    last = len(places)
    items.sort(
        key=lambda item: (
            0 if item.path.name in _LONG_FILES else places.get(item.path.parent.name, last)
        )
    )
    for item in items:
        add_markers(item)


def pytest_collection_finish() -> None:
    """Keep the collector from going through all that was loaded, again and again."""
    collect_seldom()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _GUARD.watching(item):
        return (yield)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The connection string of a server in which tests may create databases."""
    named = os.environ.get("CASE_LEDGER_DATABASE_URL")
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-", dir=in_memory()) as directory:
        Path(directory).chmod(0o755)
        embedded = EmbeddedServer(Path(directory) / "postgresql")
        # What a test kills are processes; only a machine that loses power loses unsynced pages.
        with psycopg.connect(embedded.conninfo, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("ALTER SYSTEM SET jit = off")
            # Several nodes that live as long as a process of the tests, with about 30 each.
            connection.execute("ALTER SYSTEM SET max_connections = 400")
        embedded.stop()
        embedded = EmbeddedServer(Path(directory) / "postgresql")
        try:
            yield embedded.conninfo
        finally:
            embedded.stop()


def in_memory() -> Path | None:
    """Return a directory in memory with room for databases, if there is one."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free > _ROOM else None


@pytest.fixture(scope="session")
def agencies() -> Agencies:
    return Agencies()


@pytest.fixture(scope="session", autouse=True)
def views_follow_at_once() -> Iterator[None]:
    """Most tests act once and look: there is nothing to fold together with it."""
    with patch.object(runner, "_GATHER_SECONDS", 0.0):
        yield


@pytest.fixture(scope="session", autouse=True)
def root_certificates_are_read_once() -> Iterator[None]:
    """To read them takes 20 ms of CPU for each client, and no test changes them on its way."""
    create = httpx_transports.create_ssl_context

    @cache
    def context(options: tuple[object, ...], _: tuple[str | None, ...]) -> ssl.SSLContext:
        return create(*options)  # type: ignore[arg-type]

    def made(verify: object = True, cert: object = None, trust_env: bool = True) -> ssl.SSLContext:
        named = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return context((verify, cert, trust_env), named)

    with patch.object(httpx_transports, "create_ssl_context", made):
        yield


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the user of an embedded server may enter too.

    It is in memory where there is room: servers that are set up in it write hundreds of files.
    """
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-", dir=in_memory()) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def migrated(server: str, agencies: Agencies) -> Iterator[str]:
    """The name of a database to copy: every migration is applied, and nothing is in it."""
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        yield name_of(conninfo)


@pytest.fixture(scope="session")
def unfolded(server: str, migrated: str, agencies: Agencies) -> Iterator[str]:
    """Another to copy, where the protocol is adopted and every agency's key registered.

    The views are empty.
    """
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as application:
            agencies.begin(application)
        yield name_of(conninfo)


@pytest.fixture(scope="session")
def begun(server: str, unfolded: str) -> Iterator[str]:
    """The same, with all of it in the views: a node over a copy of it starts in less time."""
    with new_database(server, unfolded) as conninfo:
        _fold_views(conninfo)
        yield name_of(conninfo)


@pytest.fixture(scope="session")
def told_story(server: str, begun: str, agencies: Agencies) -> Iterator[ToldStory]:
    """The demonstration's story, told once: that takes two seconds of CPU, and to copy it 0.05."""
    with new_database(server, begun) as conninfo, tempfile.TemporaryDirectory() as kept:
        with serving(conninfo, agencies) as node:
            told = tell(node)
            directory = node.settings.data_directory
            for name in ("erase", "search_index", "check_vaults"):
                node.worker(name).wait_for_step()
            keys = Path(kept) / "keys"
            shutil.copytree(directory, keys)
        yield ToldStory(name_of(conninfo), keys, told)


def _fold_views(conninfo: str) -> None:
    """Fold all that is recorded into every view."""
    datastore = LedgerDatastore(conninfo, pool_size=2, role=runner.PROJECTOR_ROLE)
    try:
        pages = runner.PageFolder(datastore, VIEWS.values())
        while pages.step():
            pass
    finally:
        datastore.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, server: str, migrated: str) -> Iterator[str]:
    """A new database with every migration applied; what ``ledger`` is in, for who asks for both."""
    has_begun = "ledger" in request.fixturenames
    template = request.getfixturevalue("begun") if has_begun else migrated
    with new_database(server, template) as conninfo:
        yield conninfo


@pytest.fixture
def ledger(database: str) -> Iterator[Ledger]:
    """A ledger that adopted the protocol, with every agency's key registered."""
    with Ledger(environment(database)) as application:
        yield application
