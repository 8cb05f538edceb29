"""The database of a node: the one that is named, or an embedded one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from api.runtime.practice_directory import check_no_practice
from api.runtime.schema import needed_roles
from api.runtime.settings import Settings
from ledger.refusals import OperatorError
from ledger.store.database import APP_ROLE, ServerTooOldError, check_server
from ledger.system.extras import how_to_install
from ledger.system.periodic_worker import PeriodicWorker

if TYPE_CHECKING:
    from ledger.store.embedded import EmbeddedServer

DATABASE = "case_ledger"
_LOOK_SECONDS = 0.5
_log = structlog.get_logger(__name__)


class StoreError(OperatorError):
    """There is no usable database; the message says what to do."""


@dataclass(frozen=True, slots=True)
class NodeDatabase:
    """The addresses of the database, for the application and for the owner."""

    conninfo: str
    owner_conninfo: str
    server: "EmbeddedServer | None" = None
    """Unless it is one that is named."""

    @property
    def embedded(self) -> bool:
        return self.server is not None

    def look_after(self) -> None:
        """Start an embedded server again where it is gone."""
        try:
            if self.server is not None and self.server.ensure_running():
                _log.warning("the embedded PostgreSQL had stopped and was started again")
        except Exception as error:
            _log.error("the embedded PostgreSQL cannot be started", error=type(error).__name__)


@contextmanager
def open_store(
    settings: Settings,
    *,
    database: str | None = None,
    watch: bool = True,
    practice: bool = False,
) -> Iterator[NodeDatabase]:
    """Open the store for as long as the block runs.

    ``database`` picks another database of the same server. An embedded server is started if none
    runs yet, and started again if it dies: by a thread if ``watch`` is true, or else by the code
    that calls :meth:`NodeDatabase.look_after` now and then. Raises ``StoreError``, and
    ``PracticeError`` for the directory of a practice ledger, which only ``practice`` opens.
    """
    if not practice:
        check_no_practice(settings.data_directory)
    if settings.database_url is not None:
        named = settings.database_url.get_secret_value()
        owner = (settings.owner_database_url or settings.database_url).get_secret_value()
        if database is not None:
            named, owner = (make_conninfo(url, dbname=database) for url in (named, owner))
        yield NodeDatabase(named, owner)
        return
    server = _embedded_server(settings.data_directory / "postgresql")
    try:
        create_database(server.conninfo, database or DATABASE)
        conninfo = make_conninfo(server.conninfo, dbname=database or DATABASE)
        store = NodeDatabase(conninfo, conninfo, server)
        with _watched(store) if watch else nullcontext():
            yield store
    finally:
        server.stop()


def _embedded_server(directory: Path) -> "EmbeddedServer":
    """Start the embedded server. Raises ``StoreError`` where it is not installed."""
    try:
        from ledger.store.embedded import EmbeddedServer
    except ModuleNotFoundError as missing:
        raise StoreError(
            "no database is named, and the private PostgreSQL is not installed. Name one in"
            f" CASE_LEDGER_DATABASE_URL, or {how_to_install(missing)}"
        ) from None
    return EmbeddedServer(directory)


def create_database(conninfo: str, name: str, *, anew: bool = False) -> None:
    """Create database ``name`` where it is missing; with ``anew``, drop it first.

    Raises ``StoreError`` where the login may not, or the server does not answer.
    """
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            check_server(connection)
            if anew:
                connection.execute(
                    SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
                )
            exists = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if exists.fetchone() is None:
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    except ServerTooOldError as error:
        raise StoreError(str(error)) from error
    except psycopg.OperationalError as error:
        raise StoreError(f"the database server does not answer: {error}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(f"the login may not create the database {name}") from error


def check_migrated(conninfo: str, parties: Iterable[str]) -> None:
    """Check that the tables exist and that the login may use them.

    Raises ``StoreError`` if not.
    """
    roles = (*needed_roles(sorted(parties)), APP_ROLE)
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as connection:
            check_server(connection)
            for role in roles:
                connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
            connection.execute("SELECT FROM access.used_assertions LIMIT 0")
            connection.execute("SELECT FROM access.assertions LIMIT 0")
            connection.execute("SELECT FROM access.sessions LIMIT 0")
            connection.execute("SELECT FROM notifications.outbox LIMIT 0")
            connection.execute("SELECT FROM node.work LIMIT 0")
            connection.execute("SELECT FROM views.projections LIMIT 0")
            connection.execute("SELECT FROM ledger.events LIMIT 0")
            connection.execute("SELECT FROM log.signed LIMIT 0")
            connection.execute("SELECT FROM log.tails LIMIT 0")
    except ServerTooOldError as error:
        raise StoreError(str(error)) from error
    except psycopg.OperationalError as error:
        raise StoreError(f"the database does not answer: {error}") from error
    except psycopg.ProgrammingError as error:
        raise StoreError(
            "the database is not migrated for this login; run `case-ledger migrate` as its "
            f"owner, with --grant-to for the API's login ({type(error).__name__})"
        ) from error


@contextmanager
def _watched(store: NodeDatabase) -> Iterator[None]:
    watchdog = PeriodicWorker(
        "watchdog", store.look_after, every=_LOOK_SECONDS, first_after=_LOOK_SECONDS
    )
    with watchdog:
        yield
