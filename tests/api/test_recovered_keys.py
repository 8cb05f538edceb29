"""`keys recover`, as the coordinators of the other parties run it against a served ledger."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from ledger.procedure import key_recovery
from ledger.signing import keys
from tests.support.serving import Server

LOST = "xk-nac"


class Commands:
    """Runs `case-ledger keys` with the keys of the served agencies."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._env = {
            "CASE_LEDGER_DATA_DIRECTORY": str(directory / "data"),
            "CASE_LEDGER_URL": server.url,
        }

    def __call__(self, *words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["keys", *words, "--json"], env=self._env)
        assert done.exit_code == code, done.output
        if code != 0:
            return done.output
        # The server is in this process too, and writes its log to the same place.
        (line,) = (one for one in done.stdout.splitlines() if one[:1] in "[{")
        return json.loads(line)

    def of(self, agency: str, *words: str, code: int = 0) -> Any:
        """Run a command as an agency, with the key that it has registered."""
        path = self._directory / f"{agency}.jwk"
        if not path.exists():
            keys.save(self._server.agencies.keys[agency], path)
        return self(words[0], "-a", agency, "--key", str(path), *words[1:], code=code)

    def ids(self, agency: str) -> set[str]:
        (listed,) = (one for one in self.of("me-nac", "list") if one["id"] == agency)
        return {key["id"] for key in listed["keys"]}


def test_a_coordinator_that_lost_every_key_gets_another_by_the_other_parties_commands(
    served: Server, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Commands(served, directory)
    made = run("new", LOST, "--file", str(directory / "new.jwk"))
    recover = ("recover", LOST, made["public"])
    first = run.of("me-nac", *recover)["position"]
    assert run.of("al-nac", *recover)["position"] == first + 1
    # Everyone signed, and the days are not over.
    assert made["key_id"] not in run.ids(LOST)
    assert "other-parties-coordinators" in run.of(LOST, *recover, code=2)
    other = run("new", "xk-dhtqnj", "--file", str(directory / "other.jwk"))
    assert "xk-dhtqnj, not of" in run.of("me-nac", "recover", LOST, other["public"], code=1)
    monkeypatch.setattr(key_recovery, "GRACE", timedelta(milliseconds=1))
    run.of("al-nac", *recover)
    assert made["key_id"] in run.ids(LOST)
    # With it the coordinator registers keys again, and revokes the lost one.
    words = ("--key", str(directory / "new.jwk"), "-a", LOST)
    run("register", *words, "xk-dhtqnj", other["public"])
    assert other["key_id"] in run.ids("xk-dhtqnj")
    lost = keys.key_id(served.agencies.keys[LOST])
    run("revoke", *words, lost)
    assert "revoked" in run.of(LOST, "register", "xk-dhtqnj", other["public"], code=2)
