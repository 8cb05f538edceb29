"""The access log, and the database that opens nothing personal without an entry in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow

from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Reading
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.disclosures import AccessMatrixBehindError
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import tables_with
from tests.support.vaults import everything, reading

NAME, PHONE = "zqNameNobodyElseHas", "+999123456789"
COUNTRY = FileCountryKey.generate()


@dataclass
class World:
    vault: Vault
    agencies: Agencies
    database: str

    def deposit(self) -> UUID:
        case_id = uuid4()
        action = opening(first_name=NAME, phone=PHONE, indicators_note="a note")
        signed = self.agencies.sign("xk-dhtqnj", action, case_id)
        self.vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
        return case_id

    @contextmanager
    def as_role(self, role: str) -> Iterator[psycopg.Connection[TupleRow]]:
        with psycopg.connect(self.database) as connection:
            connection.execute(f"SET ROLE {role}".encode())
            yield connection

    def seen_by(self, role: str, entry: Reading | None) -> set[str]:
        """The fields whose rows the database shows to ``role`` with this entry."""
        with self.as_role(role) as connection:
            if entry is not None:
                connection.execute(
                    "SELECT set_config('case_ledger.reading', %s, true)", (str(entry.seq),)
                )
            rows = connection.execute("SELECT field FROM vault_xk.disclosures").fetchall()
        return {field for (field,) in rows}


@pytest.fixture
def world(database: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        keys = DataKeys(tmp_path / "persons", "XK", COUNTRY)
        yield World(Vault(pool, "XK", keys), agencies, database)


CASE_FIELDS = {"ground", "indicators", "indicators_note"}


def test_an_entry_opens_its_groups_of_its_person_and_no_others(world: World) -> None:
    case_id, other = world.deposit(), world.deposit()
    entry = reading(world.vault, case_id, groups=(FieldGroup.IDENTITY,))
    opened = world.vault.personal_fields(entry)
    assert [(one.field, one.value, one.group) for one in opened] == [
        ("first_name", NAME, FieldGroup.IDENTITY)
    ]
    assert world.seen_by("case_ledger_reader_xk", entry) == CASE_FIELDS | {"first_name"}
    with world.as_role("case_ledger_reader_xk") as connection:
        connection.execute("SELECT set_config('case_ledger.reading', %s, true)", (str(entry.seq),))
        rows = connection.execute(
            "SELECT count(*) FROM vault_xk.disclosures WHERE case_id = %s AND level = 'personal'",
            (other,),
        ).fetchone()
    assert rows == (0,)


def test_the_database_holds_readers_to_the_access_matrix(world: World) -> None:
    """Even where the program asked for more: an entry that the matrix does not cover opens none."""
    case_id = world.deposit()
    for role, operation in (
        ("police", Operation.SUBJECT_ACCESS),
        ("oversight", Operation.READ),
        ("node", Operation.READ),
        ("border_police", Operation.RELEASE),
        ("unheard_of", Operation.READ),
    ):
        entry = reading(world.vault, case_id, role=role, operation=operation)
        with pytest.raises(AccessMatrixBehindError):
            world.vault.personal_fields(entry)
        assert world.seen_by("case_ledger_reader_xk", entry) == CASE_FIELDS
    entry = reading(
        world.vault,
        case_id,
        role="border_police",
        operation=Operation.READ,
        groups=(FieldGroup.IDENTITY,),
    )
    assert {one.field for one in world.vault.personal_fields(entry)} == {"first_name"}


def test_without_an_entry_of_now_that_was_granted_nothing_personal_is_seen(world: World) -> None:
    case_id = world.deposit()
    assert world.seen_by("case_ledger_reader_xk", None) == CASE_FIELDS
    good = reading(world.vault, case_id)
    refused = world.vault.readings.record(good.asked, refused_by="no-legal-basis")
    assert not refused.granted
    assert world.seen_by("case_ledger_reader_xk", refused) == CASE_FIELDS
    with psycopg.connect(world.database) as connection:  # as the owner, an entry grows old
        connection.execute(
            "UPDATE vault_xk.readings SET recorded_at = recorded_at - interval '2 minutes'"
        )
    assert world.seen_by("case_ledger_reader_xk", good) == CASE_FIELDS


def test_who_keeps_cannot_read_and_who_reads_cannot_change(world: World) -> None:
    world.deposit()
    for role, statement in (
        ("case_ledger_vault_xk", "SELECT sealed FROM vault_xk.disclosures"),
        ("case_ledger_vault_xk", "SELECT * FROM vault_xk.disclosures"),
        ("case_ledger_vault_xk", "UPDATE vault_xk.readings SET granted = true"),
        ("case_ledger_vault_xk", "DELETE FROM vault_xk.readings"),
        ("case_ledger_vault_xk", "DELETE FROM vault_xk.erased"),
        ("case_ledger_vault_xk", "INSERT INTO vault_xk.access_matrix VALUES ('a', 'b', 'c')"),
        ("case_ledger_reader_xk", "DELETE FROM vault_xk.disclosures"),
        ("case_ledger_reader_xk", "INSERT INTO vault_xk.readings DEFAULT VALUES"),
        ("case_ledger_reader_xk", "INSERT INTO vault_xk.access_matrix VALUES ('a', 'b', 'c')"),
        ("case_ledger_reader_me", "SELECT field FROM vault_xk.disclosures"),
        ("case_ledger_app", "SELECT field FROM vault_xk.disclosures"),
        ("case_ledger_app", "SELECT * FROM vault_xk.readings"),
    ):
        with (
            world.as_role(role) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_the_log_says_who_what_for_and_holds_nothing_that_was_read(world: World) -> None:
    case_id = world.deposit()
    everything(world.vault, case_id)
    entry = reading(world.vault, case_id, groups=(FieldGroup.CONTACT,), purpose=Purpose.PROTECTION)
    listed = world.vault.readings.of_case(case_id)
    assert [one.seq for one in listed] == [1, 2]
    assert listed[1] == entry
    assert listed[1].asked.purpose is Purpose.PROTECTION
    assert world.vault.readings.of_case(uuid4()) == []
    assert world.vault.readings.head()[0] == 2
    assert tables_with(world.database, [NAME, PHONE]) == {}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vault_xk.readings SET entry = replace(entry, 'nac', 'isf') WHERE seq = 2",
        "UPDATE vault_xk.readings SET agency = 'xk-isf' WHERE seq = 2",
        "UPDATE vault_xk.readings SET granted = NOT granted WHERE seq = 2",
        "DELETE FROM vault_xk.readings WHERE seq = 2",
        "UPDATE vault_xk.readings SET hash = sha256('x') WHERE seq = 2",
    ],
)
def test_whoever_changes_the_log_is_found_out(world: World, change: str) -> None:
    """As the database's owner, whom no privilege stops."""
    case_id = world.deposit()
    for _ in range(3):
        reading(world.vault, case_id)
    assert list(world.vault.readings.findings()) == []
    with psycopg.connect(world.database) as connection:
        connection.execute(change.encode())
    assert list(world.vault.readings.findings())


def test_erasure_leaves_nothing_and_lets_nothing_in_again(world: World) -> None:
    case_id, other = world.deposit(), world.deposit()
    assert world.vault.erase(case_id)
    assert not world.vault.erase(case_id)
    assert everything(world.vault, case_id) == ()
    assert len(everything(world.vault, other)) == 5
    assert world.vault.erased([case_id, other]) == {case_id}
    signed = world.agencies.sign("xk-dhtqnj", opening(first_name=NAME), case_id)
    with pytest.raises(Refusal) as refused:
        world.vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
    assert refused.value.rule == "erased-case"
    assert world.vault.keys.get(case_id) is None
    assert len(world.vault.readings.of_case(case_id)) == 1
