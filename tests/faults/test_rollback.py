"""Older copies are put back under running nodes: database, witness, key files, each alone.

Each is named by a node within ten seconds, and mended by the commands of ``docs/operations.md``.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.client import LedgerClient, RefusedError, WaitingError
from api.client.schemas import Receipt
from api.demo.machines import Machine, MachineError
from api.runtime.readiness import HEADER
from ledger.log.policy import Policy
from ledger.signing import signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import name_of, new_database, put_back
from tests.support.two_nodes import introduce, troubles
from tests.support.waiting import until

DECIDED = ("node", "accept-history", "--by", "A. Operator", "--why")


@dataclass
class World:
    """A ledger node of no country, and Kosovo's node, on two databases of one server."""

    server: str
    agencies: Agencies
    directory: Path
    ledger: Machine
    country: Machine
    databases: dict[str, str]
    receipts: list[Receipt] = field(default_factory=list)
    sent: SdJwt | None = None
    """What was sent last."""

    def client(self, machine: Machine, agency: str, patience: float = 20) -> LedgerClient:
        return LedgerClient(
            machine.url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            patience=patience,
        )

    def open_case(self) -> Receipt:
        with self.client(self.country, "xk-dhtqnj") as police:
            case_id = uuid4()
            self.sent = police.sign(opening(first_name="A name"), case_id)
            receipt = police.send(self.sent, case_id, 0)
        self.receipts.append(receipt)
        self.wait_until_published()
        return receipt

    def wait_until_published(self) -> None:
        size = self.receipts[-1].position
        for machine in (self.ledger, self.country):
            until(lambda m=machine: m.ready().get("published", 0) >= size, "published", seconds=60)  # type: ignore[misc]

    def older_copy(self, stack: ExitStack, machine: Machine) -> str:
        """A copy of a node's database as it is now; the node is down meanwhile."""
        machine.stop()
        name = name_of(self.databases[machine.name])
        copy = name_of(stack.enter_context(new_database(self.server, name)))
        machine.start()
        return copy

    def put_back(self, machine: Machine, copy: str) -> None:
        put_back(self.server, self.databases[machine.name], copy)

    def check(self) -> None:
        """Everything that was acknowledged is where its receipt says, and both nodes agree."""
        self.wait_until_published()
        found = [recorded(self.databases[m.name]) for m in (self.ledger, self.country)]
        assert found[0] == found[1]
        for receipt in self.receipts:
            assert found[0][receipt.position - 1] == receipt.action_id
        with psycopg.connect(self.databases["ledger"]) as connection:
            policy = Policy.parse((self.directory / "policy").read_text())
            report = verify_ledger(stored_rows(connection), kept_in(connection, policy))
        assert report.holds, report.findings


def recorded(conninfo: str) -> list[Any]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT action_id FROM ledger.events ORDER BY notification_id")
        return [row[0] for row in rows.fetchall()]


def is_ready(machine: Machine) -> bool:
    return machine.ready()["status"] == "ready"


