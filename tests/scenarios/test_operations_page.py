"""The commands of ``docs/operations.md``, as the page writes them, on a node from its first key on.

A command is read from the page. The test puts files, ids and addresses in the place of the page's
words for them. Commands that need several nodes are run by other tests, which are looked for.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from api.cli.main import app
from api.client import LedgerClient
from api.demo.forked import run
from api.demo.machines import Machine
from ledger.procedure.amendments import text_of
from ledger.signing import keys
from tests.support.actions import opening
from tests.support.agencies import adopted_protocol
from tests.support.databases import new_database
from tests.support.waiting import until
from tests.test_documented_code import shown

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# A test runs its request alone: tests/api/test_annulled_disclosures.py.
OF_THE_API = {("review-destruction",)}
AGENCIES = ("xk-nac", "me-nac", "al-nac", "xk-dhtqnj", "xk-ombudsperson")


def lines_of_page() -> list[list[str]]:
    """Return each command of the page in words, without what the page marks as optional."""
    without = (re.sub(r"\[[^\]]*\]", "", shlex.join(words)) for words in shown(PAGE))
    return [[word for word in shlex.split(line) if word] for line in without]


def path_of(words: list[str]) -> tuple[str, ...]:
    """Return the names of the groups and the command that a line begins with."""
    command: Any = typer.main.get_command(app)
    context, found = command.make_context("case-ledger", [], resilient_parsing=True), []
    for word in words:
        if not hasattr(command, "get_command"):
            break
        found.append(word)
        command = command.get_command(context, word)
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return tuple(found)


def run_by_tests() -> set[tuple[str, ...]]:
    """Return each sequence of words that a test, or the demonstration, hands to a call."""
    found = set()
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "api" / "demo").rglob("*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            given = getattr(node, "args", None) if isinstance(node, ast.Call) else None
            given = node.elts if isinstance(node, ast.Tuple | ast.List) else given
            words = [one.value if isinstance(one, ast.Constant) else None for one in given or ()]
            for at in range(len(words)):
                for end in range(at + 1, min(at + 3, len(words)) + 1):
                    found.add(tuple(words[at:end]))
    return found


@dataclass
class Operator:
    """A person at the node's machine, who reads the page from the top."""

    machine: Machine
    values: dict[str, str] = field(default_factory=dict)
    """The text for each of the page's words that stand for something."""
    done: list[list[str]] = field(default_factory=list)

    def does(self, beginning: str, *more: str, code: int = 0, **values: str) -> str:
        """Run a command of the page that is so, or begins so, and return its output."""
        left = [line for line in lines_of_page() if line not in self.done]
        begins = [line for line in left if " ".join(line).startswith(beginning)]
        words = next((line for line in begins if " ".join(line) == beginning), begins[0])
        self.done.append(words)
        known = {**self.values, **values}
        asked = [
            known.get(word) or re.sub(r"[A-Z_]{2,}", lambda m: known.get(m[0], m[0]), word)
            if word.isupper() or word in known or "/" in word or "=" in word
            else word
            for word in words
        ]
        done = run([*asked, *more], self.machine.environment())
        assert done.returncode == code, f"{' '.join(asked)}: {done.stdout}{done.stderr}"
        return done.stdout

    def also(self, *words: str) -> str:
        """Run a command that the page names elsewhere."""
        return self.machine.run(*words)

    def makes_key(self, agency: str) -> None:
        """Make a key whose id is no option: the page says how such ids are written."""
        self.also("keys", "new", agency)
        while self.key(agency).startswith("-"):
            (self.machine.keys / f"{agency}.jwk").unlink()
            self.also("keys", "new", agency)

    def key(self, agency: str) -> str:
        return keys.key_id(keys.load(self.machine.keys / f"{agency}.jwk"))


