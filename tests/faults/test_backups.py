"""A backup is worth what a restored copy shows, and a failover what the standby has.

An archive of WAL segments lacks the segment that is not full yet. The documented ways have each
acknowledged event: a synchronous receiver of the WAL, and a synchronous standby.
``CASE_LEDGER_TEST_FAILOVERS`` says how many times in a row the primary is killed under load.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.client import LedgerClient, RefusedError, WaitingError
from api.client.schemas import Receipt
from api.demo.forked import Forked, run
from api.demo.machines import Machine
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from tests.conftest import in_memory
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.clusters import (
    BINARIES,
    USER,
    Cluster,
    as_server,
    make_directory,
    running,
)
from tests.support.clusters import environment as with_programs
from tests.support.waiting import until

SCRIPT = Path(__file__).parents[2] / "deploy" / "backup" / "case-ledger-backup"
FAILOVERS = int(os.environ.get("CASE_LEDGER_TEST_FAILOVERS", "1"))
NAME = "zqNobodysName"


@dataclass
class World:
    """A node of all countries on a PostgreSQL of its own."""

    directory: Path
    primary: Cluster
    agencies: Agencies
    node: Machine
    receipts: list[Receipt] = field(default_factory=list)

    def client(self, patience: float = 60) -> LedgerClient:
        return LedgerClient(
            self.node.url,
            agency="xk-dhtqnj",
            key=self.agencies.keys["xk-dhtqnj"],
            protocol=self.agencies.protocol.id,
            patience=patience,
        )

    def open_cases(self, number: int) -> None:
        with self.client() as police:
            for _ in range(number):
                action = opening(("XK", "ME"), first_name=NAME, second_name=NAME)
                self.receipts.append(police.open_case(action))

    def lost(self, cluster: Cluster) -> list[Receipt]:
        """The receipts whose event a server does not have at the receipt's position."""
        with psycopg.connect(cluster.conninfo()) as connection:
            rows = connection.execute("SELECT notification_id, action_id FROM ledger.events")
            there = dict(rows.fetchall())
        return [one for one in self.receipts if there.get(one.position) != one.action_id]

    def drill(self, *words: object) -> tuple[int, dict[str, Any]]:
        """Run the drill, and return its exit code and its report."""
        asked = ("backup", "drill", *map(str, words), "--programs", str(BINARIES), "--json")
        # PGPORT is that of the node's own server, as on a machine that backs up too.
        ports = {"CASE_LEDGER_PORT": str(self.node.port), "PGPORT": "5499"}
        done = run(asked, {**self.node.environment(), **ports})
        assert done.stdout, done.stderr
        assert NAME not in done.stdout + done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, report


@pytest.fixture
def world(agencies: Agencies) -> Iterator[World]:
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="case-ledger-backups-", dir=in_memory())
        name = stack.enter_context(made)
        directory = Path(name)
        directory.chmod(0o755)
        archive = make_directory(directory / "archive")
        archiving = (
            f"archive_mode = on\narchive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'\n"
        )
        primary = stack.enter_context(running(directory / "primary", archiving))
        migrate_all(primary.conninfo(), agencies.protocol)
        with Ledger(environment(primary.conninfo())) as ledger:
            agencies.begin(ledger)
        node = Machine(directory / "node")
        node.settings["database_url"] = primary.conninfo()
        stack.callback(node.stop)
        yield World(directory, primary, agencies, node)


def test_the_drill_fails_without_the_last_segment_and_passes_on_the_documented_way(
    world: World,
) -> None:
    directory, primary, node = world.directory, world.primary, world.node
    old = directory / "old-base"
    source = f"host=127.0.0.1 port={primary.port} user=postgres"
    as_server(BINARIES / "pg_basebackup", "-D", make_directory(old), "-d", source, "-c", "fast",
              "-X", "stream", "--no-sync")  # fmt: skip
    backup = make_directory(directory / "backup")
    given = {
        "CASE_LEDGER_BACKUP_DIRECTORY": str(backup),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(primary.port),
        "PGUSER": "postgres",
    }
    with (directory / "backup.log").open("wb") as log:
        following = subprocess.Popen(
            [SCRIPT, "follow"], env=with_programs(**given), cwd="/", stdout=log, stderr=log, **USER
        )
    try:
        until(lambda: _checks(given), (directory / "backup.log").read_text)
        primary.set("synchronous_standby_names", "FIRST 1 (case_ledger_backup)")
        node.start()
        until((node.keys / "history-mark").exists, "the mark")
        shutil.copytree(node.keys, directory / "earlier-keys")
        world.open_cases(6)
        until(lambda: node.ready()["published"] >= world.receipts[-1].position, "published")
        shutil.copytree(node.keys, directory / "keys")

        code, told = world.drill(
            "--base", old, "--wal", directory / "archive", "--keys", directory / "earlier-keys"
        )
        assert (code, set(fails := _failing(told))) == (3, {"complete"})
        assert told["events"] > 50
        assert told["lost_events"] >= 6
        assert told["events"] + told["lost_events"] == world.receipts[-1].position
        assert f"{told['lost_events']} events are lost" in fails["complete"]

        code, told = world.drill(backup, "--keys", directory / "keys")
        assert (code, _failing(told), told["lost_events"]) == (0, {}, 0)
        assert told["events"] == world.receipts[-1].position
        assert told["fields_opened"] > 6
        assert {one["source"] for one in told["known"]} == {"node", "mark"}
        assert [step["name"] for step in told["steps"]] == [
            "restored", "schema", "ledger", "keys", "vaults", "fields", "complete",
        ]  # fmt: skip

        _stopped_drill_leaves_nothing(world, backup, directory / "keys")

        # The machine is gone, with the node on it, and only an older copy of the keys is left.
        following.terminate()
        following.wait(30)
        node.kill()
        primary.kill()
        code, told = world.drill(backup, "--keys", directory / "earlier-keys")
        assert (code, set(_failing(told))) == (3, {"keys", "vaults", "fields"})
        assert told["persons_without_key"] == 6
        assert told["events"] == world.receipts[-1].position
    finally:
        following.terminate()  # a kill would leave its receiver behind
        following.wait(30)


