"""`case-ledger node init`: each side's set-up, and what it refuses.

`tests/scenarios/test_nodes_demo.py` serves four nodes that it set up.
"""

import json
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.demo.machines import Machine
from api.demo.node_process import free_port
from api.node.setting_up.checks import check_machine
from api.node.setting_up.hand_over import CountryHandOver, LedgerHandOver, read_hand_over
from api.node.setting_up.settings_file import read_settings, write_settings
from api.runtime.settings import Settings
from ledger.log.policy import Policy
from ledger.procedure.protocol import shipped_protocol
from ledger.signing import keys
from tests.support.agencies import Agencies
from tests.support.databases import new_database

CODES = ("AL", "ME", "XK")


@dataclass
class SetUp:
    """The four directories of a set-up, and what the sides hand to each other."""

    home: Path
    agencies: Agencies
    more: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Further options, by side."""
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for code in CODES:
            name = f"{code.lower()}-nac"
            keys.save(self.agencies.keys[name], self.home / f"{name}.jwk")
            grant = self.agencies.grant(name)
            request = {"agency": name, "key": grant.key.model_dump(), "proof": grant.proof}
            self.request(code).write_text(json.dumps(request))

    def request(self, code: str) -> Path:
        return self.home / f"{code.lower()}-nac.public.json"

    def invoke(self, side: str, *words: str, json_out: bool = True) -> Result:
        port = self.ports.setdefault(side, free_port())
        place = ("--directory", str(self.home / side), "--port", str(port))
        options = (*place, *self.more.get(side, ()), *words)
        as_json = ("--json",) if json_out else ()
        return CliRunner().invoke(app, ["node", "init", side, *options, *as_json])

    def init(self, side: str, *words: str) -> dict[str, Any]:
        done = self.invoke(side, *words)
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def refused(self, side: str, *words: str) -> str:
        done = self.invoke(side, *words)
        assert done.exit_code == 1, done.output
        return done.stderr

    def first_round(self) -> tuple[str, ...]:
        return handed(self.init("ledger", "--address", "https://ledger.example"))

    def second_round(self, code: str, *words: str) -> tuple[str, ...]:
        at = ("--address", f"https://node.example.{code.lower()}", *words)
        return handed(self.init(code, *at, "--coordinator", str(self.request(code))))


def handed(told: dict[str, Any]) -> tuple[str, ...]:
    return ("--from", told["hand_over"], "--compared", told["fingerprint"])


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve addresses alone: asking for a name would wait for the machine's resolver."""
    resolve = socket.getaddrinfo

    def look_up(host: str, *more: Any, **options: Any) -> Any:
        if host.endswith((".example", ".al", ".me", ".xk")):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def set_up(directory: Path, agencies: Agencies, server: str, migrated: str) -> Iterator[SetUp]:
    with new_database(server, migrated) as conninfo:
        yield SetUp(directory, agencies, {"ledger": ("--database-url", conninfo)})


