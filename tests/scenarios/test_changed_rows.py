"""The owner of the database changes any row of a view, a vault or an access log: it is found.

``CASE_LEDGER_TEST_ROW_CHANGES`` sets how many random changes are made (default 8).
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import itemgetter
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from api.background_jobs.vault_checker import VaultChecker, vault_check
from api.client import RefusedError
from api.exchange.access_log_anchor import anchored_readings
from api.keys.country_keys import country_keys, person_keys
from api.runtime.document_store import document_chunks
from ledger.application import Ledger, environment
from ledger.replication.outbox import Outbox
from ledger.store.database import Database
from ledger.vault.access_log import Readings
from ledger.vault.required_disclosures import FieldPart, Lack, MissingReason
from ledger.vault.vault import Vaults
from ledger.vault.vault_check import VaultCheck
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from projections.tables.all_views import VIEWS
from projections.upkeep.view_check import ViewChecker
from tests.support.agencies import Agencies
from tests.support.browser_comparison import Comparison, comparing, shown_in
from tests.support.databases import new_database
from tests.support.row_changes import Changed, Table, changed
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.story import Told, tell
from tests.support.waiting import until
from tests.support.web import signed_in

CHANGES = int(os.environ.get("CASE_LEDGER_TEST_ROW_CHANGES", "8"))


READERS = {"XK": "xk-dhtqnj", "ME": "me-nac", "AL": "al-nac", "oversight": "xk-ombudsperson"}
DERIVED = {
    "case_views": lambda field: field not in (
        "expected", "sharing", "break_glass", "holds", "retention", "erasure", "closed_at",
        "viewer",
    ),
    "audit_trail": lambda field: field not in ("changes", "mark"),
    "obligations": lambda field: field in ("opened", "closed"),
}  # fmt: skip
"""The parts of a document that the browser derives, by view."""


@dataclass
class World:
    """A node's database after the whole story, some fields read; the node has ended."""

    database: str
    server: Server
    told: Told
    tables: tuple[Table, ...]
    browsers: Mapping[str, httpx.Client]
    """Somebody of each viewer, signed in."""
    shown: dict[tuple[str, UUID], dict[str, Any]] = field(default_factory=dict)
    """What each viewer's page of each case shows before anything was changed."""

    def found(self, change: Changed) -> bool:
        """Return whether the check of the table finds the change."""
        if change.table.schema == "views":
            with ViewChecker(self.database) as checker:
                found = checker.check_acts()
                for part in checker.parts(5_000):
                    found.merge(checker.check(part))
            return change.table.name in found.differing
        party = change.table.schema[-2:].upper()
        if change.table.name in ("readings", "progress"):
            return bool(self.reading_findings(party))
        return bool(self.vault_findings(party))

    def page(self, viewer: str, case_id: UUID) -> dict[str, Any] | None:
        """Return the rows of a case's verification page; ``None`` if the page cannot show them."""
        answer = self.browsers[viewer].get(f"/cases/{case_id}/verify")
        assert answer.status_code in (200, 404, 503), answer.text
        assert self.browsers[viewer].get(f"/cases/{case_id}").status_code == answer.status_code
        if answer.status_code != 200:
            return None
        shown = shown_in(answer.text)
        # In which order obligations stand is no statement about any of them.
        return shown | {"obligations": sorted(shown["obligations"], key=itemgetter("id"))}

    def page_finds(self, comparison: Comparison, change: Changed) -> bool | None:
        """Return whether the page reports a changed row; ``None`` if the page does not show it."""
        case_id, viewer = change.before["case_id"], change.before.get("viewer", "XK")
        if case_id not in self.told.cases.values():
            return None
        shown = self.page(viewer, case_id)
        if shown is None:
            return True
        if shown == self.shown[viewer, case_id]:
            return None
        with Ledger(environment(self.database)) as ledger:
            found = comparison.compare(shown, ledger)
        assert "failed" not in found, found
        if change.table.name == "obligations" and change.column != "document":
            # The page says that only the server tells whether anything else is owed.
            return None
        if change.kind == "update" and change.column == "document":
            before = change.before["document"]
            fields = {f for f in before if before[f] != change.after.get(f)}
            if not any(map(DERIVED[change.table.name], fields)):
                return None
        return bool(found["wrong"])

    def reading_findings(self, party: str) -> list[str]:
        with Ledger(environment(self.database)) as ledger, Database(self.database) as database:
            return list(Readings(database, party).findings(anchored_readings(ledger, party)))

    def troubles(self) -> set[str]:
        """Return the findings of the worker's daily check."""
        settings = self.server.settings
        keys = person_keys(settings, country_keys(settings, ["XK"]))
        with Ledger(environment(self.database)) as ledger, Database(self.database) as database:
            checking = VaultChecker(
                ledger,
                database,
                Outbox(database),
                Vaults(database, keys),
                lambda: self.server.agencies.protocol,
                patience=0,
            )
            checking.check()
            return {trouble.rule for trouble in checking.troubles()}

    def vault_findings(self, party: str) -> list[str]:
        return self.vault_checked(party)[0]

    def missing(self, party: str) -> list[Lack]:
        """Return the parts that the vault lacks by the ledger."""
        return self.vault_checked(party)[1]

    def vault_checked(self, party: str) -> tuple[list[str], list[Lack]]:
        settings = self.server.settings
        keys = person_keys(settings, country_keys(settings, [party]))[party]
        with Ledger(environment(self.database)) as ledger, Database(self.database) as database:
            chunks = document_chunks(settings)(party)
            check: VaultCheck = vault_check(ledger, database, Outbox(database), party, keys, chunks)
            protocol = ledger.adopted().directory
            return [str(one) for one in check.findings(protocol, protocol)], check.lacks


