"""Other users of the machine reach neither the private database nor what commands write."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ledger.store import embedded
from ledger.store.embedded import EmbeddedServer
from tests.support.databases import new_database
from tests.support.process import environment

_NOBODY = 65534
_only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def long(directory: Path) -> Path:
    return directory / ("a" * 50) / ("b" * 50) / "postgresql"


@contextmanager
def started(directory: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(directory)
    try:
        yield server
    finally:
        server.stop()


def by_another_user(conninfo: str) -> str:
    """Return what another user of this machine is told who connects."""
    reading, writing = os.pipe()
    child = os.fork()  # the interpreter's files may be closed to that user
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            psycopg.connect(conninfo, connect_timeout=5).close()
            said = "connected"
        except BaseException as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        return told.read()


def test_a_long_path_has_its_socket_in_the_data_directory(directory: Path) -> None:
    path = long(directory)
    with started(path) as server:
        host = Path(str(conninfo_to_dict(server.conninfo)["host"]))
        assert len(str(host)) < 100
        assert host.resolve() == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path / ".s.PGSQL.5432").is_socket()
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        host.unlink()  # as a system does that cleans its temporary files
        server.ensure_running()
        psycopg.connect(server.conninfo).close()
    with started(path) as server:  # it starts again
        psycopg.connect(server.conninfo).close()


@_only_root
@pytest.mark.parametrize("make", [lambda d: d / "postgresql", long], ids=["short", "long"])
def test_another_user_is_no_superuser(directory: Path, make: Callable[[Path], Path]) -> None:
    path = make(directory)
    with started(path) as server:
        for path_of in path.parents:
            if path_of.is_relative_to(directory):
                path_of.chmod(0o755)
        assert "Permission denied" in by_another_user(server.conninfo)
        # Even where the directory could be entered, the operating system says who it is.
        path.chmod(0o755)
        try:
            assert "Peer authentication failed" in by_another_user(server.conninfo)
        finally:
            path.chmod(0o700)


def test_a_link_that_is_another_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(directory / "tmp"))
    (directory / "tmp").mkdir()
    path = long(directory)
    path.mkdir(parents=True)
    link = embedded._short_name(path)
    assert link.parent == directory / "tmp"
    link.unlink()
    for plant in (
        lambda: link.symlink_to(directory),
        link.mkdir,
        link.touch,
    ):
        plant()
        with pytest.raises(ValueError, match="is not this user's link"):
            EmbeddedServer(path)
        link.rmdir() if link.is_dir() and not link.is_symlink() else link.unlink()


def test_what_commands_write_is_their_users_alone(server: str, begun: str, tmp_path: Path) -> None:
    with new_database(server, begun) as conninfo:
        write_everything(conninfo, tmp_path)
    written = [
        path
        for top in (tmp_path / "data", tmp_path / "columns", tmp_path / "out")
        for path in (top, *top.rglob("*"))
    ]
    assert len(written) > 10
    assert {p.name: oct(p.stat().st_mode) for p in written if p.stat().st_mode & 0o077} == {}


def write_everything(conninfo: str, tmp_path: Path) -> None:
    """Run commands that write keys, exports and reports, under the most careless umask.

    One process runs all of them: to load the program takes longer than they do.
    """
    env = environment(tmp_path / "data", CASE_LEDGER_DATABASE_URL=conninfo)
    out = tmp_path / "out"
    commands = (
        ("keys", "new", "xk-nac"),
        ("log", "key"),
        ("witness", "key", "ME"),
        ("export", "--parquet", str(tmp_path / "columns")),
        (
            "statistics",
            "publish",
            "--parquet",
            str(tmp_path / "columns"),
            "--by",
            "stage",
            "--out",
            str(out / "tables"),
        ),
    )
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(commands)],
        capture_output=True, text=True, check=False, env=env, umask=0, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


_RUN = """
import json, sys
from api.cli import app

for words in json.loads(sys.argv[1]):
    sys.argv = ["case-ledger", *words]
    try:
        app(prog_name="case-ledger")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{words}: {end.code}")
"""
