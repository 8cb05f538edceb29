"""Four nodes act together while proxies between them lie and processes are killed.

A ledger node and three countries' nodes have databases of their own. Every request between them
goes through a proxy that drops, delays, cuts and changes it, or answers by itself. Meanwhile
agencies of the three countries open cases, act on them and release personal fields to each other.
After each round everything is handed on again, and what each agency was told is held against what
every node has.

``CASE_LEDGER_TEST_ROUNDS`` sets how many rounds. A round has a seed of its own, which a failure
names: ``CASE_LEDGER_TEST_SEED`` is the seed of the first round.

Of more than ten rounds, a quarter end in a disaster: a node is put back to an older copy of its
database or keys, or a country's node takes the ledger over. ``CASE_LEDGER_TEST_DISASTERS`` sets
another share.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import UUID

import httpx
import psycopg
import pytest

from projections.tables.all_views import VIEWS
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.disasters import OlderCopy, Takeover, older_copy
from tests.support.disturbed_agencies import Attempt, Officer, Story
from tests.support.disturbing_proxy import MADE_UP, DisturbingProxy, Fault, Proxies, proxies
from tests.support.four_nodes import (
    COUNTRIES,
    FourNodes,
    HastyNode,
    ServedNode,
    connect,
    prepare,
    running,
)
from tests.support.waiting import until

ROUNDS = int(os.environ.get("CASE_LEDGER_TEST_ROUNDS", "1"))
SEED = int(os.environ.get("CASE_LEDGER_TEST_SEED", "0")) or Random().getrandbits(31)
DISASTERS = float(os.environ.get("CASE_LEDGER_TEST_DISASTERS", "0.25" if ROUNDS > 10 else "0"))
"""The share of rounds that end in a disaster."""
_TAKEOVERS = 0.25
"""The share of disasters that are takeovers."""
ACTS = 4
"""So many acts of each country in a round."""
HEALED_SECONDS = 120.0
LOOK_SECONDS = 0.1
_MEMORY = Path("/dev/shm")
_WAITING = "SELECT count(*) FROM outbox.actions WHERE state IN ('waiting', 'sent')"
_STANDS = (
    "SELECT (SELECT max(notification_id) FROM ledger.events), projection, notification_id"
    " FROM views.tracking WHERE slot = views.live_slot(projection) ORDER BY projection"
)
_EVENTS = "SELECT md5(string_agg(state::text, ' ' ORDER BY notification_id)) FROM ledger.events"
_ROWS = (
    "SELECT md5(string_agg(r, ' ' ORDER BY r)) FROM (SELECT (to_jsonb(t) - 'slot')::text AS r"
    " FROM views.{0} t WHERE slot = views.live_slot('{0}')) AS rows"
)


@dataclass
class Campaign:
    """The nodes, the proxies between them, and what the agencies were told."""

    nodes: FourNodes
    between: Proxies
    story: Story
    server: str
    directory: Path
    addresses: dict[str, DisturbingProxy]
    killed: Counter[str] = field(default_factory=Counter)
    disasters: Counter[str] = field(default_factory=Counter)

    def round(self, seed: int) -> None:
        """Disturb the nodes while agencies act, heal them, and hold everything together."""
        random, disaster = Random(seed), self._disaster(Random(f"{seed} disaster"))
        if isinstance(disaster, OlderCopy):
            disaster.take()
            healed(lambda: all(map(_is_ready, self.nodes.machines)), "started", self._standing)
        kill, moment = self._kill(random), len(self.story.attempts) + random.randrange(3 * ACTS)
        self.between.disturb(_mix(random), str(seed))
        officers = self._officers(COUNTRIES, str(seed), ACTS)
        with ThreadPoolExecutor(1) as killing:
            for officer in officers:
                officer.start()
            healed(
                lambda: len(self.story.attempts) > moment or not _any_alive(officers),
                "acts",
                self._standing,
            )
            killed = killing.submit(kill)
            for officer in officers:
                officer.join()
            self.between.heal()
            killed.result()
        assert [officer.error for officer in officers] == [None] * len(officers)
        self.settle()
        self.check()
        if isinstance(disaster, OlderCopy):
            self._put_back(disaster)
        elif disaster is not None:
            self._take_over(disaster, str(seed))

    def _officers(self, parties: Iterable[str], seed: str, acts: int) -> list[Officer]:
        return [
            Officer(
                self.nodes.client(self.nodes.of_role(party, "police").id, patience=0.5),
                party,
                self.story,
                Random(f"{seed} {party}"),
                acts,
            )
            for party in parties
        ]

    def _disaster(self, random: Random) -> OlderCopy | Takeover | None:
        """Choose what happens after a round."""
        if random.random() >= DISASTERS:
            return None
        directory = self.directory / "disaster"
        if random.random() < _TAKEOVERS:
            leads = [
                p for p, machine in self.nodes.countries.items() if machine is self.nodes.ledger
            ]
            heir = random.choice([party for party in COUNTRIES if party not in leads])
            return Takeover(self.nodes, self.addresses, heir, directory)
        return older_copy(self.nodes, self.server, random, directory)

    def _put_back(self, copy: OlderCopy) -> None:
        """Put a node back. It completes itself, or names what nobody has any more."""
        copy.put_back()
        copy.decide(one for one in self.nodes.machines if one is not copy.machine)
        healed(lambda: not self.differences(), f"equal after {copy}", self.differences)
        healed(lambda: all(map(_is_ready, self.nodes.machines)), f"{copy}", self._standing)
        positions, _ = self._recorded()
        lacking: set[UUID] = set()
        if copy.party is not None:
            healed(
                lambda: self._lacking(copy, positions) == _lost(copy),
                f"what is lost after {copy}",
                lambda: (self._lacking(copy, positions), copy.missing()),
            )
            lacking = self._lacking(copy, positions)
        for attempt in self.story.attempts:
            if attempt.id in lacking:  # the agency hands the same signed action in again
                with self.nodes.client(attempt.agency, patience=HEALED_SECONDS) as client:
                    attempt.send(client)
        self.disasters[f"{copy}, {copy.expected}"] += 1
        self.disasters["actions handed in again"] += len(lacking)
        self.check()

    def _lacking(self, copy: OlderCopy, positions: Mapping[UUID, int]) -> set[UUID]:
        """The actions of which a country's vault lacks something."""
        party = copy.party or ""
        must = self.story.must_hold(party, positions)
        return {action for action, _, _ in must - _held(copy.machine, party)}

    def _take_over(self, takeover: Takeover, seed: str) -> None:
        """Another node takes the ledger over. In most cases others act on meanwhile."""
        takeover.directory.mkdir(exist_ok=True)
        note, before = takeover.cut_off(), len(self.story.attempts)
        officers = self._officers(takeover.others, f"{seed} tail", Random(seed).choice((0, 1, 2)))
        for officer in officers:
            officer.start()
        for officer in officers:
            officer.join()
        assert [officer.error for officer in officers] == [None] * len(officers)
        going_on = [self.nodes.countries[party] for party in takeover.others]
        healed(
            lambda: len({_events(one) for one in (self.nodes.ledger, *going_on)}) == 1,
            "equal copies of the tail",
            self._standing,
        )
        had = takeover.decide(note)
        tail = [one for one in self.story.attempts if one.receipt and one.receipt.position > had]
        takeover.rejoin(had)
        for attempt in self.story.attempts[before:]:
            attempt.is_allowed = False  # it may have acted on an event that is gone
        for attempt in tail:
            attempt.receipt = None
        self.disasters[f"{takeover}"] += 1
        self.disasters["events in a tail"] += len(tail)
        self.settle()
        self.check()

    def settle(self) -> None:
        """Every agency sends again what it knows no outcome of, as it was signed."""
        healed(lambda: all(map(_is_ready, self.nodes.machines)), "nodes answer", self._standing)
        for attempt in self.story.attempts:
            if attempt.is_open:
                with self.nodes.client(attempt.agency, patience=HEALED_SECONDS) as client:
                    attempt.send(client)
                assert not attempt.is_open, _told(attempt)

    def check(self) -> None:
        """Raises ``AssertionError`` where any node or agency has something else than the others."""
        healed(lambda: not self.differences(), "equal copies and views", self.differences)
        healed(lambda: all(map(_is_ready, self.nodes.machines)), "ready nodes", self._standing)
        positions, versions = self._recorded()
        with suppress(AssertionError):  # then they are named below
            healed(
                lambda: not self.missing(positions),
                "whole vaults",
                lambda: self.missing(positions),
            )
        wrong = [
            *(self._misled(one, positions, versions) for one in self.story.attempts),
            *self.undecided(positions),
            *self.missing(positions),
            *self.surplus(positions),
        ]
        assert not any(wrong), "\n".join(filter(None, wrong))

    @staticmethod
    def _misled(
        attempt: Attempt, positions: Mapping[UUID, int], versions: Mapping[tuple[UUID, int], UUID]
    ) -> str | None:
        """Return what an agency was told of an action that is not so."""
        position = positions.get(attempt.id)
        other = versions.get((attempt.case_id, attempt.version + 1))
        what = None
        if MADE_UP in "".join(attempt.told):
            what = "the agency was told what a proxy made up"
        elif attempt.receipt is not None and attempt.receipt.position != position:
            what = f"acknowledged and not where its receipt says, but at {position}"
        elif attempt.receipt is None and position is not None:
            what = f"refused, and recorded at {position}"
        elif attempt.receipt is None and attempt.is_allowed and other is None:
            what = "refused without a reason"
        return what and f"{what}: {_told(attempt)}"

    def undecided(self, positions: Mapping[UUID, int]) -> list[str]:
        """Return the outbox's rows of a country's node that contradict the ledger."""
        return [
            f"{self._describe(action)} is {state} in the outbox of {party}"
            for party, machine in self.nodes.countries.items()
            for action, state in machine.query("SELECT action_id, state FROM outbox.actions")
            if state != ("recorded" if action in positions else "refused")
        ]

    def differences(self) -> list[str]:
        """Return the differences between the nodes, and the actions without an outcome."""
        found = [
            f"{waiting} actions wait in the outbox of {party}"
            for party, machine in self.nodes.countries.items()
            for ((waiting,),) in (machine.query(_WAITING),)
            if waiting
        ]
        for statement in (_STANDS, _EVENTS, *map(_ROWS.format, VIEWS)):
            if not found:
                rows = [machine.query(statement) for machine in self.nodes.machines]
                found += [f"{statement}: {rows}"] if rows.count(rows[0]) < len(rows) else []
        return found

    def missing(self, positions: Mapping[UUID, int]) -> list[str]:
        """Return the fields that vaults must hold and lack."""
        return [
            f"{party} lacks {digest} of {self._describe(action)} from {sender or 'itself'}"
            for party, machine in self.nodes.countries.items()
            for action, digest, sender in sorted(
                self.story.must_hold(party, positions) - _held(machine, party), key=str
            )
        ]

    def surplus(self, positions: Mapping[UUID, int]) -> list[str]:
        """Return the fields of recorded actions that vaults hold and may not hold."""
        return [
            f"{party} holds {digest} of {self._describe(action)} from {sender or 'itself'}"
            for party, machine in self.nodes.countries.items()
            for action, digest, sender in _held(machine, party)
            - self.story.must_hold(party, positions)
            if action in positions
        ]

    def _describe(self, action: object) -> str:
        found = (_told(one) for one in self.story.attempts if one.id == action)
        return next(found, "an act of a node")

    def _recorded(self) -> tuple[dict[UUID, int], dict[tuple[UUID, int], UUID]]:
        """The position of each action, and the action of each version of a case."""
        rows = self.nodes.ledger.query(
            "SELECT action_id, notification_id, originator_id, originator_version"
            " FROM ledger.events",
        )
        positions = {action: position for action, position, *_ in rows}
        return positions, {(case, version): action for action, _, case, version in rows}

    def _standing(self) -> list[object]:
        return [_ready(machine) for machine in self.nodes.machines]

    def _kill(self, random: Random) -> Callable[[], None]:
        """Choose a process to kill."""
        machine = random.choice(self.nodes.machines)
        own = next(one for one in self.nodes.machines if one.has_postgresql)
        kinds: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            f"the answering process of {machine.name}": machine.kill_answering,
            f"the working process of {machine.name}": machine.kill_working,
            f"{machine.name}": lambda: _kill_and_start(machine),
            f"the PostgreSQL of {own.name}": own.kill_postgresql,
        }
        chosen = random.choice(list(kinds))
        self.killed[chosen] += 1
        return kinds[chosen]


