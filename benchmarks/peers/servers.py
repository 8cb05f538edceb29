"""The PostgreSQL servers that stores are measured on, and a directory for all data.

There are two: the embedded one that the case ledger brings, and one that is installed on the
machine, for what the embedded one lacks. Both are private: sockets in their own directories, and
no TCP port. Settings are PostgreSQL's own defaults.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from ledger.store.embedded import EmbeddedServer

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings that must be on for a commit to be durable, a torn page included."""
_PORT = 54329  # names the socket alone
_PATIENCE_SECONDS = 30.0


class Server(Protocol):
    """A PostgreSQL server, started when it is first needed."""

    name: str

    def available(self) -> str | None: ...

    @property
    def conninfo(self) -> str: ...

    def stop(self) -> None: ...


class Embedded:
    """The server that comes with the case ledger."""

    name = "embedded PostgreSQL"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def available(self) -> str | None:
        return None

    @cached_property
    def _server(self) -> EmbeddedServer:
        return EmbeddedServer(self._directory)

    @property
    def conninfo(self) -> str:
        return self._server.conninfo

    def stop(self) -> None:
        if "_server" in self.__dict__:
            self._server.stop()


class Installed:
    """A server of an installed PostgreSQL that has an extension which the embedded one lacks."""

    name = "installed PostgreSQL"

    def __init__(self, directory: Path, extension: str) -> None:
        self._directory = directory
        self._extension = extension
        self._process: subprocess.Popen[bytes] | None = None

    def available(self) -> str | None:
        if self._binaries is None:
            return (
                f"no PostgreSQL with {self._extension} is installed; on Debian:"
                " apt-get install postgresql, or run with --install"
            )
        return None

    @cached_property
    def _binaries(self) -> Path | None:
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"),
            key=lambda path: float(path.parent.name),
            reverse=True,
        )
        if on_path := shutil.which("initdb"):
            found.append(Path(on_path).resolve().parent)
        for binaries in found:
            asked = [binaries / "pg_config", "--sharedir"]
            if not (binaries / "initdb").exists() or not Path(asked[0]).exists():
                continue
            shared = subprocess.run(asked, capture_output=True, text=True, check=True)
            if (Path(shared.stdout.strip()) / f"extension/{self._extension}.control").exists():
                return binaries
        return None

    @property
    def conninfo(self) -> str:
        if self._process is None:
            self._start()
        return make_conninfo(
            host=str(self._directory), port=_PORT, user="postgres", dbname="postgres"
        )

    def _start(self) -> None:
        if self._binaries is None:
            raise RuntimeError(self.available())
        data = self._directory / "data"
        data.mkdir(parents=True)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = _unprivileged()
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            for path in (self._directory, data):
                os.chown(path, account.pw_uid, account.pw_gid)
        made = [
            self._binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=self._directory, **user)
        served = [self._binaries / "postgres", "-D", data, "-k", self._directory]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*served, "-p", str(_PORT), "-c", "listen_addresses="],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,  # it ends with stop(), and not with a key pressed before
                **user,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # disconnects clients and shuts down
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None


class Servers:
    """Both servers and their directory. All ends on exit."""

    def __init__(self, under: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="case-ledger-bench-", dir=under))
        self.directory.chmod(0o755)  # servers run as accounts of their own
        self.embedded = Embedded(self.directory / "embedded")
        self.installed = Installed(self.directory / "installed", "pgcrypto")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.embedded.stop()
        self.installed.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def create_database(server: str, name: str, template: str = "template1") -> str:
    """Make a database anew. Returns its connection string."""
    drop_database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
        )
    return make_conninfo(server, dbname=name)


def drop_database(server: str, name: str) -> None:
    """Remove a database, if there is one.

    PostgreSQL makes a checkpoint first, so that pages of one store do not slow down the next.
    """
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def durable_settings(conninfo: str) -> str:
    """Return the server's settings of durability. Raises ``RuntimeError`` if it has none."""
    with psycopg.connect(conninfo) as connection:
        said = {name: _setting(connection, name) for name in (*DURABLE, "wal_sync_method")}
    if any(said[name] != "on" for name in DURABLE):
        raise RuntimeError(f"this server's commits are not durable: {said}")
    return "PostgreSQL says: " + ", ".join(f"{name} = {value}" for name, value in said.items())


def server_version(conninfo: str) -> str:
    """Such as ``PostgreSQL 18.1``."""
    with psycopg.connect(conninfo) as connection:
        said = re.split(r"[ (]", _setting(connection, "server_version"))[0]
    return f"PostgreSQL {said}"


def _setting(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else "?"


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("there is no unprivileged account to run PostgreSQL as")
