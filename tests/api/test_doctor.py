"""`case-ledger doctor` names each broken state, and a sound node has none.

The node that it asks is played: a real one cannot be made to lag at will.
"""

import json
import os
import sys
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from pydantic import SecretStr

from api.cli.steps.doctor_checks import CHECKS, Examination, State, examine
from api.keys.log_keys import log_key, witness_key
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.log.policy import Policy, TrustedWitness
from ledger.system import clock, zones
from ledger.system.version import program_version

NOWHERE = "http://127.0.0.1:9"


class _Answers(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        path = "checkpoint" if self.path.endswith("/checkpoint") else self.path.strip("/")
        content = self.answers[path]
        body = content if isinstance(content, str) else json.dumps(content)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Node:
    """A played node, and the settings, the environment and the backup of its operator."""

    settings: Settings
    url: str
    answers: dict[str, Any]
    backup: Path
    environ: dict[str, str] = field(default_factory=dict)

    def examined(self, **settings: object) -> Examination:
        return examine(self.settings.model_copy(update=settings), self.url, self.environ)

    @property
    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = self.answers["ready"]
        return found


@pytest.fixture
def node(ledger: Ledger, database: str, tmp_path: Path) -> Iterator[Node]:
    head = ledger.head()
    answers = {
        "health": {"status": "alive", "version": program_version()},
        "ready": {
            "status": "ready",
            "head": head,
            "views": {"case_views": head, "obligations": head},
            "published": head,
            "worked_at": clock.now().isoformat(),
            "troubles": [],
        },
    }
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Answers", (_Answers,), {"answers": answers})
    )
    url = f"http://127.0.0.1:{server.server_port}"
    backup = tmp_path / "backup"
    (backup / "wal").mkdir(parents=True)
    (backup / "wal" / "000000010000000000000003.partial").touch()
    (backup / "base-20261201T000000Z").mkdir()
    (backup / "base-20261201T000000Z" / "backup_manifest").touch()
    last = {"holds": True, "began_at": clock.now().isoformat()}
    (backup / "last-drill.json").write_text(json.dumps(last))
    settings = Settings(
        database_url=SecretStr(database),
        data_directory=tmp_path / "node",
        countries=(),
        backup_directory=backup,
        policy=tmp_path / "policy",
        disk_low_mebibytes=1,
    )
    log = log_key(settings)
    witness = witness_key(Settings(data_directory=tmp_path / "me", countries=("ME",)), "ME")
    text = str(Checkpoint(settings.origin, head, bytes(32)))
    answers["checkpoint"] = str(Note(text, (log.sign(text), witness.sign(text))))
    trusted = {"me": TrustedWitness(witness.verifier, f"{url}/witness/me")}
    (tmp_path / "policy").write_text(str(Policy.of(log.verifier, trusted)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Node(settings, url, answers, backup)
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _without_zones() -> Iterator[None]:
    before = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath(to=[])
        zoneinfo.ZoneInfo.clear_cache()
        zones._zone.cache_clear()
        # A part of the package that was imported before would still be found by its own name.
        parts = {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}
        with patch.dict("sys.modules", dict.fromkeys(parts)):
            yield
    finally:
        zoneinfo.reset_tzpath(to=before)
        zones._zone.cache_clear()


def _faults(found: Examination) -> dict[str, State]:
    """Return each check that is not well, by name."""
    return {one.check: one.state for one in found.findings if one.state is not State.OK}


def _said(found: Examination, check: str) -> str:
    (one,) = [one for one in found.findings if one.check == check]
    assert one.do, "a fault says what to do"
    return f"{one.state}: {one.what}"


def test_each_broken_state_is_named(node: Node, tmp_path: Path) -> None:
    # The server of the tests waits for no disk, and has no standby.
    sound = {"durability": State.BROKEN, "standby": State.WARNING}
    assert _faults(node.examined()) == sound
    assert {one.check for one in node.examined().findings} == {*CHECKS} - {"ledger-node"}

    def named(check: str, *texts: str, state: str = "broken", **settings: object) -> None:
        said = _said(node.examined(**settings), check)
        assert said.startswith(state), said
        assert [text for text in texts if text not in said] == []

    named("durability", "fsync")
    named("disk", "almost full", disk_low_mebibytes=10**9)
    named("database", database_url=SecretStr("host=127.0.0.1 port=9 dbname=case_ledger"))
    named("keys", "log", data_directory=tmp_path / "another")
    named("backup", "no base backup", backup_directory=tmp_path)

    node.environ["CASE_LEDGER_WITNES_URL"] = "x"
    named("settings", "CASE_LEDGER_WITNES_URL")
    node.environ.clear()

    node.answers["health"]["version"] = "0.0.1"
    named("node", "0.0.1", state="warning")
    node.answers["health"]["version"] = program_version()

    trouble = {"rule": "views-differ", "effect": "not-ready", "message": "Two rows differ."}
    node.ready["troubles"] = [trouble]
    named("trouble views-differ", "Two rows differ.")
    node.ready["troubles"] = []

    node.ready["views"]["obligations"] -= 3
    named("views", "obligations by 3", state="warning")
    node.ready["worked_at"] = (clock.now() - timedelta(minutes=5)).isoformat()
    named("worker")
    node.ready["worked_at"] = clock.now().isoformat()

    policy = tmp_path / "policy"
    text = policy.read_text()
    policy.write_text(text.replace(f"{node.url}/", f"{NOWHERE}/"))
    named("witnesses", "away: me", state="warning")
    policy.write_text(text)

    manifest = node.backup / "base-20261201T000000Z" / "backup_manifest"
    ten_days_ago = clock.now().timestamp() - 10 * 86400
    os.utime(manifest, (ten_days_ago, ten_days_ago))
    named("backup", "10 days")
    (node.backup / "last-drill.json").write_text(
        json.dumps({"holds": False, "began_at": clock.now().isoformat()})
    )
    named("drill", "failed")

    key = node.settings.key_directory / "log.jwk"
    key.chmod(0o644)
    named("keys", "others may read")
    key.write_text("{}")
    named("keys", "cannot be read")

    later = clock.now() + timedelta(minutes=3)
    with patch.object(clock, "now", lambda: later):
        named("clock", "the database by 1")
    with _without_zones():
        named("time-zones", "Europe/Tirane")
    node.url = NOWHERE
    named("node", "no node answers")


def test_a_database_that_is_not_migrated_is_named(server: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(server), data_directory=tmp_path, countries=())
    assert _said(examine(settings, NOWHERE, {}), "schema").startswith("broken")
