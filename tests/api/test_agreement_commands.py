"""The agreement by commands, on a running node: read, compare, propose, accept, decline, use."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli.main import app
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import shipped_protocol
from ledger.signing import keys
from tests.support.agencies import Agencies
from tests.support.serving import Server

SHELTER = {
    "id": "me-new-shelter",
    "name": "A new shelter",
    "party": "ME",
    "role": "shelter",
    "city": "Podgorica",
}


class Commands:
    """Runs commands as one agency or another against a served ledger."""

    def __init__(self, served: Server, agencies: Agencies, directory: Path) -> None:
        self.served, self.agencies, self.directory = served, agencies, directory
        self.runner = CliRunner(env={"CASE_LEDGER_DATA_DIRECTORY": str(directory / "data")})

    def run(self, *args: str, agency: str = "xk-nac", code: int = 0) -> Result:
        key = self.directory / f"{agency}.jwk"
        if not key.exists():
            keys.save(self.agencies.keys[agency], key)
        asked = ["--agency", agency, "--key", str(key), "--url", self.served.url]
        done = self.runner.invoke(app, ["protocol", args[0], *args[1:], *asked])
        assert done.exit_code == code, done.output
        return done

    def json(self, *args: str, agency: str = "xk-nac") -> dict[str, object]:
        told = printed(self.run(*args, "--json", agency=agency).stdout)
        assert isinstance(told, dict)
        return told


def printed(output: str) -> object:
    """The JSON that a command printed, without the lines that the server logs beside it."""
    lines = [line for line in output.splitlines() if "[info" not in line]
    return json.loads("\n".join(lines))


@pytest.fixture
def commands(served: Server, agencies: Agencies, tmp_path: Path) -> Commands:
    return Commands(served, agencies, tmp_path)


def test_a_shelter_is_proposed_read_accepted_and_in_force(
    commands: Commands, tmp_path: Path
) -> None:
    told = text_of(shipped_protocol())
    file = tmp_path / "next.json"
    changed = told | {"version": 2, "agencies": [*told["agencies"], SHELTER]}
    file.write_text(json.dumps(changed), encoding="utf-8")

    said = commands.run("diff", str(file)).output
    assert "New agency of Montenegro: A new shelter (me-new-shelter), as Shelter." in said
    assert "Version 1, in force" in commands.run("show").output

    proposed = commands.json("propose", str(file), "--reason", "It opens in March.")["action_id"]
    assert isinstance(proposed, str)
    by_another = commands.run("diff", "--proposal", proposed, "-l", "cnr", agency="al-nac").output
    assert "Nova institucija" in by_another
    assert "missing: AL, ME" in commands.run("history").output

    refused = commands.run("accept", proposed, "--digest", "0" * 64, agency="me-nac", code=1)
    assert "do not accept it" in refused.output
    commands.run("accept", proposed, "--yes", agency="me-nac")
    assert "Version 1, in force" in commands.run("show").output
    assert "adopted" in commands.run("accept", proposed, "--yes", agency="al-nac").output
    assert "Version 2, in force" in commands.run("show").output
    assert printed(commands.run("show", "--text").stdout) == changed
    history = commands.json("history")
    assert [one["version"] for one in history["versions"]] == [1, 2]  # type: ignore[index,attr-defined]


def test_a_declined_proposal_is_closed(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "next.json"
    changed = text_of(shipped_protocol()) | {"version": 2, "title": "Another title"}
    file.write_text(json.dumps(changed), encoding="utf-8")
    proposed = commands.json("propose", str(file), "--reason", "A test.")["action_id"]
    assert isinstance(proposed, str)
    commands.run("decline", proposed, "--reason", "The old one is known.", agency="me-nac")
    assert (
        "declined by ME: The old one is known."
        in commands.run("show", "--proposal", proposed).output
    )
    refused = commands.run("accept", proposed, "--yes", agency="al-nac", code=2)
    assert "unknown-amendment" in refused.output
