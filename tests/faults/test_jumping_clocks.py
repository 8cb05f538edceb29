"""The clocks of API, worker and database jump while agencies act, and a coordinator revokes keys.

``CASE_LEDGER_TEST_JUMPS`` sets how many times.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from joserfc.jwk import OKPKey

import api.client.assertion
from api.background_jobs.clock_watch import RULE
from api.client import LedgerClient, RefusedError
from api.client.schemas import Receipt
from api.exchange.mirror_sync import HttpSource
from api.keys.log_keys import trusted_policy
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.replication.mirror import Mirror
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseClosed
from ledger.vocabulary.picklists import ClosureReason, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support import process
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.jumping import DatabaseClock, FileClock, JumpingProcess
from tests.support.waiting import until

JUMPS = int(os.environ.get("CASE_LEDGER_TEST_JUMPS", "6"))
ACTS_BETWEEN = 6
POLICE, COORDINATOR = "xk-dhtqnj", "xk-nac"
NOTHING, HOUR = timedelta(), timedelta(hours=1)
FAR = [
    sign * by
    for by in (timedelta(seconds=3), HOUR, timedelta(days=365))
    for sign in (1, -1)
]  # fmt: skip


@dataclass
class Story:
    """The acts of agencies, and the outcome of each. The agencies' own clocks are right."""

    url: str
    agencies: Agencies
    spare: list[OKPKey]
    """Registered keys of the police that are not revoked yet."""
    random: Random = field(default_factory=lambda: Random(11))
    cases: dict[UUID, int] = field(default_factory=dict)
    """The version of each case that is open."""
    disclosed: dict[UUID, Receipt] = field(default_factory=dict)
    revoked: dict[str, OKPKey] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    clients: dict[str, LedgerClient] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    """How clocks jumped, and when: what a failure is understood by."""

    def client(self, agency: str, key: OKPKey | None = None) -> LedgerClient:
        """A client, the same one each time for an agency and its key."""
        key = key or self.agencies.keys[agency]
        name = keys.key_id(key)
        if name not in self.clients:
            self.clients[name] = LedgerClient(
                self.url, agency=agency, key=key, protocol=self.agencies.protocol.id, patience=0
            )
        return self.clients[name]

    def act(self) -> None:
        """Take one step at random. A refusal of the node's is counted."""
        steps = [self.open, self.open, self.assess, self.close, self.revoke]
        try:
            self.random.choice(steps)()
            self.answers["recorded"] += 1
        except RefusedError as error:
            self.answers[error.problem.rule] += 1
        self.try_revoked()

    def open(self) -> None:
        case_id = uuid4()
        opened = opening(("XK", "ME"), first_name="zqNobody")
        self.disclosed[case_id] = self.client(POLICE).open_case(opened, case_id)
        self.cases[case_id] = 1

    def assess(self) -> None:
        self._on_a_case(POLICE, RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH))

    def close(self) -> None:
        closed = CaseClosed(acted_at=START, reason=ClosureReason.NOT_A_VICTIM)
        if (case_id := self._on_a_case(COORDINATOR, closed)) is not None:
            del self.cases[case_id]

    def _on_a_case(self, agency: str, action: Action) -> UUID | None:
        if not self.cases:
            return None
        case_id = self.random.choice(list(self.cases))
        self.client(agency).append(action, case_id, self.cases[case_id])
        self.cases[case_id] += 1
        return case_id

    def revoke(self) -> None:
        if not self.spare:
            return
        key = self.spare[-1]
        revoked = KeyRevoked(acted_at=PAST, key_id=keys.key_id(key))
        self.client(COORDINATOR).append_to_registry(revoked)
        self.revoked[keys.key_id(key)] = self.spare.pop()

    def try_revoked(self) -> None:
        """Check that an act of a revoked key is never recorded, by any sender and at any clock."""
        for key in self.random.sample(list(self.revoked.values()), min(1, len(self.revoked))):
            case_id = uuid4()
            signed = signed_action.sign(
                opening(),
                agency=POLICE,
                key=key,
                protocol=self.agencies.protocol.id,
                case_id=case_id,
                action_id=uuid4(),
            )
            with pytest.raises(RefusedError) as refused:
                self.client(POLICE).send(signed, case_id, 0)
            assert refused.value.problem.rule in ("revoked-key", RULE), self.told[-8:]
            self.answers[f"{refused.value.problem.rule} of a revoked key"] += 1
            with pytest.raises(RefusedError) as refused:
                self.client(POLICE, key).protocol()
            assert refused.value.problem.rule == "revoked-key"


@dataclass
class World:
    """One node, as an API process and a worker of their own, and the clocks of its parts."""

    directory: Path
    conninfo: str
    settings: Settings
    clocks: dict[str, FileClock | DatabaseClock]
    api: JumpingProcess
    work: JumpingProcess
    story: Story

    def set(self, ahead: timedelta, *parts: str) -> None:
        self.story.told.append(f"{time.monotonic():.1f}: {', '.join(parts) or 'all'} to {ahead}")
        for part in parts or self.clocks:
            self.clocks[part].set(ahead)

    def restart(self) -> None:
        for part in (self.api, self.work):
            part.kill()
        for part in (self.api, self.work):
            part.start()
        self.api.wait_until_alive()

    def wait_until_ready(self) -> float:
        """Return the seconds until the node is ready and records an action."""
        began = time.monotonic()
        until(
            lambda: httpx.get(f"{self.api.url}/ready").is_success and self.records(),
            lambda: (httpx.get(f"{self.api.url}/ready").text, self.story.told[-8:]),
            seconds=30,
            while_raises=(),
        )
        return time.monotonic() - began

    def records(self) -> bool:
        try:
            self.story.open()
        except RefusedError as error:
            if error.problem.rule != RULE:
                raise
            return False
        return True


