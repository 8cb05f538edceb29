"""`case-ledger` as people and programs use it: real processes, from first key to last view."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from api.cli import app
from api.demo.enrolment import enrolled
from api.demo.node_process import NodeProcess, free_port
from api.demo.play import play
from api.runtime.settings import Settings
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import shipped_protocol
from ledger.vocabulary.case_reference import case_reference
from tests.support.agencies import adopted_protocol
from tests.support.command_line import ACT, CommandLine
from tests.support.databases import new_database
from tests.support.process import PROGRAM
from tests.support.waiting import until

LINK = r"([a-z]{2}-[a-z-]+) +(http://127\.0\.0\.1:\d+/demo/enrol/[\w-]{22})"


@pytest.fixture
def named(server: str, directory: Path) -> Iterator[CommandLine]:
    """The command line on a database that the environment names."""
    with new_database(server) as url:
        yield CommandLine(
            directory, {"CASE_LEDGER_DATABASE_URL": url, "CASE_LEDGER_OWNER_DATABASE_URL": url}
        )


def test_commands_that_open_a_named_database(named: CommandLine, directory: Path) -> None:
    made = {a: named.json("keys", "new", a) for a in ("xk-nac", "me-nac", "al-nac")}
    others = [f"{a}={made[a]['public']}" for a in ("me-nac", "al-nac")]
    adopted = named.json(
        "adopt", "--as", "xk-nac", "--coordinator", others[0], "--coordinator", others[1]
    )
    assert adopted["position"] == 1
    with NodeProcess(named.env, directory / "serve.log") as node:
        named.more["CASE_LEDGER_URL"] = node.url
        opened = named.json("act", "-a", "xk-nac", *ACT)
        assert (opened["position"], opened["case_version"]) == (2, 1)
        (listed,) = until(lambda: named.json("case", "-a", "me-nac"))
        assert {each["view"]: each["position"] for each in named.json("rebuild", "--all")} == {
            "case_views": 2,
            "audit_trail": 2,
            "obligations": 2,
        }
        assert named.json("case", "-a", "me-nac") == [listed]
        assert node.stop() == 0
    assert named.json("migrate") == {"applied": []}
    assert not (directory / "postgresql").exists()


def test_from_the_first_key_to_the_last_view(directory: Path) -> None:
    cli = CommandLine(directory)
    made = {a: cli.json("keys", "new", a) for a in ("xk-nac", "me-nac", "al-nac", "xk-dhtqnj")}
    private = Path(made["xk-nac"]["private"])
    assert private.stat().st_mode & 0o077 == 0
    assert '"d"' not in Path(made["xk-nac"]["public"]).read_text()
    refused = cli.run("adopt", "--as", "xk-nac", code=1)
    assert "me-nac" in refused.stderr
    others = [f"{a}={made[a]['public']}" for a in ("me-nac", "al-nac")]
    text = directory / "adopted.json"  # the parties adopt the assumed deadlines
    text.write_text(json.dumps(text_of(adopted_protocol())))
    cli.more["CASE_LEDGER_PROTOCOL"] = str(text)
    adopted = cli.json(
        "adopt", "--as", "xk-nac", "--coordinator", others[0], "--coordinator", others[1]
    )
    assert adopted["position"] == 1
    assert len(adopted["leaf_hash"]) == 64

    with NodeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        police = made["xk-dhtqnj"]
        cli.run("act", "-a", "xk-dhtqnj", *ACT, code=2)  # its key is not registered yet
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", police["public"])
        receipt = cli.json("act", "-a", "xk-dhtqnj", *ACT)
        case_id = receipt["case_id"]
        assert (receipt["position"], receipt["case_version"]) == (3, 1)
        said = cli.run("act", "-a", "xk-dhtqnj", "received", "--case", case_id, code=0).stdout
        assert "received" in said  # a kind alone shows its fields
        refused = cli.run("act", "-a", "xk-dhtqnj", *ACT, "--case", case_id, "--json", code=2)
        assert json.loads(refused.stderr)["rule"] == "already-opened"
        assert "zqNobodysName" not in refused.stderr

        (listed,) = cli.json("case", "-a", "me-nac")
        seen = cli.json("case", "-a", "me-nac", case_id)
        assert listed == seen["view"]
        assert seen["disclosed"] == []
        then = cli.json("case", "-a", "me-nac", case_id, "--as-of", "3")
        assert then == seen
        assert cli.run("case", "-a", "al-nac", case_id, code=2).stdout == ""
        (entry,) = cli.json("trail", "-a", "me-nac", case_id)
        assert (entry["kind"], entry["signature"]) == ("case_opened", "valid")
        assert len(cli.json("trail", "-a", "me-nac")) == 2
        page = cli.json("events", "-a", "al-nac")
        assert [e["position"] for e in page["events"]] == [1, 2, 3]
        for command in ("case", "trail", "events"):
            for words in ((), (case_id,) if command != "events" else ()):
                shown = cli.run(command, "-a", "me-nac", *words).stdout
                assert shown
                assert "zqNobodysName" not in shown
        reference = case_reference(UUID(case_id))
        owed = cli.json("obligations", "list", "-a", "me-nac", "--case", reference)
        assert {o["action"] for o in owed} >= {"risk_assessed", "guardian_appointed"}
        (times,) = cli.json("obligations", "response-times", "-a", "me-nac", "--by", "country")[
            "response_times"
        ]
        assert (times["country"], times["owed"]) == ("XK", len(owed))
        balances = cli.json("obligations", "reciprocity", "-a", "me-nac", "--as-of", "2099-12-31")[
            "balances"
        ]
        assert [b["countries"] for b in balances] == [["AL", "ME"], ["ME", "XK"]]
        for words in (("list", "--overdue"), ("response-times",), ("reciprocity",)):
            assert "XK" in cli.run("obligations", *words, "-a", "me-nac").stdout
            cli.run("obligations", *words, "-a", "xk-dhtqnj", code=2)
        assert follow_one(cli)["kind"] == "key_revoked"
        keys = {a["id"]: a["keys"] for a in cli.json("keys", "list", "-a", "me-nac")}
        assert keys["xk-dhtqnj"][0]["revoked_at"]
        refused = cli.run("act", "-a", "xk-dhtqnj", *ACT, "--json", code=2)
        assert json.loads(refused.stderr)["status"] == 401
        for view in ("case_views", "audit_trail", "obligations"):
            assert cli.json("rebuild", view)["position"] == 4
        assert {each["view"]: each["position"] for each in cli.json("rebuild", "--all")} == {
            "case_views": 4,
            "audit_trail": 4,
            "obligations": 4,
        }
        cli.run("rebuild", "case_views", "--all", code=1)
        assert cli.json("case", "-a", "me-nac", case_id) == seen
        assert node.stop() == 0
    assert "zqNobodysName" not in (directory / "serve.log").read_text()
    assert cli.json("migrate") == {"applied": []}


def follow_one(cli: CommandLine) -> Any:
    """The first event that a follower is told of, which is made while it listens."""
    follower = subprocess.Popen(
        [PROGRAM, "events", "-a", "al-nac", "--after", "3", "-f", "--json"],
        env=cli.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    key_id = cli.json("keys", "list", "-a", "xk-nac")
    (kid,) = [k["id"] for a in key_id if a["id"] == "xk-dhtqnj" for k in a["keys"]]
    assert cli.json("keys", "revoke", "-a", "xk-nac", kid)["position"] == 4
    assert follower.stdout is not None
    limit = threading.Timer(60, follower.kill)
    limit.start()
    try:
        return json.loads(follower.stdout.readline())
    finally:
        limit.cancel()
        follower.kill()
        follower.wait()


def test_what_is_wrong_is_said(directory: Path) -> None:
    cli = CommandLine(directory, {"CASE_LEDGER_URL": "http://127.0.0.1:9"})
    cli.run("keys", "new", "xk-nac")
    again = cli.run("keys", "new", "xk-nac", code=1)
    assert "exists" in again.stderr
    keyless = cli.run("case", "-a", "me-nac", code=1)
    assert "case-ledger keys new" in " ".join(keyless.stderr.split())  # however it is wrapped
    assert "serve" in cli.run("case", "-a", "xk-nac", code=1).stderr
    assert "nonsense" in cli.run("act", "-a", "xk-nac", "nonsense", code=1).stderr
    assert "case_views" in cli.run("rebuild", "nonsense", code=1).stderr
    named = CommandLine(
        directory, {"CASE_LEDGER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    )
    assert "database" in named.run("serve", code=1).stderr


def test_at_a_terminal_the_demonstration_goes_on_until_it_is_ended(
    server: str, directory: Path
) -> None:
    """It draws a picture of itself where it is told to."""
    drawn = directory / "demo.svg"
    port = free_port()
    more = {"CASE_LEDGER_DATABASE_URL": server, "CASE_LEDGER_PORT": str(port), "COLUMNS": "200"}
    cli = CommandLine(directory, more)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [PROGRAM, "demo", "--picture", drawn],
        env=cli.env, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = ""
    try:
        # The links stand at the end; the first of them is tried while it is said to be served.
        while chunk := _read(ours):
            said += chunk
            links = re.findall(LINK, _plain(said))
            if len(links) == len(enrolled(shipped_protocol())):
                assert httpx.get(links[0][1], timeout=20).status_code == 200
                again = cli.run("demo", "--keep-running", code=1)  # it does not end the other
                assert f"127.0.0.1:{port}" in again.stderr
                running.send_signal(signal.SIGINT)
                break
        while chunk := _read(ours):
            said += chunk
        assert running.wait(60) == 0, said
    finally:
        running.kill()
        os.close(ours)
    assert "Case A" in said
    assert {"xk-nac", "me-nac", "al-nac"} <= {agency for agency, _ in links}
    assert "Stopped." in said
    picture = drawn.read_text()
    assert "Case" in picture
    assert "@font-face" not in picture
    assert picture.count("http") == picture.count("http://www.w3.org")


@pytest.mark.parametrize(
    ("options", "stays", "is_terminal"),
    [
        ((), False, False),
        ((), True, True),
        (("--json",), False, True),
        (("--keep-running",), True, False),
        (("--no-keep-running",), False, True),
    ],
)
def test_whether_the_demonstration_goes_on_depends_on_terminal_and_options(
    options: tuple[str, ...], stays: bool, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        "api.demo.play.play", lambda _, *, keep_running, **__: asked.append(keep_running)
    )
    for of_the_process in ("server.log_nothing", "supervisor.leave_when_told"):
        monkeypatch.setattr(f"api.processes.{of_the_process}", lambda: None)
    monkeypatch.setattr("api.cli.demos.sys", SimpleNamespace(stdout=_Terminal(is_terminal)))
    assert CliRunner().invoke(app, ["demo", *options]).exit_code == 0
    assert asked == [stays]


@dataclass(frozen=True)
class _Terminal:
    is_terminal: bool

    def isatty(self) -> bool:
        return self.is_terminal


def test_a_demonstration_that_does_not_go_on_gives_no_links(
    named: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The story itself is left out here: it is told in the test at a terminal."""
    monkeypatch.setattr("api.demo.play._tell", lambda *_, **__: None)
    address = SecretStr(named.more["CASE_LEDGER_DATABASE_URL"])
    settings = Settings(database_url=address, data_directory=named.directory)
    play(settings, keep_running=False, as_json=False)
    said = capsys.readouterr().out
    assert re.findall(LINK, said) == []
    assert "make serve" in said


def _read(terminal: int) -> str:
    """Return the bytes written to a terminal; none once its programs have ended."""
    assert select.select([terminal], [], [], 120)[0], "nothing was written"
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:
        return ""


def _plain(written: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