def files(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_ledger_node_and_a_countrys_node_are_set_up(
    set_up: SetUp, server: str, migrated: str
) -> None:
    ledger, country = (Machine(set_up.home / name) for name in ("ledger", "XK"))
    with new_database(server, migrated) as conninfo:
        set_up.more["XK"] = ("--database-url", conninfo)
        set_up.ports |= {"ledger": ledger.port, "XK": country.port}
        first = handed(set_up.init("ledger", "--address", ledger.url))
        files_of_countries: list[str] = []
        for code in CODES:
            at = country.url if code == "XK" else f"https://node.example.{code.lower()}"
            told = set_up.init(
                code, "--address", at, *first, "--coordinator", str(set_up.request(code))
            )
            assert not told["complete"]
            files_of_countries += handed(told)
        told = set_up.init("ledger", *files_of_countries)
        assert not told["complete"]
        assert "--adopt-as xk-nac" in told["next"][-1]
        signer = ("--adopt-as", "xk-nac", "--key", str(set_up.home / "xk-nac.jwk"))
        told = set_up.init("ledger", *signer)
        assert told["complete"]
        assert any("case-ledger log key" in step for step in told["next"])
        # All sides have one policy, with the protocol's quorum and each country's own key.
        done = set_up.init("XK", *handed(told))
        assert done["complete"]
        policy = Policy.parse((country.home / "policy").read_text())
        assert str(policy) == (ledger.home / "policy").read_text()
        assert policy.groups["parties"].threshold == 2
        assert policy.witnesses["XK"].url == f"{country.url}/witness/XK"
        # Run again, each side is as it was: no key, setting or file is another one.
        before = files(ledger.home) | files(country.home)
        assert set_up.init("ledger")["fingerprint"] == told["fingerprint"]
        assert set_up.init("XK")["fingerprint"] == done["fingerprint"]
        assert files(ledger.home) | files(country.home) == before
        for path in map(Path, before):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        for machine in (ledger, country):
            settings = read_settings(machine.home / "node.env")
            assert settings["data_directory"] == str(machine.home)
        assert settings["ledger_url"] == ledger.url
        assert len(settings["adoption"]) == 64


def test_a_run_beside_running_nodes_finds_them(directory: Path) -> None:
    ahead = timedelta()

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
            return format_datetime(datetime.now(UTC) + ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        url = f"http://127.0.0.1:{port}"

        def said() -> dict[str, str]:
            checks = check_machine(Settings(data_directory=directory, port=port), url, url)
            return {one.name: f"{one.level}: {one.said}" for one in checks}

        assert "ok: a node answers" in said()["port"]
        assert "ok: this machine's clock agrees with the ledger node's" in said()["clock"]
        ahead = timedelta(minutes=2)
        assert "failed: this machine's clock differs" in said()["clock"]
        server.shutdown()
    assert "does not answer yet" in said()["clock"]


def test_nothing_is_taken_in_without_the_digits(set_up: SetUp) -> None:
    _, own, _, digits = set_up.first_round()
    at = ("--address", "https://node.example.al", "--from", own)
    said = set_up.refused("AL", *at)
    assert "call the operator of the ledger node" in said
    assert digits not in said  # they are heard, not copied from here
    assert "--compared" in set_up.refused("AL", *at, "--compared", digits[::-1])
    assert not (set_up.home / "AL" / "keys").exists()
    # Whoever changes the file on its way changes the digits.
    changed = set_up.home / "changed.json"
    changed.write_text(Path(own).read_text().replace("https://ledger", "https://evil"))
    assert "is not accepted yet" in set_up.refused(
        "AL", "--address", "https://a.example", "--from", str(changed), "--compared", digits
    )
    # White space in the digits, as people write them down, does not count.
    set_up.init("AL", *at, "--compared", digits.replace(" ", ""))
    # The ledger node's file is not exchanged for one of another log.
    other = SetUp.__new__(SetUp)
    other.home, other.agencies = set_up.home / "other", set_up.agencies
    other.more, other.ports = {}, {}
    other.home.mkdir()
    elsewhere = handed(other.init("ledger", "--address", "https://other.example"))
    assert "names another log" in set_up.refused("AL", *elsewhere)


def test_files_of_the_wrong_side_key_or_protocol_are_refused(set_up: SetUp) -> None:
    first = set_up.first_round()
    of_albania = set_up.second_round("AL", *first)
    assert "own file" in set_up.refused("ledger", *first)
    assert "is a country's file" in set_up.refused(
        "ME", "--address", "https://m.example", *of_albania
    )
    at = ("--address", "https://m.example", *first)
    police = set_up.home / "police.json"
    police.write_text(set_up.request("XK").read_text())
    assert "is not the coordinator agency of ME" in set_up.refused(
        "ME", *at, "--coordinator", str(police)
    )
    no_proof = json.loads(set_up.request("ME").read_text()) | {
        "key": json.loads(set_up.request("XK").read_text())["key"]
    }
    police.write_text(json.dumps(no_proof))
    assert "the key of me-nac" in set_up.refused("ME", *at, "--coordinator", str(police))
    content = json.loads(Path(first[1]).read_text())
    for field_name, value, said in (
        ("protocol_digest", "0" * 64, "another protocol"),
        ("log_key", content["log_key"].replace("ledger.example", "x.example"), "log_key"),
        ("address", "https://a.example/path?x", "address"),
        ("format", "something else", "format"),
    ):
        changed = set_up.home / "changed.json"
        changed.write_text(json.dumps(content | {field_name: value}))
        assert said in set_up.refused(
            "ME", "--address", "https://m.example", "--from", str(changed)
        ), field_name
    assert "no file that" in set_up.refused("ME", *at[:2], "--from", str(set_up.request("ME")))
    assert "neither `ledger` nor one of" in set_up.refused("RS", "--address", "https://r.example")


def test_a_country_refuses_a_policy_that_is_not_what_was_agreed(set_up: SetUp) -> None:
    first = set_up.first_round()
    countries = [word for code in CODES for word in set_up.second_round(code, *first)]
    signer = ("--adopt-as", "me-nac", "--key", str(set_up.home / "me-nac.jwk"))
    told = set_up.init("ledger", *countries, *signer)
    good = read_hand_over(Path(told["hand_over"]))
    of_albania = read_hand_over(set_up.home / "AL" / "setup" / "al.hand-over.json")
    assert isinstance(good, LedgerHandOver)
    assert isinstance(of_albania, CountryHandOver)
    policy = good.policy or ""
    lies = {
        policy.replace("node.example.al", "evil.example"): "does not name this side's witness",
        policy.replace("witness AL", "witness BA").replace("2 AL", "2 BA"): "does not name",
        policy.replace("parties 2 AL ME XK", "parties 1 AL ME XK"): "quorum is not 2 of 3",
        policy.replace("quorum parties", "quorum ME"): "quorum is not 2 of 3",
    }
    for text, said in lies.items():
        assert text != policy
        lie = good.model_copy(update={"policy": text})
        path = set_up.home / "lie.json"
        path.write_text(str(lie))
        words = ("--from", str(path), "--compared", lie.fingerprint)
        assert said in set_up.refused("AL", *words), said
    assert "adoption" not in read_settings(set_up.home / "AL" / "node.env")
    # The true file is taken in afterwards.
    assert set_up.init("AL", *handed(told))["complete"]
    # Once the protocol is adopted, the policy changes by the parties' votes alone.
    moved = handed(set_up.init("ME", "--address", "https://moved.example.me"))
    assert "log adopt-policy" in set_up.refused("ledger", *moved)


def test_what_is_wrong_with_the_machine_is_said_before_anything_is_made(set_up: SetUp) -> None:
    at = ("--address", "https://ledger.example")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Thread(target=lambda: taken.accept()[0].close(), daemon=True).start()
        port = str(taken.getsockname()[1])
        assert "another program listens" in set_up.refused("ledger", *at, "--port", port)
    secret = "postgresql://someone:hunter2secret@127.0.0.1:1/x"
    said = set_up.refused("ledger", *at, "--database-url", secret)
    assert "does not let this login in" in said
    assert "hunter2secret" not in said
    assert "is no address" in set_up.refused("ledger", "--address", "ledger.example/path")
    assert "--address" in set_up.refused("ledger")
    assert not (set_up.home / "ledger" / "keys").exists()
    done = CliRunner().invoke(app, ["node", "init", "ledger", *at])
    assert (done.exit_code, "--directory" in done.stderr) == (1, True)
    told = set_up.init("ledger", *at)
    levels = {one["name"]: one["level"] for one in told["checks"]}
    assert levels["address"] == "warning"  # no such name on this machine
    assert {levels[name] for name in ("port", "disk", "database", "database clock")} <= {
        "ok",
        "warning",
    }


def test_the_settings_file_keeps_what_others_wrote(directory: Path) -> None:
    path = directory / "node.env"
    write_settings(path, {"port": "8420", "countries": '["XK"]'})
    path.write_text(path.read_text() + "# mine\nCASE_LEDGER_SMTP_HOST=mail.example\n")
    write_settings(path, {"port": "8421", "policy": "/a b/policy"})
    assert read_settings(path) == {
        "port": "8421",
        "countries": '["XK"]',
        "smtp_host": "mail.example",
        "policy": "/a b/policy",
    }
    assert "# mine\n" in path.read_text()
    assert len(re.findall("PORT=", path.read_text())) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for value in ("a'b", "a\nb"):
        with pytest.raises(ValueError, match="policy has"):
            write_settings(path, {"policy": value})


def test_every_party_of_the_shipped_protocol_has_a_node_agency() -> None:
    protocol = shipped_protocol()
    assert {a.party for a in protocol.agencies if a.role == "node"} == protocol.party_codes
