"""A copy that followed the old ledger node beyond a takeover goes back to the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from api.continuity.setting_aside import SettingAside
from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignerKey
from ledger.publication.witness import AddCheckpointRequest, Witness
from ledger.replication.divergence import Divergence, NoDecisionError, find_divergence
from ledger.replication.event_source import SourceError
from ledger.replication.failover import take_over
from ledger.replication.mirror import DivergedError
from ledger.replication.outbox import Outbox
from ledger.replication.rejoining import MovedError, RolledBack, roll_back
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.access_log import COUNTED
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import ReceivedDeposit, Vault, Vaults
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.levels import Level
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.copies import Copy, one_copy
from tests.support.logs import Log, LogSource, signer
from tests.support.vaults import values

LOST, TAIL = ("ledger.events", "ledger.tree", "log.signed"), 6


@dataclass
class World:
    """The old log, Kosovo's copy of it with a tail, and the log that took over without the tail."""

    log: Log
    copy: Copy
    heir: Log
    heirs_key: SignerKey
    common: int
    own: list[UUID]
    """What Kosovo's agencies did in the tail, in order."""
    theirs: UUID
    """What Montenegro's police did in the tail: it opened a case with Kosovo."""
    case_id: UUID
    vault: Vault
    vaults: Vaults
    witness: Witness

    @property
    def source(self) -> LogSource:
        return LogSource(self.heir)

    def find(self) -> Divergence | None:
        copy = self.copy
        return find_divergence(copy.ledger, copy.database, self.source, self.log.policy)

    @contextmanager
    def owner(self) -> Iterator[Connection[DictRow]]:
        with psycopg.connect(self.copy.conninfo, row_factory=dict_row) as connection:
            yield connection

    def go_back(self, found: Divergence) -> RolledBack:
        with self.owner() as connection:
            done = roll_back(
                connection,
                self.copy.ledger,
                found,
                parties=["XK"],
                witnesses=[self.witness],
                source="the new ledger node",
                by="A. Operator",
                why="the line to Podgorica was cut",
            )
        self.copy.ledger.forget()
        return done

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with self.owner() as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


@pytest.fixture
def world(server: str, migrated: str, log: Log, directory: Path) -> Iterator[World]:
    with one_copy(server, migrated, log) as copy, one_copy(server, migrated, log) as third:
        log.open_case()
        log.publication.step()
        source = LogSource(log)
        for one in (copy, third):
            one.catch_up(source)
            one.mirror.step_published(source)
        common = copy.mirror.size
        # Kosovo's node goes on with the old ledger node; Montenegro's is cut off.
        vault = Vault(
            copy.database, "XK", DataKeys(directory / "xk", "XK", FileCountryKey.generate())
        )
        own = [disclosed(log, vault, "xk-dhtqnj", uuid4()) for _ in range(2)]
        log.register("xk-nac")
        shared = uuid4()
        theirs = disclosed(log, vault, "me-police-thb", shared, received=True)
        own.append(action_at(log, log.register("xk-nac")))
        own.insert(2, action_at(log, common + 3))
        own.append(disclosed(log, vault, "xk-dhtqnj", uuid4()))
        copy.catch_up(source)
        assert copy.mirror.size == common + TAIL
        witness = Witness(
            copy.database, "XK", log.witness_keys["XK"], lambda _: [log.key.verifier], copy.mirror
        )
        submitted = bytes(AddCheckpointRequest(0, (), log.note(common + TAIL)))
        assert witness.add_checkpoint(submitted).status == 200
        # The parties decide; Montenegro's node takes over.
        heirs_key = signer()
        decisions = log.decisions(log.policy_of(heirs_key), size=common)
        take_over(third.ledger, decisions, [heirs_key.verifier])
        heir = replace(log, ledger=third.ledger, database=third.database, later_keys=[heirs_key])
        heir.open_case()
        yield World(
            log, copy, heir, heirs_key, common, own, theirs, shared, vault,
            Vaults(copy.database, {"XK": vault.keys}), witness,
        )  # fmt: skip


