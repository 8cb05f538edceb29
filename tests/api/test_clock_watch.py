"""A node whose clock differs from others says so, records nothing, and goes on answering."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from api.background_jobs.clock_watch import RULE, SETTLED_AFTER_SECONDS, ClockWatch
from api.background_jobs.janitor import Janitor
from api.client import LedgerClient, RefusedError
from api.client.schemas.health import Effect
from api.exchange.witness_clients import Witnesses
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.log.note import Note
from ledger.publication.publisher import published
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.system import clock
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.logs import Log
from tests.support.serving import Server, serving

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
SECONDS = timedelta(seconds=1)


@dataclass
class World:
    """The right time, and how far each clock is from it."""

    monkeypatch: pytest.MonkeyPatch
    passed: float = 1000.0
    own: timedelta = timedelta()
    database: timedelta = timedelta()
    floor: datetime | None = None
    watch: ClockWatch = field(init=False)

    def __post_init__(self) -> None:
        self.monkeypatch.setattr(clock, "now", lambda: self.now + self.own)
        self.start()

    def start(self) -> None:
        """The node's process begins, and knows nothing of before."""
        self.watch = ClockWatch(
            lambda: self.now + self.database, 5 * SECONDS, lambda: self.floor, lambda: self.passed
        )

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def look(self, after: float = 2.0) -> str | None:
        """Return the node's trouble of its clock at the next look; ``None`` if all is well."""
        self.passed += after
        found = self.watch.check()
        assert {t.rule for t in found} <= {RULE}
        assert {t.effect for t in found} <= {Effect.NO_RECORDING}
        return found[0].message if found else None

    def jump(self, by: timedelta) -> None:
        self.own += by
        self.database += by


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(monkeypatch)
    assert made.look() is None
    return made


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
def test_a_clock_that_jumps_alone_is_seen_until_it_is_right(world: World, by: timedelta) -> None:
    world.own = by
    assert world.watch.at_once()  # before anybody is asked
    told = world.look()
    assert told is not None
    assert f"{round(abs(by).total_seconds()):,} seconds" in told
    assert ("ahead of" in told) == (by > timedelta())
    assert world.look(1e6) is not None
    world.own = timedelta()
    assert world.look() is None
    assert not world.watch.at_once()


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_database_that_jumps_alone_is_seen_until_it_is_right(world: World, by: timedelta) -> None:
    world.database = by
    assert "the database's" in (world.look() or "")
    world.database = timedelta()
    assert world.look() is None


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
def test_one_of_two_other_nodes_stops_nobody(world: World, by: timedelta) -> None:
    """Its clock is wrong, or it lies: the other one and the database say that all is well."""
    world.watch.heard("ME", world.now + by)
    world.watch.heard("AL", world.now)
    assert world.look() is None
    world.watch.heard("ME", datetime.max.replace(tzinfo=UTC))
    assert world.look() is None
    world.watch.heard_from("ME")({"date": "Fri, 31 Dec 9999 23:59:59 -0500"})
    assert world.look() is None
    for node in ("AL", "ME"):
        world.watch.heard(node, world.now + by)
    assert "the other nodes'" in (world.look() or "")


def test_some_seconds_are_nothing(world: World) -> None:
    for own, database in ((3, 0), (0, 3), (3, 3), (-2, 2), (0, 0)):
        world.own, world.database = own * SECONDS, database * SECONDS
        assert world.look() is None
        assert not world.watch.at_once()


def test_a_whole_machine_that_jumps_ahead_waits_for_a_right_clock(world: World) -> None:
    world.jump(YEAR)
    assert "jumped ahead" in (world.look() or "")
    assert world.look(1e6) is not None
    world.jump(-YEAR)
    assert world.look() is None


def test_a_whole_machine_that_is_set_back_goes_on_after_thirty_seconds(world: World) -> None:
    world.start()
    world.jump(YEAR)
    world.start()  # it began with its clocks ahead: nothing tells
    assert world.look() is None
    world.jump(-YEAR)
    assert "jumped back" in (world.look() or "")
    assert world.look(SETTLED_AFTER_SECONDS - 1) is not None
    assert world.look(1) is None
    assert world.look() is None
    assert not world.watch.at_once()
    # By which of the two times a request is signed is all the same.
    assert {world.now, world.now + YEAR} <= set(world.watch.moments())
    # And it may return to the time that it had, but to no other.
    world.jump(HOUR)
    assert world.look(1e6) is not None
    world.jump(YEAR - HOUR)
    assert world.look() is None
    assert set(world.watch.moments()) == {world.now, world.now + YEAR}