@pytest.fixture
def operator(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    monkeypatch.chdir(tmp_path)
    with new_database(server) as url:
        machine = Machine(tmp_path / "node")
        text = tmp_path / "adopted.json"  # the parties adopt the assumed deadlines
        text.write_text(json.dumps(text_of(adopted_protocol())))
        machine.settings |= {
            "database_url": url,
            "owner_database_url": url,
            "protocol": str(text),
            "port": str(machine.port),
            "country_key_passphrase": "a passphrase of a test alone",
        }
        try:
            yield Operator(machine)
        finally:
            machine.stop()


def test_the_page_from_the_first_key_to_the_doctor(operator: Operator, tmp_path: Path) -> None:
    does, values, machine = operator.does, operator.values, operator.machine
    does("keys new me-nac")
    for agency in AGENCIES:
        if agency != "me-nac":
            operator.makes_key(agency)
    for agency in AGENCIES:
        public = (
            does("keys public") if agency == "me-nac" else operator.also("keys", "public", agency)
        )
        (tmp_path / f"{agency}.public.json").write_text(public)
    assert "Compare with the other parties" in does("adopt --as xk-nac")
    does("log key")
    does("witness key ME")
    policy = tmp_path / "policy"
    policy.write_text(does("log policy"))
    machine.start()

    does("keys register -a xk-nac xk-dhtqnj")
    does("keys register -a xk-nac xk-ombudsperson")
    (waiting,) = json.loads(operator.also("keys", "proposals", "-a", "me-nac", "--json"))
    assert waiting["id"] in does("keys proposals")
    does("keys confirm", PROPOSAL_ID=waiting["id"])
    (tmp_path / "xk.country").write_text(does("keys country XK"))
    does("keys register-country", **{"xk.country": "xk.country"})
    does("protocol parties")
    does("log policy --in-force")
    for agency in ("xk-nac", "me-nac", "al-nac"):
        if agency == "xk-nac":
            does("log adopt-policy -a xk-nac policy")
        else:
            operator.also("log", "adopt-policy", "-a", agency, "policy")
    does("absence announce AL")
    assert "AL" in does("absence show AL")

    case = _told(operator)
    until(lambda: machine.ready()["published"] >= case.position, machine.said)
    values |= {"CASE_ID": str(case.case_id), "POSITION": str(case.position)}
    values |= {"FILE": str(policy), "DIR": "export", "ACTION_ID": str(case.action_id)}
    assert "Written down as reading" in does("read -a xk-dhtqnj")
    does("log export --signed DIR", DIR="signed")
    does("log export DIR")
    kept = {"DIR/timestamp/93.checkpoint": "export/checkpoint"}
    does("verify export DIR --policy FILE --held", **kept)
    does("verify export DIR --policy FILE")
    does("log receipt")
    does("verify receipt event.tlog-proof --policy FILE")
    does("log policies", "--size", "3")
    does("verify receipt event.tlog-proof --policy FILE --policies")
    assert re.search(r"(\d{5}\W){3}|\d{40}|\d{4}", does("log fingerprints"))
    for command in ("verify ledger", "verify views", "verify vault XK", "verify readings XK"):
        does(command)
    for command in ("node parcels", "node evidence", "node missing", "node stated", "node history"):
        does(command)
    does("node restore-keys")  # the line with --from is run where a copy is
    does("retention list -a xk-nac")
    does("retention list -a xk-nac --erased")
    does("rebuild --all")
    does("rebuild case_views")

    does("keys list -a xk-nac")
    does("keys revoke", KEY_ID=operator.key("xk-dhtqnj"))
    does("keys compromised", KEY_ID=operator.key("xk-dhtqnj"))
    # The server of the tests waits for no disk, so this node has one fault.
    found = json.loads(does("doctor", "--json", code=3))
    assert [one["check"] for one in found["findings"] if one["state"] == "broken"] == ["durability"]

    elsewhere = {path_of(line) for line in lines_of_page()} - {path_of(o) for o in operator.done}
    assert sorted(elsewhere - run_by_tests() - OF_THE_API) == []
    assert len({path_of(one) for one in operator.done}) > 35


def _told(operator: Operator) -> Any:
    """Open a case with personal fields, as the police's own system does."""
    with LedgerClient(
        operator.machine.url,
        agency="xk-dhtqnj",
        key=keys.load(operator.machine.keys / "xk-dhtqnj.jwk"),
        protocol=adopted_protocol().id,
        patience=30,
    ) as police:
        return police.open_case(opening(("XK", "ME"), first_name="zqNobodysName"))