@pytest.fixture(scope="module")
def world(server: str, begun: str, agencies: Agencies) -> Iterator[World]:
    with new_database(server, begun) as database, serving(database, agencies) as served:
        register_country_keys(served)
        told = tell(served)
        with served.client("xk-dhtqnj") as police:
            for case_id in told.cases.values():
                for group in (FieldGroup.IDENTITY, FieldGroup.FAMILY):
                    try:
                        police.read(case_id, [group], Purpose.PROTECTION)
                    except RefusedError:  # it is written down all the same
                        continue
        views = [Table("views", name, fixed=("slot",)) for name in VIEWS]
        vaults = [
            Table(f"vault_{party}", name, where, fixed)
            for party in ("xk", "me")
            for name, where, fixed in (
                ("disclosures", "true", ()),
                ("deposits", "true", ()),
                ("readings", "true", ()),
                ("progress", "work = 'readings'", ("work",)),
                ("access_matrix", "true", ()),
            )
        ]
        with ExitStack() as stack:
            browsers = {
                viewer: stack.enter_context(signed_in(served, agency))
                for viewer, agency in READERS.items()
            }
            world = World(database, served, told, (*views, *vaults), browsers)
            for viewer in READERS:
                for case_id in told.cases.values():
                    if (page := world.page(viewer, case_id)) is not None:
                        world.shown[viewer, case_id] = page
            yield world


def test_untouched_all_of_it_holds(world: World) -> None:
    with ViewChecker(world.database) as checker:
        assert not checker.check_acts().differing
        for part in checker.parts(100):
            assert not checker.check(part).differing
    for party in ("XK", "ME", "AL"):
        until(lambda party=party: not world.missing(party))  # type: ignore[misc]
        assert world.vault_findings(party) == []
        assert world.reading_findings(party) == []


def test_each_random_change_of_a_row_is_found(world: World) -> None:
    random = Random(2026)
    hit: set[tuple[str, str]] = set()
    pages: Counter[bool | None] = Counter()
    with comparing() as comparison:
        for number in range(CHANGES):
            with changed(world.database, world.tables, random) as change:
                assert world.found(change), f"{number}: {change}"
                hit.add((change.table.name, change.kind))
                if change.table.schema == "views":
                    told = world.page_finds(comparison, change)
                    assert told is not False, f"{number}: {change}"
                    pages[told] += 1
    assert pages[True] >= CHANGES // 20
    test_untouched_all_of_it_holds(world)
    assert CHANGES < 60 or {name for name, _ in hit} >= {
        *VIEWS,
        "disclosures",
        "deposits",
        "readings",
    }


