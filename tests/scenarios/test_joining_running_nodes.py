"""A party joins while a ledger node and three countries' nodes run, as processes of their own.

No running node is started again. The test starts fifteen processes, so it runs only if it is asked
for.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.keys.country_keys import country_key
from api.keys.log_keys import witness_key
from api.node.joined_parties import RULE as RESTART_DUE
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, LogPolicyAdopted, NamedCheckpoint
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import proposal
from tests.support.databases import new_database
from tests.support.four_nodes import FourNodes, ServedNode, connect, prepare, running
from tests.support.joining import MK, MK_AGENCIES, Joining
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    os.environ.get("CASE_LEDGER_TEST_JOINING", "0") == "0",
    reason="CASE_LEDGER_TEST_JOINING is not set",
)
SECONDS = 120.0
NOTE, ANSWER, EARLIER = "zqFoundAtTheStation", "zqAtRiskOfBeingFetched", "zqOpenedBefore"


class World:
    """The running nodes, and the place of the node that joins."""

    def __init__(self, nodes: FourNodes, directory: Path, database: str) -> None:
        self.nodes = nodes
        self.directory = directory
        self.machine = ServedNode(directory / "mk")
        own = Settings(data_directory=self.machine.home, countries=("MK",))
        own.key_directory.mkdir(parents=True)
        held = {agency: nodes.agencies.keys[agency] for agency in MK_AGENCIES}
        keys.save(held["mk-node"], own.key_directory / "mk-node.jwk")
        self.joining = Joining(address=self.machine.url, held=held)
        self.joining.country_key = country_key(own, "MK")  # type: ignore[assignment]
        self.joining.witness = witness_key(own, "MK")
        self.machine.settings |= {
            "countries": '["MK"]',
            "policy": str(directory / "policy"),
            "ledger_url": nodes.ledger.url,
            "database_url": database,
            "pool_size": "4",
        }

    @property
    def machines(self) -> list[ServedNode]:
        return [*self.nodes.machines, self.machine]

    def command(self, agency: str, *words: str) -> str:
        """Run a coordinator's command, which asks the coordinator's own node."""
        file = self.directory / f"{agency}.jwk"
        if not file.exists():
            keys.save(self.nodes.agencies.keys[agency], file)
        machine = self.nodes.home(agency)
        return machine.run(*words, "-a", agency, "--key", str(file), "--url", machine.url)

    def wait_for_copies(self) -> None:
        """Wait until every running node has a copy of the ledger as it is now."""
        for machine in self.nodes.machines:
            until(
                lambda m=machine: _head(m) >= _head(self.nodes.ledger),
                f"the copy of {machine.name}",
                seconds=SECONDS,
            )

    def adopt_policy(self) -> None:
        rows = self.nodes.ledger.query(
            "SELECT encode(leaf_hash, 'hex') FROM ledger.events WHERE notification_id = 1"
        )
        named = NamedCheckpoint(size=1, root=str(rows[0][0]))
        vote = LogPolicyAdopted(acted_at=PAST, policy=str(self.nodes.policy), checkpoint=named)
        for coordinator in ("xk-nac", "me-nac", "al-nac"):
            with self.nodes.client(coordinator, patience=SECONDS) as client:
                client.append_to_registry(vote)

    def accede(self) -> Protocol:
        """Have the parties and the joining party adopt the text. Every node follows it."""
        text = self.joining.text(self.nodes.agencies.protocol)
        file, statement = self.directory / "next.json", self.directory / "statement.json"
        file.write_text(json.dumps(text_of(text)))
        with self.nodes.client("xk-nac", patience=SECONDS) as client:
            proposed = str(client.append_to_registry(proposal(text)).action_id)
        self.wait_for_copies()
        for coordinator in ("me-nac", "al-nac"):
            self.command(coordinator, "protocol", "accept", proposed, "--yes")
        own = self.directory / f"{MK}.jwk"
        keys.save(self.nodes.agencies.keys[MK], own)
        self.nodes.ledger.run(
            "protocol", "join-statement", str(file), "--proposal", proposed, "--agency", MK,
            "--out", str(statement), "--yes", "--key", str(own),
        )  # fmt: skip
        said = self.command(
            "xk-nac", "protocol", "accept-joining", proposed, str(statement), "--yes"
        )
        assert "adopted" in said
        return text

    def start(self, text: Protocol) -> None:
        self.machine.settings["protocol"] = str(self.directory / "next.json")
        migrate_all(self.machine.settings["database_url"], text)
        self.machine.start()
        until(
            lambda: _head(self.machine) >= _head(self.nodes.ledger),
            lambda: f"the new node's copy: {self.machine.said()}",
            seconds=SECONDS,
        )
        # The agencies of the new party act through its node from now on.
        self.nodes.agencies = Agencies(text, dict(self.nodes.agencies.keys))
        self.nodes.countries = {**self.nodes.countries, "MK": self.machine}

    def check_notes_arrive(self, agency: str, case_id: UUID, text: str) -> None:
        """Wait until an agency reads a text that another country's agency disclosed."""
        with self.nodes.client(agency, patience=SECONDS) as client:
            until(
                lambda: text in client.case(case_id, at_least=1).model_dump_json(),
                f"{text} at the node of {agency}",
                seconds=SECONDS,
            )

    def published(self) -> tuple[int, set[str]]:
        """Return the size of the published checkpoint, and the parties that cosigned it."""
        answer = httpx.get(f"{self.nodes.ledger.url}/log/checkpoint", timeout=30)
        note = Note.parse(answer.text)
        names = {
            code: str(key).split("+")[0]
            for code, key in (
                *((code, one.key) for code, one in self.nodes.policy.witnesses.items()),
                ("MK", self.joining.witness.verifier),
            )
        }
        signed = {line.name for line in note.signatures}
        return Checkpoint.parse(note.text).size, {c for c, name in names.items() if name in signed}


