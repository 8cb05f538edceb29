"""Views are checked against a new fold of the ledger; every change of a row is found."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import psycopg
import pytest

from api.background_jobs.view_checker import malformed_rows
from api.demo.story import STORY
from ledger.application import Ledger, environment
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.vocabulary.registration import KeyRevoked
from projections.tables.all_views import VIEWS
from projections.tables.stored_documents import DamagedViewError
from projections.tables.view import PROJECTOR_ROLE
from projections.tables.view_queries import ViewReader
from projections.upkeep import view_check
from projections.upkeep.rebuild import rebuild_views
from projections.upkeep.rebuild_shards import Shard
from projections.upkeep.row_comparison import DifferenceKind, json_differences
from projections.upkeep.runner import PageFolder
from projections.upkeep.view_check import CheckedShard, ViewChecker
from tests.support.agencies import PAST, Agencies
from tests.support.command_line import CommandLine
from tests.support.databases import new_database
from tests.support.row_changes import Table, changed

CHANGES = 5


def follow(database: str) -> None:
    datastore = LedgerDatastore(database, pool_size=2, role=PROJECTOR_ROLE)
    try:
        pages = PageFolder(datastore, VIEWS.values())
        while pages.step():
            pass
    finally:
        datastore.close()


@pytest.fixture(scope="module")
def told(server: str, begun: str, agencies: Agencies) -> Iterator[str]:
    """A database with the story in it, one key revoked, and every view folded."""
    with new_database(server, begun) as database, Ledger(environment(database)) as ledger:
        ids: dict[str, UUID] = {}
        case_ids = {"A": uuid4(), "B": uuid4()}
        for step in STORY:
            case_id = case_ids[step.case]
            case = ledger.case(case_id)
            signed = agencies.sign(step.agency, step.action(ids), case_id)
            version = case.version if case else 0
            ids[step.name] = ledger.append(signed_action.read(signed), case_id, version).action_id
        revoked = keys.key_id(agencies.keys["xk-dhtqnj"])
        signed = agencies.sign("xk-nac", KeyRevoked(acted_at=PAST, key_id=revoked), None)
        ledger.append_to_registry(signed_action.read(signed))
        follow(database)
        yield database


def check(database: str, events: int = 20) -> CheckedShard:
    """Check all views, in parts of so many events."""
    with ViewChecker(database) as checker:
        found = checker.check_acts()
        for part in checker.parts(events):
            found.merge(checker.check(part))
        found.merge(checker.behind(checker.head(), seconds=0))
    return found


def test_views_as_followed_and_as_rebuilt_are_as_the_ledger_says(told: str) -> None:
    for events in (1, 7, 1_000):
        found = check(told, events)
        assert not found.differing, found.described
        with psycopg.connect(told) as connection:
            head = connection.execute("SELECT count(*) FROM ledger.events").fetchone()
            rows = {
                name: connection.execute(f"SELECT count(*) FROM views.{name}").fetchone()  # type: ignore[arg-type]
                for name in VIEWS
            }
        assert (found.events,) == head
        assert {name: (found.rows[name],) for name in VIEWS} == rows
    rebuild_views(told, processes=0)
    assert not check(told).differing


def test_every_change_of_a_row_is_found(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_check, "_ROWS_AT_ONCE", 10)
    random = Random(5)
    tables = [Table("views", name, fixed=("slot",)) for name in VIEWS]
    for _ in range(CHANGES):
        with changed(told, tables, random) as change:
            found = check(told)
            assert change.table.name in found.differing, change
            assert any(one.view == change.table.name for one in found.described)
    assert not check(told).differing


@pytest.mark.parametrize(
    ("statement", "view", "kind", "field"),
    [
        ("UPDATE views.case_views SET lead_agency = 'al-nac' WHERE viewer = 'XK'",
         "case_views", DifferenceKind.CHANGED, "lead_agency"),
        ("UPDATE views.case_views"
         " SET document = jsonb_set(document, '{lead_agency}', '\"al-nac\"')",
         "case_views", DifferenceKind.CHANGED, "document/lead_agency"),
        ("UPDATE views.obligations SET state = 'discharged', outcome = 'done', closed_at = now()"
         " WHERE state = 'open'", "obligations", DifferenceKind.CHANGED, "state"),
        ("DELETE FROM views.audit_trail t WHERE version = (SELECT max(version)"
         " FROM views.audit_trail u WHERE u.case_id = t.case_id)",
         "audit_trail", DifferenceKind.MISSING, None),
        ("INSERT INTO views.case_views SELECT (jsonb_populate_record(v, '{\"viewer\": \"ZZ\"}')).*"
         " FROM views.case_views v WHERE viewer = 'XK'",
         "case_views", DifferenceKind.SURPLUS, None),
        ("UPDATE views.audit_trail SET document = document - 'fields'",
         "audit_trail", DifferenceKind.CHANGED, "document/fields"),
        ("UPDATE views.audit_trail SET document = jsonb_set(document, '{version}', '1.0')"
         " WHERE version = 1", "audit_trail", DifferenceKind.CHANGED, "document/version"),
        ("UPDATE views.case_views SET met_at = 'infinity' WHERE viewer = 'oversight'",
         "case_views", DifferenceKind.CHANGED, "met_at"),
        ("UPDATE views.tracking SET notification_id = notification_id + 1"
         " WHERE projection = 'case_views'", "case_views", DifferenceKind.POSITION, None),
        ("UPDATE views.tracking SET notification_id = notification_id - 5"
         " WHERE projection = 'audit_trail'", "audit_trail", DifferenceKind.SURPLUS, None),
        ("UPDATE views.projections "
         "SET live_slot = CASE live_slot WHEN 'a' THEN 'b' ELSE 'a' END",
         "obligations", DifferenceKind.POSITION, None),
        ("ALTER TABLE views.audit_trail DROP CONSTRAINT audit_trail_pkey;"
         " INSERT INTO views.audit_trail SELECT * FROM views.audit_trail LIMIT 1",
         "audit_trail", DifferenceKind.SURPLUS, None),
        ("INSERT INTO views.audit_trail SELECT (jsonb_populate_record(t, to_jsonb(p))).*"
         " FROM views.audit_trail t, LATERAL (SELECT version + 1000 AS version) p"
         " WHERE position = 1",
         "audit_trail", DifferenceKind.SURPLUS, None),
    ],
)  # fmt: skip
def test_a_change_is_named(
    told: str, statement: str, view: str, kind: DifferenceKind, field: str | None
) -> None:
    with psycopg.connect(told) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode())
    found = check(told)
    assert found.differing[view]
    named = [one for one in found.described if (one.view, one.kind) == (view, kind)]
    assert named, found.described
    if field is not None:
        assert all(field in [f.field for f in one.fields] for one in named)
    rebuild_views(told, processes=0)
    assert not check(told).differing


def test_a_changed_event_is_named(told: str) -> None:
    with psycopg.connect(told, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        change = "UPDATE ledger.events SET leaf_hash = sha256(leaf_hash) WHERE notification_id = 30"
        connection.execute(change)
        found = check(told)
        connection.execute("UPDATE ledger.events SET leaf_hash = sha256('\\x00'::bytea || state)")
    assert found.differing == {"events": 1}
    assert [one.row for one in found.described] == [{"position": "30"}]
    assert not check(told).differing


def test_a_part_is_checked_while_a_rebuild_swaps(told: str) -> None:
    """A rebuild that empties the old slot waits for the part that is compared."""
    with ViewChecker(told) as checker:
        before = checker.check(Shard())
        rebuild_views(told, processes=0)
        after = checker.check(Shard())
    assert not before.differing
    assert not after.differing
    assert before.slots != after.slots


def test_an_absent_value_is_not_null() -> None:
    found = list(json_differences("document", {"a": None, "b": [1]}, {"b": [True]}))
    assert [(one.field, one.folded, one.shown) for one in found] == [
        ("document/a", "null", None),
        ("document/b/0", "1", "true"),
    ]


def test_the_command_names_what_differs(told: str, directory: Path) -> None:
    cli = CommandLine(directory, {"CASE_LEDGER_DATABASE_URL": told})
    found = cli.json("verify", "views")
    assert found["holds"] is True
    assert found["ledger"]["events"] == found["events"]
    assert set(found["rows"]) == set(VIEWS)
    schema = json.loads(cli.run("verify", "views", "--schema").stdout)
    assert set(schema["required"]) == set(found)
    assert "Every view is as the ledger says" in cli.run("verify", "views", "--skip-ledger").stdout
    with psycopg.connect(told) as connection:
        connection.execute("UPDATE views.case_views SET lead_agency = 'al-nac' WHERE viewer = 'XK'")
    done = cli.run("verify", "views", "case_views", "--skip-ledger", "--json", code=3)
    found = json.loads(done.stdout)
    assert (found["holds"], found["ledger"]) == (False, None)
    assert {f["field"] for one in found["differences"] for f in one["fields"]} == {"lead_agency"}
    assert {f["shown"] for one in found["differences"] for f in one["fields"]} == {'"al-nac"'}
    said = cli.run("verify", "views", "--skip-ledger", code=3).stdout
    assert "lead_agency" in said
    assert "case-ledger rebuild case_views" in said
    cli.json("rebuild", "case_views")
    assert cli.json("verify", "views", "--skip-ledger")["holds"] is True
    assert "there are case_views" in cli.run("verify", "views", "nonsense", code=1).stderr


def test_a_malformed_or_foreign_document_hides_no_other(told: str) -> None:
    with Database(told) as database, psycopg.connect(told, autocommit=True) as connection:
        reader = ViewReader(database)
        case_id = reader.cases("XK", limit=1)[0].case_id
        trail = reader.trail(case_id)
        change = "UPDATE views.audit_trail SET document = {} WHERE case_id = %s AND version = %s"
        connection.execute(change.format("document - 'kind'").encode(), (case_id, 3))
        connection.execute(
            change.format("jsonb_set(document, '{version}', '1')").encode(), (case_id, len(trail))
        )
        assert [e.version for e in reader.trail(case_id)] == [
            entry.version for entry in trail if entry.version not in (3, len(trail))
        ]
        cases = reader.cases("XK", limit=10)
        connection.execute(
            "UPDATE views.case_views SET document = jsonb_set(document, '{viewer}', '\"ME\"')"
            " WHERE viewer = 'XK' AND case_id = %s",
            (case_id,),
        )
        with pytest.raises(DamagedViewError):
            reader.case("XK", case_id)
        connection.execute(
            "UPDATE views.case_views SET document = '{}' WHERE viewer = 'XK' AND case_id = %s",
            (case_id,),
        )
        with pytest.raises(DamagedViewError):
            reader.case("XK", case_id)
        left = [view.case_id for view in reader.cases("XK", limit=10)]
        assert left == [view.case_id for view in cases if view.case_id != case_id]
        (trouble,) = malformed_rows(reader.documents)
        assert "audit_trail, case_views" in trouble.message
    rebuild_views(told, processes=0)
