"""A country's node takes the ledger over; the others and the old ledger node return to it.

Everything that an operator does here is a command of ``docs/operations.md``.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.cli.steps.own_copies import own_copy
from api.client import LedgerClient, RefusedError, WaitingError
from api.client.schemas import Receipt
from api.demo.node_process import free_port
from api.exchange.mirror_sync import HttpSource
from api.exchange.rejoining import Rejoining
from api.keys.country_keys import country_key
from api.keys.log_keys import log_key, witness_key
from api.node.node import node_client
from api.runtime.settings import Settings
from ledger.log.policy import Policy, TrustedWitness
from ledger.replication.history_mark import MarkFile
from ledger.signing import keys
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from ledger.vocabulary.registration import CountryKeyRegistered, LogPolicyAdopted, NamedCheckpoint
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.command_line import CommandLine
from tests.support.databases import new_database
from tests.support.serving import running
from tests.support.waiting import until

WHY = ("--by", "A. Operator", "--why", "the old ledger node was lost; Montenegro's took over")


@dataclass
class Machine:
    """One node on a database and a data directory of its own, which can be stopped."""

    settings: Settings
    agencies: Agencies
    running: ExitStack | None = None

    @property
    def conninfo(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url.get_secret_value()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self, **changed: object) -> None:
        self.settings = self.settings.model_copy(update=changed)
        self.running = ExitStack()
        self.running.enter_context(running(self.settings, self.conninfo, self.agencies))

    def stop(self) -> None:
        if self.running is not None:
            self.running.close()
        self.running = None

    def client(self, agency: str, patience: float = 60) -> LedgerClient:
        return LedgerClient(
            self.url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            patience=patience,
        )

    def command(self) -> CommandLine:
        names = ("database_url", "policy", "ledger_url", "port")
        given = {name: getattr(self.settings, name) for name in names}
        given["database_url"] = self.conninfo
        countries = ",".join(f'"{country}"' for country in self.settings.countries or ())
        more = {f"CASE_LEDGER_{n.upper()}": str(v) for n, v in given.items() if v is not None}
        return CommandLine(
            self.settings.data_directory, more | {"CASE_LEDGER_COUNTRIES": f"[{countries}]"}
        )

    def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/ready", timeout=30).json()
        return answer

    def troubles(self) -> dict[str, str]:
        return {trouble["rule"]: trouble["effect"] for trouble in self.ready().get("troubles", ())}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute(statement.encode()).fetchall()


@dataclass
class World:
    """Albania's node is the ledger node too; Kosovo and Montenegro have nodes of their own."""

    directory: Path
    agencies: Agencies
    machines: dict[str, Machine]
    acts: dict[str, Receipt] = field(default_factory=dict)

    def open_case(self, name: str, party: str, agency: str, countries: tuple[str, ...]) -> Receipt:
        action = opening(countries, first_name=name, indicators_note=f"note of {name}")
        with self.machines[party].client(agency) as client:
            self.acts[name] = client.append(action, uuid4(), 0)
        return self.acts[name]