def test_a_clock_that_is_set_right_by_a_database_that_ran_evenly_counts_at_once(
    world: World,
) -> None:
    world.own = -HOUR
    world.start()
    assert "behind the database's" in (world.look() or "")
    # It is not known yet that the database ran evenly: it was never right.
    world.own = timedelta()
    world.start()
    assert world.look() is None
    world.own = -HOUR
    assert world.look() is not None
    world.own = timedelta()
    assert world.look() is None


def test_other_nodes_say_what_time_it_is(world: World) -> None:
    hear = world.watch.heard_from("https://ledger.example")
    hear({"date": "Sun, 01 Mar 2026 00:16:42 GMT"})
    assert world.look(0) is None
    hear({"date": "Sun, 01 Mar 2026 01:16:42 GMT"})
    assert world.look(5) is None  # one answer may be of a proxy
    hear({"date": "Sun, 01 Mar 2026 01:16:47 GMT"})
    assert "behind the other nodes'" in (world.look() or "")
    hear({"date": "yesterday"})
    hear({})
    assert world.look() is not None
    assert world.look(100) is None  # not heard for a while
    # One of three that is wrong stops nobody.
    for name, by in (("AL", timedelta()), ("ME", YEAR), ("XK", timedelta())):
        world.watch.heard(name, world.now + by)
    assert world.look() is None


def test_a_date_that_a_proxy_kept_is_nobodys_time(world: World) -> None:
    """It comes with its age, or it stands still while answers come."""
    hear = world.watch.heard_from("https://ledger.example")
    hear({"date": "Sat, 28 Feb 2026 23:16:42 GMT", "age": "3600"})
    assert world.look(5) is None
    for age in ("", "-1x", "9" * 400):  # no age
        hear({"date": "Sat, 28 Feb 2026 23:16:47 GMT", "age": age})
        assert world.look(0) is None
    for _ in range(20):
        hear({"date": "Sat, 28 Feb 2026 23:16:47 GMT"})
        assert world.look(5) is None
    # The proxy keeps answers for an hour each: the next one it keeps is no clock that runs on.
    hear({"date": "Sun, 01 Mar 2026 00:10:47 GMT"})
    assert world.look(5) is None
    # For a command one answer is enough: it asks little, and can be run again.
    world.watch.heard_from("https://other.example", at_once=True)(
        {"date": "Sat, 28 Feb 2026 23:16:47 GMT"}
    )
    assert world.look(0) is not None


def test_others_confirm_a_machine_that_was_set_ahead(world: World) -> None:
    world.jump(HOUR)
    assert world.look() is not None
    world.watch.heard("AL", world.now + HOUR)
    assert world.look() is None


def test_a_clock_behind_the_last_published_checkpoint_is_wrong(world: World) -> None:
    world.start()
    world.floor = world.now + 3 * SECONDS
    assert world.look() is None
    world.floor = world.now + HOUR
    assert "behind the last published checkpoint's" in (world.look() or "")
    world.start()  # it is on disk: starting again does not help
    assert world.look() is not None
    world.watch.heard("AL", world.now)  # the witness's clock was ahead, and is right now
    assert world.look() is None
    assert world.look(100) is not None
    assert world.look(3700) is None


def test_moments_are_more_than_one_while_clocks_differ(world: World) -> None:
    assert world.watch.moments() == (world.now,)
    world.own = YEAR
    assert world.now in world.watch.moments()
    assert world.watch.moments()[0] == world.now + YEAR


@pytest.fixture
def served(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Server]:
    assert ledger.registry() is not None
    with serving(database, agencies) as made:
        yield made


