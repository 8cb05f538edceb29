"""The tree that the store grows, in the append's own transaction."""

from importlib import resources
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL

from ledger.application import Ledger
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.merkle import Frontier, check_consistency, check_inclusion, leaf_hash
from ledger.signing import keys, signed_action
from ledger.vocabulary.registration import KeyRegistered
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies


def append_many(ledger: Ledger, agencies: Agencies, number: int) -> None:
    for _ in range(number):
        grant = agencies.grant("xk-dhtqnj", keys.generate())
        signed = agencies.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
        ledger.append_to_registry(signed_action.read(signed))


def test_the_tree_is_over_the_exact_event_bytes(ledger: Ledger, agencies: Agencies) -> None:
    append_many(ledger, agencies, 270)  # more than one tile
    rows = ledger.rows.select_rows(0, 1000)
    leaves = [leaf_hash(row.state) for row in rows]
    expected, completed = Frontier().extend(leaves)
    assert ledger.rows.frontier() == expected
    tree = ledger.rows.tree()
    assert tree.size == len(rows) > 256
    assert len(completed) == 1
    assert tree.root() == expected.root()
    for index in (0, 255, 256, len(rows) - 1):
        check_inclusion(
            leaves[index], index, tree.size, tree.inclusion(index, tree.size), tree.root()
        )
    proof = tree.consistency(100, tree.size)
    check_consistency(100, tree.size, proof, tree.root(100), tree.root())


def test_a_refused_append_leaves_the_tree_as_it_was(ledger: Ledger, agencies: Agencies) -> None:
    before = ledger.rows.frontier()
    grant = agencies.grant("xk-dhtqnj", keys.generate())
    signed = agencies.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None, uuid4())
    ledger.append_to_registry(signed_action.read(signed))
    after = ledger.rows.frontier()
    assert after.size == before.size + 1
    ledger.append_to_registry(signed_action.read(signed))
    assert ledger.rows.frontier() == after


def test_a_ledger_from_before_the_tree_gets_one(
    ledger: Ledger, agencies: Agencies, database: str
) -> None:
    append_many(ledger, agencies, 240)
    expected = ledger.rows.frontier()
    tree = ledger.rows.tree()
    migration = resources.files("ledger.store") / "migrations" / "0002_tree.sql"
    with psycopg.connect(database) as connection:
        connection.execute("DROP TRIGGER head_is_at_the_last_event ON ledger.head")
        connection.execute("DROP TABLE ledger.tree")
        connection.execute("ALTER TABLE ledger.head DROP COLUMN frontier")
        connection.execute(SQL(migration.read_text()))
    assert ledger.rows.frontier() == expected
    assert ledger.rows.tree().inclusion(3, 260) == tree.inclusion(3, 260)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger.tree SET hash = hash", "DELETE FROM ledger.tree", "TRUNCATE ledger.tree"],
)
def test_the_application_may_not_change_the_tree(database: str, statement: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE case_ledger_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]


def test_the_head_cannot_be_moved_away_from_the_last_event(ledger: Ledger, database: str) -> None:
    """It would stop the ledger: nothing could be appended after a gap."""
    assert ledger.rows.frontier().size
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE case_ledger_app")
        connection.execute(
            "UPDATE ledger.head SET position = position + 1,"
            " frontier = decode(repeat('00', 32 * bit_count((position + 1)::bit(64))::int), 'hex')"
        )
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="last event"):
            connection.commit()


def test_a_batch_larger_than_a_sockets_buffer_is_appended(
    ledger: Ledger, agencies: Agencies
) -> None:
    case_id = uuid4()
    opened = opening()
    events = []
    for version in range(1, 1501):
        signed = signed_action.read(agencies.sign("xk-dhtqnj", opened, case_id))
        sd_jwt = signed.sd_jwt.encode()
        events.append(UnsealedEvent(case_id, version, signed.kind, sd_jwt, signed.id))
    before = ledger.rows.frontier().size
    ledger.rows.insert_events(events)
    assert ledger.rows.frontier().size == before + 1500
    assert ledger.rows.frontier().root() == ledger.rows.tree().root()