@pytest.fixture
def world(server: str, begun: str, directory: Path, agencies: Agencies) -> Iterator[World]:
    with new_database(server, begun) as conninfo:
        database = DatabaseClock(conninfo)
        database.install()
        spare = [keys.generate() for _ in range(JUMPS + 5)]
        with Ledger(environment(conninfo)) as ledger:
            for key in spare:
                registered = KeyRegistered(acted_at=PAST, grant=agencies.grant(POLICE, key))
                signed = agencies.sign(COORDINATOR, registered, None)
                ledger.append_to_registry(signed_action.read(signed))
        own, working = FileClock(directory / "api.clock"), FileClock(directory / "work.clock")
        for clock in (own, working):
            clock.set(NOTHING)
        env = process.environment(directory, CASE_LEDGER_DATABASE_URL=conninfo)
        settings = Settings(data_directory=directory)
        trusted_policy(settings)  # makes the keys, which both processes read
        api = JumpingProcess({**env, "CASE_LEDGER_ROLES": '["api"]'}, directory / "api.log", own)
        work = JumpingProcess(
            {**env, "CASE_LEDGER_ROLES": '["work"]'}, directory / "work.log", working
        )
        try:
            api.start()
            work.start()
            api.wait_until_alive()
            clocks = {"api": own, "work": working, "database": database}
            story = Story(api.url, agencies, spare)
            yield World(directory, conninfo, settings, clocks, api, work, story)
        finally:
            api.kill()
            work.kill()


def ahead_by(by: timedelta) -> type[datetime]:
    """The clock of an agency's machine that is ahead too."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + by

    return Ahead


def test_a_random_story_through_jumping_clocks(
    world: World, migrated: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, random = world.story, world.story.random
    world.wait_until_ready()
    for jump in range(JUMPS):
        parts = random.sample(list(world.clocks), random.randint(1, len(world.clocks)))
        far = random.choice(FAR)
        for _ in range(random.randrange(ACTS_BETWEEN)):
            story.act()
        world.set(far, *parts)
        for _ in range(ACTS_BETWEEN):
            story.act()
        if jump % 10 == 5:  # every machine starts with its clock ahead, and so none can know
            ahead = random.choice((HOUR, 3 * HOUR))
            world.set(ahead)
            monkeypatch.setattr(api.client.assertion, "datetime", ahead_by(ahead))
            world.restart()
            world.wait_until_ready()
            for _ in range(ACTS_BETWEEN):
                story.act()
            monkeypatch.undo()
            world.set(NOTHING)
            world.wait_until_ready()  # from now on the node has been right once
        world.set(NOTHING)
    assert world.wait_until_ready() < 30
    story.revoke()  # now that the ledger's times are ahead of every clock
    story.try_revoked()
    assert story.answers["recorded"] > JUMPS
    assert story.answers[RULE] > 0
    assert story.answers["revoked-key of a revoked key"] > 0
    for case_id, receipt in story.disclosed.items():  # nothing was erased
        case = story.client(POLICE).case(case_id, at_least=receipt.position)
        assert [d.action_id for d in case.disclosed] == [receipt.action_id]
    head = httpx.get(f"{world.api.url}/ready").json()["head"]
    process.wait_until_published(world.api.url, head)
    check_recorded(world)
    check_copy(world, server, migrated)


def check_recorded(world: World) -> None:
    """The ledger verifies, bears no mark, and was ahead of the clock at some time."""
    policy = trusted_policy(world.settings)
    with psycopg.connect(world.conninfo) as connection:
        report = verify_ledger(stored_rows(connection), kept_in(connection, policy), workers=1)
        ahead = connection.execute(
            "SELECT count(*) FROM ledger.events WHERE recorded_at > now()"
        ).fetchone()
        erased = connection.execute("SELECT count(*) FROM vault_xk.erased").fetchone()
    assert report.holds, report.findings
    assert report.marks == ()
    assert ahead is not None
    assert JUMPS <= 5 or ahead[0] > 0
    assert erased == (0,)
    with Ledger(environment(world.conninfo)) as ledger:
        over: set[str] = set()
        for row in ledger.rows.select_rows(0, 10**6):
            action = row.event().action
            assert action.key_id not in over
            if action.kind == "key_revoked":
                over.add(action.fields["key_id"])
    assert over == world.story.revoked.keys()


def check_copy(world: World, server: str, migrated: str) -> None:
    """A country's node that begins now takes all of it."""
    with (
        new_database(server, migrated) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        Database(conninfo) as database,
    ):
        client = world.story.client("xk-node")
        mirror = Mirror(ledger, database, trusted_policy(world.settings))
        while mirror.step(HttpSource(world.api.url, client, wait=0)):
            pass
        with Ledger(environment(world.conninfo)) as original:
            assert mirror.size == original.rows.frontier().size
        assert mirror.evidence() == []