@pytest.fixture(scope="module")
def world(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("takeover")
    policy = directory / "policy"
    with ExitStack() as stack:
        machines = {}
        for party, template in (("AL", begun), ("XK", migrated), ("ME", migrated)):
            settings = Settings(
                data_directory=directory / party.lower(),
                database_url=stack.enter_context(new_database(server, template)),
                port=free_port(),
                countries=(party,),
                policy=policy,
            )
            settings.key_directory.mkdir(parents=True)
            node = f"{party.lower()}-node"
            keys.save(agencies.keys[node], settings.key_directory / f"{node}.jwk")
            machines[party] = Machine(settings, agencies)
        world = World(directory, agencies, machines)
        policy.write_text(str(policy_of(world, "AL")))
        for party, machine in machines.items():
            stack.callback(machine.stop)
            machine.start(ledger_url=None if party == "AL" else machines["AL"].url)
        for party, machine in machines.items():
            key = country_key(machine.settings, party).public
            until(lambda m=machine: m.ready().get("head", 0) > 20, "a first copy")
            with machine.client(f"{party.lower()}-nac") as coordinator:
                coordinator.append_to_registry(CountryKeyRegistered(acted_at=PAST, key=str(key)))
        yield world


def policy_of(world: World, leads: str, at: str | None = None) -> Policy:
    """The policy with a node's log key; ``at`` is the machine whose address it has then."""
    witnesses = {}
    for party in ("XK", "ME"):
        key = witness_key(world.machines[party].settings, party).verifier
        url = world.machines[at if at and party == leads else party].url
        witnesses[party] = TrustedWitness(key, f"{url}/witness/{party}")
    return Policy.of(log_key(world.machines[leads].settings).verifier, witnesses)


def identity(machine: Machine, agency: str, case_id: UUID) -> list[object]:
    with machine.client(agency) as client:
        read = client.read(case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        return [one.value for one in read.fields]


def test_what_went_on_beyond_the_decision_returns(world: World) -> None:
    albania, kosovo, montenegro = (world.machines[party] for party in ("AL", "XK", "ME"))
    world.open_case("before", "XK", "xk-dhtqnj", ("XK", "ME"))
    until(lambda: montenegro.ready().get("published", 0) >= montenegro.ready()["head"], "published")
    until(lambda: montenegro.rows("SELECT FROM vault_me.disclosures"), "sent")
    montenegro.stop()  # cut off; the others go on
    tail = world.open_case("in the tail", "XK", "xk-dhtqnj", ("XK", "ME"))
    world.open_case("at the ledger node", "AL", "al-police-thb", ("AL",))
    until(lambda: kosovo.ready()["head"] == albania.ready()["head"], "a copy")
    head = kosovo.ready()["head"]
    until(lambda: albania.rows("SELECT FROM mailbox.parcels WHERE outcome IS NULL"), "handed in")
    albania.stop()  # lost, with its mailbox
    waiting, refused = _hand_in(montenegro)

    decisions = _decided(world)
    taken = montenegro.command().json("node", "take-over", *decisions)
    assert taken["decision"] - 3 < head  # the others have other events at these positions
    old, own = albania.settings.port, montenegro.settings.port
    montenegro.start(ledger_url=None, port=old)
    until(lambda: "log-diverged" in kosovo.troubles(), "told")
    with montenegro.client("me-police-thb") as police:
        until(lambda: police.outcome(refused).problem, "the own outbox")
        assert police.outcome(waiting).receipt is not None
        assert police.outcome(refused).state == "refused"
    assert "node rejoin" in kosovo.ready()["following"]["trouble"]
    # The new ledger node is ready: Kosovo's witness alone does not make it doubt.
    assert montenegro.troubles()["witness-follows-earlier-log"] == "warning"
    assert montenegro.ready()["status"] == "ready"

    _rejoined(world, kosovo, tail)
    kosovo.start()
    _whole_again(world, kosovo, tail)
    _old_ledger_node(world, free=own)


def _hand_in(montenegro: Machine) -> tuple[UUID, UUID]:
    """Hand in what no ledger node answers to: an opening, and another one of the same case."""
    montenegro.start()
    case_id, handed_in = uuid4(), []
    with montenegro.client("me-police-thb", patience=0) as police:
        for version in (0, 1):
            with pytest.raises(WaitingError) as waits:
                police.append(opening(("ME",), first_name="waits"), case_id, version)
            handed_in.append(waits.value.outcome.action_id)
    montenegro.stop()
    return handed_in[0], handed_in[1]


def _decided(world: World) -> list[str]:
    """Each coordinator's signed decision, as a file."""
    text = str(policy_of(world, "ME", at="AL"))
    with own_copy(world.machines["ME"].settings) as copy:
        tree = copy.ledger.rows.tree()
        named = NamedCheckpoint(size=tree.size, root=tree.root().hex())
    vote = LogPolicyAdopted(acted_at=START, policy=text, checkpoint=named)
    made = []
    for coordinator in ("xk-nac", "me-nac", "al-nac"):
        signed = world.agencies.sign(coordinator, vote, None)
        path = world.directory / f"{coordinator}.decision"
        path.write_text(f"{signed}\n", encoding="ascii")
        made.append(str(path))
    return made


def _rejoined(world: World, kosovo: Machine, tail: Receipt) -> None:
    command = kosovo.command()
    said = command.run("node", "rejoin", *WHY, code=1).stderr
    assert "stop `case-ledger serve`" in said
    kosovo.stop()
    planned = command.json("node", "rejoin", *WHY, "--dry-run")
    assert planned["goes_back_to"] <= planned["common"] < tail.position
    # The machine dies after the database has the decision and before the mark has it.
    with own_copy(kosovo.settings) as copy:
        source = HttpSource("the new", node_client(kosovo.settings, world.machines["ME"].url))
        rejoining = Rejoining(kosovo.settings, copy.store, copy.ledger, copy.database, source)
        found = rejoining.find()
        with (
            patch.object(MarkFile, "_write", side_effect=OSError("died")),
            pytest.raises(OSError, match="died"),
        ):
            rejoining.go_back(found, "A. Operator", "x")
    assert command.json("node", "rejoin", *WHY)["finished"]
    assert "nothing has diverged" in command.run("node", "rejoin", *WHY, code=1).stderr
    decided = command.json("node", "history")
    assert decided["database"] == planned["goes_back_to"]
    assert (decided["needs_decision"], len(decided["decisions"])) == (False, 1)
    (kept,) = command.json("node", "tails")
    assert str(tail.action_id) in {event["action"] for event in kept["events"]}
    assert all(event["recorded_again"] is None for event in kept["events"][-2:])


def _whole_again(world: World, kosovo: Machine, tail: Receipt) -> None:
    montenegro = world.machines["ME"]
    with kosovo.client("xk-dhtqnj") as police:
        until(lambda: police.outcome(tail.action_id).receipt, "recorded again")
        again = police.outcome(tail.action_id).receipt
    assert again is not None
    assert again.position > tail.position
    until(
        lambda: montenegro.ready()["published"] == montenegro.ready()["head"],
        "published, with Kosovo's witness",
    )
    assert kosovo.troubles() == {}
    assert identity(kosovo, "xk-dhtqnj", tail.case_id) == ["in the tail"]
    # As if half a minute had passed: then a node asks the mailbox for what it handed in.
    with psycopg.connect(kosovo.conninfo) as connection:
        connection.execute(
            "UPDATE vault_xk.parcels_sent SET sent_at = sent_at - %s", (timedelta(minutes=1),)
        )
    with patch("api.exchange.parcel_delivery.LOOK_FOR_MISSING_SECONDS", 0.2):
        until(
            lambda: montenegro.rows(
                f"SELECT FROM vault_me.disclosures WHERE action_id = '{tail.action_id}'"
            ),
            "what was in the lost mailbox",
        )
    for words in (
        ("ledger", "--policy", str(world.directory / "policy")),
        ("views", "--skip-ledger"),
        ("vault", "XK"),
        ("readings", "XK"),
    ):
        kosovo.command().run("verify", *words)


def _old_ledger_node(world: World, free: int) -> None:
    """Albania's machine comes back, and takes itself for the ledger node."""
    albania, montenegro = world.machines["AL"], world.machines["ME"]
    albania.start(port=free)
    assert albania.troubles()["ledger-taken-over"] == "no-recording"
    with albania.client("al-police-thb", patience=0) as police:
        with pytest.raises(RefusedError) as refused:
            police.open_case(opening(("AL",)))
        assert refused.value.problem.rule == "ledger-taken-over"
    albania.stop()
    lost = world.acts["at the ledger node"]
    said = albania.command().run("node", "rejoin", *WHY, code=1).stderr
    assert "CASE_LEDGER_LEDGER_URL" in said
    albania.settings = albania.settings.model_copy(update={"ledger_url": montenegro.url})
    done = albania.command().json("node", "rejoin", *WHY)
    assert done["put_back"] >= 1
    albania.start()
    with albania.client("al-police-thb") as police:
        until(lambda: police.outcome(lost.action_id).receipt, "recorded again")
    assert identity(albania, "al-police-thb", lost.case_id) == ["at the ledger node"]
    until(lambda: albania.ready()["head"] == montenegro.ready()["head"], "a whole copy")
    assert albania.troubles() == {}
    albania.command().run("verify", "ledger", "--policy", str(world.directory / "policy"))