def disclosed(
    log: Log, vault: Vault, agency: str, case_id: UUID, *, received: bool = False
) -> UUID:
    """An agency opens a case; the vault has what it discloses."""
    signed = log.agencies.sign(agency, opening(("XK", "ME"), indicators_note="a note"), case_id)
    action = signed_action.read(signed)
    log.ledger.append(action, case_id, 0)
    by = ReceivedDeposit("ME", uuid4()) if received else None
    vault.deposit(action, case_id, signed.disclosures, received=by)
    return action.id


def action_at(log: Log, position: int) -> UUID:
    (row,) = log.ledger.rows.select_positions([position])
    return row.action_id


def test_a_tail_is_found_at_once_and_taken_back(world: World, log: Log) -> None:
    copy, common, outbox = world.copy, world.common, Outbox(world.copy.database)
    agency = log.agencies.protocol.agencies_by_id["xk-dhtqnj"]
    later = signed_action.read(log.agencies.sign("xk-dhtqnj", opening(), uuid4()))
    outbox.put(later, agency, later.case_id, 0, None)
    with world.owner() as connection:  # refused by the old ledger node, in the tail
        connection.execute(
            "UPDATE outbox.actions SET state = 'sent', decision = 'x', decision_size = %s",
            (common + TAIL,),
        )
    with pytest.raises(DivergedError, match="node rejoin"):
        copy.mirror.step(world.source)
    found = world.find()
    assert found is not None
    assert (found.size, found.common) == (common + TAIL, common)
    assert found.decision.since == common + 3
    before = {table: world.rows(f"SELECT * FROM {table} ORDER BY 1") for table in LOST}
    read = values(world.vault, world.case_id, Level.CASE)
    assert read
    for work in ("match", COUNTED):
        world.vault.advance(work, common + TAIL)

    done = world.go_back(found)
    assert (done.events, done.put_back, done.set_aside) == (TAIL, 5, 1)
    assert copy.mirror.size == found.checkpoint == common
    assert [o["decided_by"] for o in world.rows("SELECT * FROM log.history_decisions")] == [
        "A. Operator"
    ]
    # Every row that went is kept.
    kept = world.rows("SELECT * FROM log.tail_events ORDER BY notification_id")
    assert [{k: v for k, v in row.items() if k != "decision"} for row in kept] == before[
        "ledger.events"
    ][common:]
    signed = world.rows("SELECT content FROM log.tail_records WHERE place = 'log.signed'")
    assert [row["content"]["note"] for row in signed] == [
        row["note"] for row in before["log.signed"] if row["size"] > common
    ]
    # Own agencies' actions wait again, in order, and before what came after them.
    waiting = world.rows("SELECT action_id, deposit_id FROM outbox.actions ORDER BY seq")
    assert [row["action_id"] for row in waiting] == [*world.own, later.id]
    assert waiting[0]["deposit_id"] is not None
    assert world.rows("SELECT DISTINCT state, decision FROM outbox.actions") == [
        {"state": "waiting", "decision": None}
    ]
    assert [world.vault.progress(work) for work in ("match", COUNTED)] == [common, common + TAIL]
    # What another country disclosed is not read, and not swept, until it is recorded again.
    assert values(world.vault, world.case_id, Level.CASE) == {}
    aside = SettingAside(copy.ledger, world.vaults)
    assert aside.look() == 1

    # The mirror goes on, by itself, with the ledger that the parties decided on.
    copy.catch_up(world.source)
    row = log.ledger.rows.find_action(world.theirs)
    assert row is not None
    world.heir.ledger.append(row.event().action, world.case_id, 0)
    world.heir.publication.step()
    copy.catch_up(world.source)
    assert copy.mirror.step_published(world.source)
    with psycopg.connect(copy.conninfo) as connection:
        report = verify_ledger(stored_rows(connection), kept_in(connection, log.policy), workers=1)
    assert report.holds, report.findings
    assert report.events == world.heir.ledger.head()
    assert aside.look() == 0
    assert values(world.vault, world.case_id, Level.CASE) == read
    assert world.find() is None