def of_node(server: Server, monkeypatch: pytest.MonkeyPatch, by: timedelta) -> httpx.Response:
    """The node's clock is off from now on, and those of its clients are right."""
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + by)
    server.node.checks.look()
    return httpx.get(f"{server.url}/ready")


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
def test_a_node_whose_clock_is_off_reads_and_does_not_record(
    served: Server, monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    with served.client("xk-dhtqnj", patience=0) as police:
        receipt = police.open_case(opening(first_name="zqNobody"))
        ready = of_node(served, monkeypatch, by)
        assert (ready.status_code, ready.json()["rule"]) == (503, RULE)
        with pytest.raises(RefusedError) as refused:
            police.open_case(opening())
        assert (refused.value.problem.status, refused.value.problem.rule) == (503, RULE)
        assert "Set the clock right" in (refused.value.problem.detail or "")
        assert police.case(receipt.case_id, at_least=receipt.position).view.version == 1
        ready = of_node(served, monkeypatch, timedelta())
        assert ready.status_code == 200
        police.open_case(opening())


def test_a_jump_is_seen_by_the_very_next_action(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.client("xk-dhtqnj", patience=0) as police:
        police.open_case(opening())
        monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + YEAR)
        with pytest.raises(RefusedError) as refused:
            police.open_case(opening())
    assert refused.value.problem.rule == RULE


def test_a_bound_that_a_clock_ahead_made_locks_nobody_out_for_more_than_thirty_seconds(
    served: Server, database: str
) -> None:
    with served.client("xk-dhtqnj", patience=0) as police, psycopg.connect(database) as owner:
        police.open_case(opening())
        owner.execute("UPDATE access.assertions SET issued_until = now() + interval '1 year'")
        for table in ("uncrashed", "used_assertions"):  # as a crash leaves them
            owner.execute(SQL("TRUNCATE access.{}").format(Identifier(table)))
        owner.commit()
        with pytest.raises(RefusedError) as refused:
            list(police.cases())
        assert refused.value.problem.rule == "assertion-before-crash"
        bound = owner.execute("SELECT refused_until - now() FROM access.assertions").fetchone()
        assert bound is not None
        assert bound[0] <= timedelta(seconds=30)
        owner.execute("UPDATE access.assertions SET refused_until = now() - interval '2 s'")
        owner.commit()
        list(police.cases())


def test_the_sweep_needs_two_looks_and_a_clock_that_is_right(
    served: Server, database: str, agencies: Agencies
) -> None:
    node, case_id = served.node, uuid4()
    signed = agencies.sign("xk-dhtqnj", opening(first_name="zqNobody"), case_id)
    vault = node.vaults.of("XK")
    vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
    found: list[Trouble] = []
    kept = (node.ledger, node.vaults, node.outbox, node.assertions, node.sessions)
    sweeping = Janitor(*kept, node.mailbox, lambda: found, patience=SECONDS)
    with psycopg.connect(database) as owner:
        owner.execute("UPDATE vault_xk.disclosures SET received_at = now() - interval '1 year'")
    assert sweeping.sweep() == 0  # the database's clock alone says that they are old
    time.sleep(1.1)
    found.append(Trouble(rule=RULE, message="It differs."))
    assert sweeping.sweep() == 0
    found.clear()
    assert sweeping.sweep() == 1


def test_a_countrys_node_hears_the_ledger_nodes_clock_with_each_answer(
    world: World, agencies: Agencies
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        dated = {"Date": format_datetime(world.now + 5 * HOUR, usegmt=True)}
        return httpx.Response(404, headers=dated, stream=httpx.ByteStream(b"{}"))

    with LedgerClient(
        "https://ledger.example",
        agency="xk-node",
        key=agencies.keys["xk-node"],
        protocol=agencies.protocol.id,
        transport=httpx.MockTransport(answer),
        heard=world.watch.heard_from("https://ledger.example"),
    ) as client:
        for _ in range(2):
            assert world.look(5) is None
            with pytest.raises(RefusedError):
                client.checkpoint()
    assert "behind the other nodes'" in (world.look(0) or "")


def test_the_ledger_node_hears_each_witness_of_another_machine(
    ledger: Ledger, database: str, agencies: Agencies, directory: Path
) -> None:
    heard: dict[str, datetime] = {}
    with Database(database) as pool:
        log = Log(ledger, pool, agencies)
        publication = log.publication
        publication._heard = lambda witness, moment: heard.update({witness.key.name: moment})
        log.open_case()
        publication.step()
        names = {key.name for key in log.witness_keys.values()}
        assert heard.keys() == names
        assert all(abs(moment - datetime.now(UTC)) < 60 * SECONDS for moment in heard.values())
        settings = Settings(data_directory=directory, countries=())
        elsewhere = Witnesses(settings, pool, log.policy_at)
        assert elsewhere.cosigned_elsewhere_at() == sorted(heard.values())[1]
        assert not any(elsewhere.is_here(w) for w in log.policy.witnesses.values())


def test_one_of_two_other_witnesses_sets_no_floor(
    ledger: Ledger, database: str, agencies: Agencies, directory: Path
) -> None:
    with Database(database) as pool:
        log = Log(ledger, pool, agencies)
        log.open_case()
        log.publication.step()
        head = published(pool)
        assert head is not None
        note, checkpoint = head
        text = Note(note.text, tuple(s for s in note.signatures if s.name == log.key.name))
        now = datetime.now(UTC).replace(microsecond=0)
        ahead = [
            log.witness_keys[party].sign(note.text, now + (YEAR if party == "AL" else timedelta()))
            for party in ("AL", "ME")
        ]
        with pool.connection() as connection:
            whole = str(text.with_signatures(ahead))
            connection.execute(
                "INSERT INTO log.dated_checkpoints (size, note) VALUES (%s, %s)",
                (checkpoint.size, whole),
            )
        settings = Settings(data_directory=directory, countries=())
        elsewhere = Witnesses(settings, pool, log.policy_at)
        assert elsewhere.cosigned_elsewhere_at() == now