def _mix(random: Random) -> dict[Fault, float]:
    """Some faults, and how probable each is."""
    chosen = random.sample(list(Fault), random.randint(3, 8))
    together = random.uniform(0.15, 0.6)
    return dict.fromkeys(chosen, together / len(chosen))


def _kill_and_start(machine: ServedNode) -> None:
    machine.kill()
    machine.start()


def _any_alive(threads: list[Officer]) -> bool:
    return any(thread.is_alive() for thread in threads)


def _held(machine: ServedNode, party: str) -> set[tuple[UUID, str, str | None]]:
    rows = machine.query(
        f"SELECT action_id, digest, received_from FROM vault_{party.lower()}.disclosures"
    )
    return set(rows)  # type: ignore[arg-type]


def _ready(machine: ServedNode) -> object:
    try:
        return machine.name, machine.ready()
    except (httpx.HTTPError, ValueError) as error:
        return machine.name, repr(error)


def _is_ready(machine: ServedNode) -> bool:
    with suppress(httpx.HTTPError, ValueError):
        return machine.ready()["status"] == "ready"
    return False


def _events(machine: ServedNode) -> object:
    return machine.query("SELECT max(notification_id) FROM ledger.events")[0]


def _lost(copy: OlderCopy) -> set[UUID]:
    """The actions that a node names as lost, and nothing where some may still arrive."""
    named = copy.missing()
    if not all(one["lost_at"] for one in named):
        return set()
    return {UUID(one["action"]) for one in named}