def _head(machine: ServedNode) -> int:
    rows = machine.query("SELECT coalesce(max(notification_id), 0) FROM ledger.events")
    return int(str(rows[0][0]))


def _troubles(machine: ServedNode) -> set[str]:
    ready: Any = machine.ready()
    return {one["rule"] for one in ready.get("troubles", ())}


@pytest.fixture
def world(
    server: str, begun: str, migrated: str, agencies: Agencies, directory: Path
) -> Iterator[World]:
    directory.chmod(0o755)
    agencies = Agencies(agencies.protocol, dict(agencies.keys))
    for agency in MK_AGENCIES:
        agencies.keys[agency] = keys.generate()
    with ExitStack() as stack:
        databases = {
            name: stack.enter_context(new_database(server, template))
            for name, template in (
                ("ledger", begun), ("xk", migrated), ("me", migrated), ("al", migrated),
                ("mk", migrated),
            )
        }  # fmt: skip
        nodes = prepare(directory, agencies, databases)
        connect(nodes, directory, {})
        for machine in nodes.machines:
            machine.settings["pool_size"] = "4"
        stack.enter_context(running(nodes))
        made = World(nodes, directory, databases["mk"])
        stack.callback(made.machine.stop)
        yield made
        for machine in made.machines:
            machine.forget()


@pytest.mark.timeout(600)
def test_running_nodes_go_on_while_a_party_joins(world: World) -> None:
    nodes = world.nodes
    world.wait_for_copies()
    world.adopt_policy()
    with nodes.client("xk-dhtqnj", patience=SECONDS) as police:
        before = police.append(opening(("XK", "ME"), indicators_note=EARLIER), uuid4(), 0)
    processes = {machine.name: machine.parts() for machine in nodes.machines}
    text = world.accede()
    world.start(text)
    world.wait_for_copies()

    # The new party's coordinator registers a key, and its police opens a case with another party.
    grant = nodes.agencies.grant("mk-police")
    with nodes.client(MK, patience=SECONDS) as coordinator:
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
    with nodes.client("mk-police", patience=SECONDS) as police:
        opened = police.append(opening(("MK", "XK"), indicators_note=NOTE), uuid4(), 0)
    case_id = opened.case_id
    assert case_id is not None
    world.check_notes_arrive("xk-csw-prishtina", case_id, NOTE)
    assessed = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH, risk_factors=ANSWER)
    with nodes.client("xk-csw-prishtina", patience=SECONDS) as social_work:
        version = social_work.case(case_id).view.version
        social_work.append(assessed, case_id, version)
    world.check_notes_arrive("mk-police", case_id, ANSWER)

    # A case of before is not the new party's: its copy has the events, and its vault no field.
    held = world.machine.query("SELECT count(DISTINCT case_id) FROM vault_mk.disclosures")
    assert held == [(1,)]
    assert before.case_id is not None
    answer = nodes.client("mk-police")
    with answer, pytest.raises(Exception, match="unknown-case"):
        answer.case(before.case_id)

    # The new party's witness is in the policy, and the quorum can count on it.
    until(
        lambda: "MK" in world.published()[1],
        lambda: f"the new witness: {world.published()}",
        seconds=SECONDS,
    )
    for machine in nodes.machines:
        assert RESTART_DUE not in _troubles(machine), machine.name
        assert machine.parts() == processes.get(machine.name, machine.parts()), "started again"
    nodes.countries["ME"].stop()
    with nodes.client("mk-police", patience=SECONDS) as police:
        later = police.append(opening(("MK",)), uuid4(), 0)
    until(
        lambda: world.published()[0] >= later.position,
        lambda: f"a quorum of three of four: {world.published()}",
        seconds=SECONDS,
    )
    assert world.published()[1] == {"XK", "AL", "MK"}
    nodes.countries["ME"].start()
    until(
        lambda: len({_head(machine) for machine in world.machines}) == 1,
        lambda: {machine.name: _head(machine) for machine in world.machines},
        seconds=SECONDS,
    )
    for machine in nodes.machines:
        machine.run("verify", "ledger")