def _failing(told: dict[str, Any]) -> dict[str, str]:
    """Return what each failing step of a drill found."""
    return {step["name"]: step["what"] for step in told["steps"] if not step["holds"]}


def _stopped_drill_leaves_nothing(world: World, backup: Path, keys: Path) -> None:
    """Stop a drill by SIGTERM, as systemd does, once its server runs."""
    scratch = world.directory / "scratch"
    scratch.mkdir(mode=0o711)
    words = ("backup", "drill", backup, "--keys", keys, "--programs", BINARIES,
             "--scratch", scratch)  # fmt: skip
    environment = world.node.environment() | {"CASE_LEDGER_PORT": str(world.node.port)}
    said = world.directory / "stopped.log"
    command = Forked([str(word) for word in words], environment, out=said, err=said)

    def pids() -> list[int]:
        files = scratch.glob("*/data/postmaster.pid")
        return [int(file.read_text().splitlines()[0]) for file in files if file.stat().st_size]

    until(pids, said.read_text)
    (server,) = pids()
    before = {path.name for path in Path("/dev/shm").glob("case-ledger-drill-keys-*")}
    assert before
    command.send_signal(signal.SIGTERM)
    assert command.wait(60) == 128 + signal.SIGTERM, said.read_text()
    assert list(scratch.iterdir()) == []
    # Without its directory a server ends by itself, but only after a minute.
    until(lambda: not _runs(server), "the server still runs", seconds=20)
    left = {path.name for path in Path("/dev/shm").glob("case-ledger-drill-keys-*")}
    assert len(left & before) < len(before)  # drills of other runs may be under way


def _runs(pid: int) -> bool:
    """Return true for a process that was not ended; a zombie waits for its parent alone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _checks(given: dict[str, str]) -> bool:
    done = subprocess.run(
        [SCRIPT, "check"], env=with_programs(**given), cwd="/", capture_output=True, **USER
    )
    return done.returncode == 0


def test_a_synchronous_standby_has_all_that_was_acknowledged_when_the_primary_is_killed(
    world: World,
) -> None:
    primary, standby = world.primary, Cluster(world.directory / "standby-0")
    ports = {0: primary.port, 1: standby.port}
    world.node.settings["database_url"] = make_conninfo(
        "",
        host="127.0.0.1,127.0.0.1",
        port=",".join(map(str, ports.values())),
        user="postgres",
        dbname="case_ledger",
        target_session_attrs="read-write",
    )
    stopping = threading.Event()
    lock = threading.Lock()

    def load() -> None:
        with world.client() as police:
            while not stopping.is_set():
                case_id, action = uuid4(), opening(("XK", "ME"), first_name=NAME)
                signed = police.sign(action, case_id)
                try:
                    receipt = police.send(signed, case_id, 0)
                except (RefusedError, WaitingError, OSError):
                    continue  # not acknowledged
                with lock:
                    world.receipts.append(receipt)

    def acknowledged(more: int) -> None:
        with lock:
            seen = len(world.receipts)
        until(lambda: len(world.receipts) >= seen + more, world.node.said)

    clients = [threading.Thread(target=load) for _ in range(3)]
    try:
        for number in range(FAILOVERS):
            standby.copy_of(primary, "standby")
            standby.start()
            if number == 0:
                # On both: the promoted server acknowledges nothing that it alone has.
                for server in (standby, primary):
                    server.set("synchronous_standby_names", "FIRST 1 (standby)")
                until(primary.is_synchronous, "synchronous")
                world.node.start()
                for one in clients:
                    one.start()
            acknowledged(20)
            primary.kill()
            standby.promote()
            with lock:
                assert world.lost(standby) == []
            shutil.rmtree(primary.data)
            replaced = Cluster(world.directory / f"standby-{number + 1}")
            replaced.port = primary.port
            primary, standby = standby, replaced
        # The promoted server acknowledges once it has a standby again.
        standby.copy_of(primary, "standby")
        standby.start()
        acknowledged(5)
    finally:
        stopping.set()
        for one in clients:
            if one.is_alive():
                one.join(90)
        world.node.kill()
        for cluster in (primary, standby):
            cluster.kill()
    assert len(world.receipts) >= 20 * FAILOVERS