def test_a_deposit_deleted_with_its_inventory_is_missed_by_the_ledger(world: World) -> None:
    case_id = world.told.cases["A"]
    with psycopg.connect(world.database, autocommit=True) as owner:
        for party, part in (("xk", FieldPart.OWN), ("me", FieldPart.CASE)):
            for table in ("disclosures", "deposits"):
                owner.execute(
                    f"CREATE TEMP TABLE {table}_{party} AS SELECT * FROM vault_{party}.{table}"
                    f" WHERE case_id = '{case_id}'".encode()
                )
                owner.execute(
                    f"DELETE FROM vault_{party}.{table} WHERE case_id = '{case_id}'".encode()
                )
            assert world.vault_findings(party.upper()) == []
            lacks = world.missing(party.upper())
            deposits = owner.execute(
                f"SELECT DISTINCT action_id FROM deposits_{party}".encode()
            ).fetchall()
            assert {(one.due.action, one.why) for one in lacks} == {
                (action, MissingReason.NOT_RECEIVED) for (action,) in deposits
            }
            assert {one.due.part for one in lacks} >= {part}
        assert world.troubles() == {"fields-missing"}
        for party in ("xk", "me"):
            for table in ("disclosures", "deposits"):
                owner.execute(
                    f"INSERT INTO vault_{party}.{table} SELECT * FROM {table}_{party}".encode()
                )
    assert world.troubles() == set()
    test_untouched_all_of_it_holds(world)


def test_what_was_changed_is_named_and_the_rest_stays_readable(world: World) -> None:
    case_id = world.told.cases["A"]
    with (
        world.server.client("xk-dhtqnj") as police,
        psycopg.connect(world.database, autocommit=True) as owner,
    ):
        before = police.case(case_id)
        entries = len(police.readings(case_id).readings)
        owner.execute("SET session_replication_role = replica")
        owner.execute("CREATE TEMP TABLE disclosures AS SELECT * FROM vault_xk.disclosures")
        owner.execute("CREATE TEMP TABLE readings AS SELECT * FROM vault_xk.readings")
        # A personal field is not shown where its row says that it is no personal one.
        owner.execute(
            "UPDATE vault_xk.disclosures SET sealed = sealed || '\\x00'::bytea"
            " WHERE case_id = %s AND field IN ('indicators', 'first_name')",
            (case_id,),
        )
        owner.execute(
            "UPDATE vault_xk.disclosures SET level = 'case', field_group = NULL"
            " WHERE case_id = %s AND field = 'birthdate'",
            (case_id,),
        )
        owner.execute(
            "UPDATE vault_xk.readings SET entry = replace(entry, 'protection', 'proceedings')"
            " WHERE seq = (SELECT min(seq) FROM vault_xk.readings"
            " WHERE case_id = %s AND agency = 'xk-dhtqnj')",
            (case_id,),
        )
        now = police.case(case_id)
        damaged = {field for one in now.disclosed for field in one.damaged}
        assert damaged == {"indicators", "birthdate"}
        shown = {field for one in now.disclosed for field in one.fields}
        assert shown | damaged == {f for one in before.disclosed for f in one.fields} | {
            "birthdate"
        }
        opened = police.read(case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        assert {field for one in opened.damaged for field in one.damaged} == {"first_name"}
        assert {one.field for one in opened.fields} & {"second_name", "gender"}
        log = police.readings(case_id)
        assert len(log.changed) == 1
        assert len(log.readings) == entries  # the changed one is out, this reading is in
        named = world.vault_findings("XK")
        for field in ("indicators", "first_name", "birthdate"):
            assert any(f"field {field}" in one for one in named), named
        assert any("entry" in one for one in world.reading_findings("XK"))
        found = {"vault-differs", "access-log-differs", "fields-missing"}
        assert world.troubles() == found
        added = "SELECT * FROM vault_xk.readings WHERE seq > (SELECT max(seq) FROM readings)"
        owner.execute("DELETE FROM vault_xk.disclosures")
        owner.execute("INSERT INTO vault_xk.disclosures SELECT * FROM disclosures")
        owner.execute(f"INSERT INTO readings {added}".encode())
        owner.execute("DELETE FROM vault_xk.readings")
        owner.execute("INSERT INTO vault_xk.readings SELECT * FROM readings")
    test_untouched_all_of_it_holds(world)