def _told(attempt: Attempt) -> str:
    return (
        f"{attempt.action.kind} of {attempt.agency} on version {attempt.version} of"
        f" {attempt.case_id}: {attempt.told}"
    )


def healed(holds: Callable[[], bool], what: str, otherwise: Callable[[], object]) -> None:
    """Wait until something holds. A database that was killed may not answer for a while."""
    until(
        holds,
        lambda: f"{what}: {otherwise()}",
        seconds=HEALED_SECONDS,
        every=LOOK_SECONDS,
        while_raises=psycopg.OperationalError,
    )


@pytest.fixture(scope="module")
def campaign(server: str, begun: str, migrated: str, agencies: Agencies) -> Iterator[Campaign]:
    with ExitStack() as stack:
        place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        name = stack.enter_context(tempfile.TemporaryDirectory("-disturbed", dir=place))
        directory = Path(name)
        directory.chmod(0o755)
        databases = {
            name: stack.enter_context(new_database(server, template))
            for name, template in (("ledger", begun), ("xk", migrated), ("me", migrated))
        }
        nodes = prepare(directory, agencies, databases, HastyNode)
        between = stack.enter_context(proxies())
        addresses: dict[str, DisturbingProxy] = {}
        for machine in nodes.countries.values():
            for name, target in (
                (machine.name, machine.url),
                (f"ledger for {machine.name}", nodes.ledger.url),
            ):
                proxy = between.make(Random(name))
                proxy.target = target
                addresses[name] = proxy
        connect(nodes, directory, {name: proxy.url for name, proxy in addresses.items()})
        for machine in nodes.machines:  # three of them share a server of 100 connections
            machine.settings["pool_size"] = "4"
            if DISASTERS:
                machine.settings["missing_after_seconds"] = "2"
        stack.enter_context(running(nodes))
        made = Campaign(nodes, between, Story(agencies.protocol), server, directory, addresses)
        made.check()
        yield made


@pytest.mark.parametrize("number", range(ROUNDS))
def test_what_agencies_were_told_is_what_every_node_has(campaign: Campaign, number: int) -> None:
    seed = SEED + number
    more = f" CASE_LEDGER_TEST_DISASTERS={DISASTERS:g}" if DISASTERS else ""
    print(f"CASE_LEDGER_TEST_SEED={seed} CASE_LEDGER_TEST_ROUNDS=1{more}")
    campaign.round(seed)


def test_every_node_verifies(campaign: Campaign) -> None:
    recorded = len(campaign.story.recorded())
    print(f"{recorded} recorded actions of {len(campaign.story.attempts)}")
    print(dict(campaign.between.disturbance.done), dict(campaign.killed))
    print(dict(campaign.disasters))
    assert recorded > ROUNDS

    def verified(machine: ServedNode) -> bool:
        report = machine.json("verify", "views", "--policy", machine.settings["policy"])
        assert report["holds"], report
        assert report["ledger"]["holds"], report
        for party in (code for code, one in campaign.nodes.countries.items() if one is machine):
            assert machine.json("verify", "vault", party)["findings"] == [], party
        return True

    # One after the other: three nodes share one server, whose connections are few.
    assert all(map(verified, campaign.nodes.machines))
