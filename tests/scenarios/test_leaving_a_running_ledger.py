"""A country leaves a running ledger: its node and the others' run past the day on which it leaves.

Kosovo and Montenegro are at the ledger node, Albania has a node of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from api.background_jobs import eraser
from api.background_jobs.clock_watch import RULE
from api.cli.main import app
from api.client import RefusedError
from api.demo.node_process import free_port
from api.keys.country_keys import country_key
from api.keys.log_keys import log_key, witness_key
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.subject_ids import act_subject
from ledger.signing import keys
from ledger.vocabulary.coordination import (
    CasePrioritised,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.picklists import InformationTopic, Priority, Purpose, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import (
    ContactCardGiven,
    ContactPointNamed,
    CountryKeyRegistered,
    LogPolicyAdopted,
    NamedCheckpoint,
    Office,
)
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.auditor import run_auditor
from tests.support.databases import new_database
from tests.support.joining import leaving
from tests.support.jumping import DatabaseClock
from tests.support.passing_days import PassingDays
from tests.support.process import wait_until_published
from tests.support.serving import Server, running
from tests.support.waiting import until

XK, ME, AL = "xk-nac", "me-nac", "al-nac"
POLICE, THEIRS = "xk-dhtqnj", "al-police-thb"
QUESTION, LATER, OWN = "zqWhereIsTheFamily", "zqAfterTheDay", "zqTheFamilyIsInDurres"
ERASE_WITHIN_DAYS = 5
SECONDS = 60.0


@dataclass
class World:
    """The two nodes, and the time of all machines."""

    ledger: Server
    albania: Server
    days: PassingDays
    database: str
    policy: Path

    def wait_until_ready(self) -> None:
        """Wait until both nodes find no fault in their clocks."""
        for server in (self.ledger, self.albania):
            until(
                lambda server=server: RULE not in httpx.get(f"{server.url}/ready").text,
                lambda server=server: httpx.get(f"{server.url}/ready").text,
                seconds=SECONDS,
            )

    def go_to(self, moment: datetime, *, copied: bool = True) -> None:
        """Let days pass, and publish a checkpoint of an event of then."""
        # An answer of before that is heard after the jump would count as a wrong clock.
        until(self.is_cosigned, "every witness's cosignature", seconds=SECONDS)
        self.days.go_to(moment)
        self.wait_until_ready()
        self.opens("XK", "ME")
        self.publishes(copied=copied)

    def is_cosigned(self) -> bool:
        """Return whether every witness has cosigned the whole ledger: none is being asked."""
        sizes = httpx.get(f"{self.ledger.url}/ready").json()["witnesses"].values()
        return set(sizes) == {self.ledger.node.ledger.head()}

    def opens(self, *countries: str) -> UUID:
        with self.ledger.client(POLICE) as police:
            return police.open_case(opening(countries), uuid4()).case_id

    def publishes(self, *, copied: bool = True) -> None:
        """Wait until all is published, and is in Albania's copy too."""
        head = self.ledger.node.ledger.head()
        wait_until_published(self.ledger.url, head)
        if not copied:
            return
        own = self.albania.node.ledger
        until(lambda: own.head() >= head, "Albania's copy", seconds=SECONDS)

    def fields(self, case_id: UUID) -> set[str]:
        """The texts of a case that Albania's vault holds."""
        held = self.albania.node.vaults.of("AL").case_fields(case_id)
        return {str(one.value) for one in held}

    def witnesses(self) -> set[str]:
        return set(self.ledger.node.ledger.adopted().policies[-1].policy.witnesses)

    def run(self, *words: str) -> str:
        env = {
            "CASE_LEDGER_DATA_DIRECTORY": str(self.ledger.settings.data_directory),
            "CASE_LEDGER_DATABASE_URL": self.database,
            "CASE_LEDGER_OWNER_DATABASE_URL": self.database,
        }
        done = CliRunner(env=env).invoke(app, [*words])
        assert done.exit_code == 0, done.output
        return done.stdout


def settings_of(directory: Path, policy: Path, *countries: str, **more: object) -> Settings:
    settings = Settings(
        data_directory=directory, port=free_port(), countries=countries, policy=policy, **more
    )
    settings.key_directory.mkdir(parents=True)
    return settings