def test_the_witness_goes_back_with_its_copy_and_keeps_both_notes(world: World) -> None:
    found = world.find()
    assert found is not None
    world.go_back(found)
    (astray,) = world.witness.evidence()
    tail = Checkpoint.parse(Note.parse(str(astray["refused"])).text)
    assert (tail.size, astray["held"]) == (world.common + TAIL, str(found.note))
    world.copy.catch_up(world.source)
    own = Witness(
        world.copy.database, "XK", world.log.witness_keys["XK"],
        lambda _: [world.heirs_key.verifier], world.copy.mirror,
    )  # fmt: skip
    tree = world.heir.ledger.rows.tree()
    note = world.heir.note(tree.size, key=world.heirs_key)
    proof = tuple(tree.consistency(world.common, tree.size))
    assert own.add_checkpoint(bytes(AddCheckpointRequest(world.common, proof, note))).status == 200


def test_nothing_is_dropped_without_the_parties_decision(
    server: str, migrated: str, world: World, log: Log
) -> None:
    copy, heir = world.copy, world.heir
    with one_copy(server, migrated, log) as fork:  # of a stolen disk, with the old log's key
        fork.mirror.step(LogSource(log).lying(log.note(world.common)))
        forged = replace(log, ledger=fork.ledger, database=fork.database)
        forged.open_case()
        with pytest.raises(NoDecisionError, match="no decision"):
            find_divergence(copy.ledger, copy.database, LogSource(forged), log.policy)
    attempts: dict[str, LogSource] = {
        # The decision is there, and the events after it are not those that were signed.
        "not those": world.source.lying(
            heir.note(heir.ledger.head(), b"\x01" * 32, world.heirs_key)
        ),
        "not signed": world.source.lying(heir.note(heir.ledger.head(), key=signer())),
    }
    for said, source in attempts.items():
        with pytest.raises(SourceError, match=said):
            find_divergence(copy.ledger, copy.database, source, log.policy)
    assert find_divergence(copy.ledger, copy.database, LogSource(log), log.policy) is None
    # The decision names the key by which the tail was signed: it decides nothing about the tail.
    heir.adopt(log.policy)
    with pytest.raises(NoDecisionError, match="signed the events"):
        world.find()
    assert copy.mirror.size == world.common + TAIL


def test_two_decisions_are_for_people(world: World, log: Log) -> None:
    log.adopt(log.policy_of(signer()))
    world.copy.ledger.forget()
    with world.copy.database.transaction() as connection:
        rows = log.ledger.rows.select_rows(world.copy.mirror.size, 10)
        world.copy.ledger.rows.copy(connection, rows)
    with pytest.raises(NoDecisionError, match="too"):
        world.find()


def test_a_copy_that_moved_meanwhile_is_left_alone(world: World, log: Log) -> None:
    found = world.find()
    assert found is not None
    log.open_case()
    world.copy.catch_up(LogSource(log))
    with pytest.raises(MovedError):
        world.go_back(found)
    assert world.rows("SELECT * FROM log.tails") == []
    assert world.copy.mirror.size == world.common + TAIL + 1


def test_the_application_cannot_go_back(world: World) -> None:
    decision = (
        "INSERT INTO log.history_decisions (decided_at, decided_by, why, seen_size, reached_size,"
        " reached_root, from_size, from_root, witnesses)"
        f" VALUES (now(), 'x', 'x', {world.common + TAIL}, 0, '', {world.common}, '', '{{}}')"
    )
    for act, allowed in {
        decision: True,
        "INSERT INTO log.tails VALUES (1, '', 0, 0, '')": False,
        "DELETE FROM ledger.events": False,
        f"UPDATE ledger.head SET position = {world.common}, frontier = ''": False,
    }.items():
        with world.copy.database.connection() as connection:
            if allowed:
                connection.execute(act.encode())
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(act.encode())