@pytest.fixture(scope="module")
def world(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("rollback")
    with ExitStack() as stack:
        databases = {
            name: stack.enter_context(new_database(server, template))
            for name, template in (("ledger", begun), ("xk", migrated))
        }
        ledger, country = Machine(directory / "ledger"), Machine(directory / "xk")
        for machine in (ledger, country):
            machine.settings["database_url"] = databases[machine.name]
        introduce(ledger, country, directory, agencies)
        made = World(server, agencies, directory, ledger, country, databases)
        for machine in (ledger, country):
            stack.callback(machine.stop)
            machine.start()
        until(lambda: country.ready().get("head", 0) > 20, "the first copy", seconds=60)
        made.open_case()
        yield made


def test_the_ledger_nodes_database(world: World) -> None:
    ledger, country = world.ledger, world.country
    with ExitStack() as stack:
        copy = world.older_copy(stack, ledger)
        world.open_case()
        lost = world.open_case()
        world.put_back(ledger, copy)
        until(lambda: troubles(ledger).get("history-changed") == "no-recording", "told")

        police = stack.enter_context(world.client(country, "xk-dhtqnj", patience=1))
        case_id = uuid4()
        waiting = police.sign(opening(indicators_note="meanwhile"), case_id)
        with pytest.raises(WaitingError):
            police.send(waiting, case_id, 0)
        reader = stack.enter_context(world.client(ledger, "xk-node"))
        assert reader.events(0, limit=1).events
        named = httpx.get(f"{ledger.url}/health").headers[HEADER].split(", ")
        assert "history-changed" in named
        assert police.case(lost.case_id).view.case_id == lost.case_id

        told = ledger.json("node", "history")
        assert told["needs_decision"]
        assert told["database"] == lost.position - 2
        exported = str(world.directory / "copy")
        country.run("log", "export", "--signed", exported)
        assert ledger.json("node", "complete", exported)["copied"] == 2
        assert troubles(ledger).get("history-changed") == "no-recording"
        decision = ledger.json(*DECIDED, "a disk was replaced; completed from Kosovo's copy")
        assert decision["goes_on_from"]["size"] == lost.position
        until(lambda: is_ready(ledger), "ready again")
        until(lambda: police.outcome(waiting_id(waiting)).receipt is not None, "sent on")
        receipt = police.outcome(waiting_id(waiting)).receipt
        assert receipt is not None
        world.receipts.append(receipt)
        assert receipt.position == lost.position + 1
        assert ledger.json("node", "history")["decisions"][-1]["decided_by"] == "A. Operator"
    world.check()


def waiting_id(signed: SdJwt) -> UUID:
    return signed_action.read(signed).id


def test_a_countrys_database(world: World) -> None:
    country = world.country
    with ExitStack() as stack:
        copy = world.older_copy(stack, country)
        lost = world.open_case()
        sent = world.sent
        assert sent is not None
        world.put_back(country, copy)
        until(lambda: troubles(country).get("history-changed") == "no-recording", "told")
        police = stack.enter_context(world.client(country, "xk-dhtqnj", patience=5))
        with pytest.raises(RefusedError) as refused:
            police.open_case(opening())
        assert (refused.value.problem.status, refused.value.problem.rule) == (
            503,
            "history-changed",
        )
        # The copy of the ledger completes itself.
        until(lambda: len(recorded(world.databases["xk"])) >= lost.position, "copied")
        country.run(*DECIDED, "the newest backup was put back")
        until(lambda: "history-changed" not in troubles(country), "decided")
        # What was disclosed is gone from the vault until the agency sends it again.
        asked = (lost.case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        assert police.read(*asked).fields == ()
        assert police.send(sent, lost.case_id, 0).position == lost.position
        assert [one.value for one in police.read(*asked).fields] == ["A name"]
    world.open_case()
    world.check()


def test_a_witness(world: World) -> None:
    ledger = world.ledger
    with psycopg.connect(world.databases["xk"], autocommit=True) as connection:
        before = connection.execute("SELECT size, root, note FROM witness_xk.cosigned").fetchone()
        world.open_case()
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE witness_xk.cosigned SET size = %s, root = %s, note = %s", before)
    world.open_case()
    until(lambda: troubles(ledger).get("witness-went-back") == "warning", "told")
    assert is_ready(ledger)
    ledger.run(*DECIDED, "Kosovo's witness was restored from a backup")
    until(lambda: "witness-went-back" not in troubles(ledger), "decided")
    world.check()


def test_the_whole_machine_of_the_ledger_node(world: World) -> None:
    """The mark goes back with it: only the witness knows of more."""
    ledger = world.ledger
    with ExitStack() as stack:
        copy = world.older_copy(stack, ledger)
        mark = ledger.keys / "history-mark"
        older = mark.read_bytes()
        lost = world.open_case()
        ledger.stop()
        world.put_back(ledger, copy)
        mark.write_bytes(older)
        ledger.start()
        until(lambda: troubles(ledger).get("witness-ahead") == "no-recording", "told")
        exported = str(world.directory / "another")
        world.country.run("log", "export", "--signed", exported)
        assert ledger.json("node", "complete", exported)["copied"] == 1
        # The witness follows again: nothing is missing, and there is nothing to decide.
        until(lambda: not troubles(ledger), "ready again")
        with pytest.raises(MachineError, match="nothing to decide"):
            ledger.run(*DECIDED, "the machine was restored; completed from Kosovo's copy")
        assert lost.action_id in recorded(world.databases["ledger"])
    world.open_case()
    world.check()


def test_a_key_file(world: World) -> None:
    country = world.country
    path = country.keys / "witness-xk.jwk"
    content = path.read_bytes()
    path.unlink()
    until(lambda: "key-files-changed" in troubles(country), "told")
    path.write_bytes(content)
    path.chmod(0o600)
    until(lambda: "key-files-changed" not in troubles(country), "mended")


def test_the_vaults_keys(world: World) -> None:
    country = world.country
    book = country.keys / "persons" / "xk" / "data-keys"
    newer = world.directory / "newer" / "xk"
    newer.mkdir(parents=True)
    older = book.read_bytes()
    receipt = world.open_case()
    shutil.copy(book, newer / "data-keys")
    replaced = book.with_name("older")
    replaced.write_bytes(older)
    replaced.chmod(0o600)
    replaced.replace(book)
    until(lambda: troubles(country).get("vault-keys-missing") == "no-recording", "told")
    restored = country.json("node", "restore-keys", "--from", str(newer.parent))
    assert restored == {"restored": 1, "destroyed": 0, "missing": 0}
    until(lambda: "vault-keys-missing" not in troubles(country), "mended")
    with world.client(country, "xk-dhtqnj") as police:
        opened = police.read(receipt.case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
    assert [one.value for one in opened.fields] == ["A name"]