@pytest.fixture
def world(
    server: str, migrated: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    terms = {"notice_days": 1, "erase_within_days": ERASE_WITHIN_DAYS}
    protocol = Protocol.model_validate(text_of(shipped_protocol()) | {"withdrawal": terms})
    agencies = Agencies(protocol)
    monkeypatch.setattr(eraser, "_RETENTION_EVERY_SECONDS", 0.5)
    monkeypatch.setattr(eraser, "_EVERY_SECONDS", 1.0)
    policy = directory / "policy"
    here = settings_of(directory / "ledger", policy, "XK", "ME")
    url = f"http://127.0.0.1:{here.port}"
    there = settings_of(directory / "al", policy, "AL", ledger_url=url)
    for settings, node in ((here, "xk-node"), (here, "me-node"), (there, "al-node")):
        keys.save(agencies.keys[node], settings.key_directory / f"{node}.jwk")
    at = f"http://127.0.0.1:{there.port}/witness/AL"
    witnesses = {
        "XK": TrustedWitness(witness_key(here, "XK").verifier),
        "ME": TrustedWitness(witness_key(here, "ME").verifier),
        "AL": TrustedWitness(witness_key(there, "AL").verifier, at),
    }
    text = str(Policy.of(log_key(here).verifier, witnesses, protocol.publishing_parties))
    policy.write_text(text)
    with ExitStack() as stack:
        first, second = (stack.enter_context(new_database(server, migrated)) for _ in range(2))
        with Ledger(environment(first)) as ledger:
            agencies.begin(ledger)
        clocks = [DatabaseClock(first), DatabaseClock(second)]
        for one in clocks:
            one.install()
        days = PassingDays(monkeypatch, *clocks)
        served = stack.enter_context(running(here, first, agencies))
        albania = stack.enter_context(running(there, second, agencies))
        made = World(served, albania, days, first, policy)
        begin(made, text)
        yield made


def begin(world: World, policy: str) -> None:
    """Record the log's policy and the countries' keys."""
    (first,) = world.ledger.node.ledger.rows_after(0, 1)
    named = NamedCheckpoint(size=1, root=first.leaf_hash.hex())
    for coordinator, server in ((XK, world.ledger), (ME, world.ledger), (AL, world.albania)):
        key = country_key(server.settings, coordinator[:2].upper()).public
        with world.ledger.client(coordinator) as client:
            client.append_to_registry(
                LogPolicyAdopted(acted_at=PAST, policy=policy, checkpoint=named)
            )
            client.append_to_registry(CountryKeyRegistered(acted_at=PAST, key=str(key)))


def asked(question: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START, addressee=THEIRS, topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION, question=question,
    )  # fmt: skip


def test_a_country_leaves_and_what_it_owes_is_settled(world: World, directory: Path) -> None:
    case_id = world.opens("XK", "AL")
    with world.ledger.client(POLICE) as police:
        request = police.append(asked(QUESTION), case_id, 1).action_id
    card, theirs = give_card(world, XK, POLICE), give_card(world, AL, AL)
    vault = world.albania.node.vaults.of("AL")
    until(
        lambda: (
            QUESTION in world.fields(case_id)
            and vault.case_fields(subject(world, card))
            and world.ledger.node.vaults.of("ME").case_fields(subject(world, theirs))
        ),
        "the fields in the other country's vault",
        seconds=SECONDS,
    )
    day = (world.days.now() + timedelta(days=2, hours=3)).date()  # it begins earlier than in UTC
    begins = datetime.combine(day, time(), UTC)
    with world.albania.client(AL) as coordinator:
        coordinator.append_to_registry(leaving("AL", day))
    assert world.witnesses() == {"XK", "ME", "AL"}

    world.go_to(begins + timedelta(hours=1))
    until(lambda: world.witnesses() == {"XK", "ME"}, "the policy without it", seconds=SECONDS)
    acts_no_more(world, case_id)
    gets_no_more(world, case_id)
    with world.albania.client(THEIRS) as police:  # it answers what it owes
        provided = InformationProvided(acted_at=START, request=request, complete=True, answer=OWN)
        police.append(provided, case_id, police.case(case_id).view.version)
    world.publishes()
    assert {QUESTION, OWN} <= world.fields(case_id)
    kosovo = world.ledger.node.vaults.of("XK")
    until(
        lambda: OWN in [one.value for one in kosovo.case_fields(case_id)],
        "the answer in Kosovo's vault",
        seconds=SECONDS,
    )

    world.go_to(begins + timedelta(hours=14))
    world.go_to(begins + timedelta(days=1, hours=14))
    with world.ledger.client(XK) as coordinator:
        until(
            lambda: coordinator.case(case_id).view.parties == ("XK",),
            "Albania's confirmation of the erasure",
            seconds=SECONDS,
        )
        assert coordinator.absence("AL").party == "AL"  # what was without it is told all the same
    assert world.fields(case_id) == {OWN}
    assert not vault.case_fields(subject(world, card))
    assert not vault.keys.has(subject(world, card))
    assert vault.case_fields(subject(world, theirs))  # its own
    for party in ("XK", "ME"):
        other = world.ledger.node.vaults.of(party)
        until(
            lambda other=other: not other.case_fields(subject(world, theirs)), "the end of its card"
        )

    world.go_to(begins + timedelta(days=ERASE_WITHIN_DAYS, hours=1), copied=False)
    assert world.albania.node.ledger.head() < world.ledger.node.ledger.head()
    with world.ledger.client("al-node") as node, pytest.raises(RefusedError) as refused:
        node.protocol()
    assert refused.value.problem.rule == "left-party"
    with world.albania.client(THEIRS) as police:  # its own node serves it as before
        assert police.protocol().id == world.ledger.agencies.protocol.id
        with pytest.raises(RefusedError, match="unknown-case"):  # its part in the case ended
            police.case(case_id)
    every_check_holds(world, directory)


def give_card(world: World, coordinator: str, office: str) -> UUID:
    """A country names a contact point, and gives the card of the person."""
    named = ContactPointNamed(
        acted_at=PAST, agency=office, function="Head", languages=("sqi",),
        office=Office(email="unit@example.org"),
    )  # fmt: skip
    server = world.albania if coordinator == AL else world.ledger
    with server.client(coordinator) as client:
        contact = client.append_to_registry(named).action_id
        given = ContactCardGiven(acted_at=PAST, contact=contact, full_name="zqArta")
        return client.append_to_registry(given).action_id


def subject(world: World, card: UUID) -> UUID:
    """The id under which the vaults keep a card's fields."""
    return act_subject(world.ledger.agencies.protocol.ledger_id, card)


def acts_no_more(world: World, case_id: UUID) -> None:
    risk = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)
    with world.albania.client(THEIRS) as police, pytest.raises(RefusedError) as refused:
        police.append(risk, case_id, police.case(case_id).view.version)
    assert refused.value.problem.rule == "left-party"


def gets_no_more(world: World, case_id: UUID) -> None:
    """Nothing that is disclosed from then on is sent, and the mailbox gives its node nothing."""
    later = CasePrioritised(acted_at=START, priority=Priority.HIGH, reasoning=LATER)
    with world.ledger.client(XK) as kosovo:
        kosovo.append(later, case_id, kosovo.case(case_id).view.version)
    world.publishes()
    world.ledger.worker("send").wait_for_step()
    world.albania.worker("fetch").wait_for_step()
    assert LATER not in world.fields(case_id)
    with world.ledger.client("al-node") as node, pytest.raises(RefusedError) as refused:
        node._request("GET", "/v1/mailbox/parcels")
    assert refused.value.problem.rule == "left-party"


def every_check_holds(world: World, directory: Path) -> None:
    """`verify ledger`, `verify export`, the auditor's program and the rebuilt views hold."""
    policy, export = str(world.policy), directory / "export"
    world.run("verify", "ledger", "--policy", policy)
    world.run("log", "export", str(export))
    world.run("verify", "export", str(export), "--policy", policy)
    audited = run_auditor("export", export, policy)
    assert audited.returncode == 0, audited.stderr + audited.stdout
    world.run("rebuild", "--all")
    world.run("verify", "views", "--skip-ledger", "--policy", policy)
