"""Notes, reminders and flags in a vault: of one agency, sealed, and erased with the person."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.refusals import Refusal
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.store.migrate import reader_role, vault_role
from ledger.vault import working_notes
from ledger.vault.data_key_rotation import replace_data_keys
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import KeyMissingError
from ledger.vault.vault import Vault
from ledger.vault.working_notes import Desk
from tests.support.databases import new_database

POLICE, COURT = Desk("xk-dhtqnj"), Desk("xk-gjykata")
SECRET = "zqNobodyElseHasThis"
DAY = date(2026, 12, 24)


@pytest.fixture(scope="module")
def database(server: str, begun: str) -> Iterator[str]:
    with new_database(server, begun) as conninfo:
        yield conninfo


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    with Database(database) as opened:
        yield opened


@pytest.fixture
def vault(pool: Database, tmp_path: Path) -> Vault:
    return Vault(pool, "XK", DataKeys(tmp_path / "persons", "XK", FileCountryKey.generate()))


def texts(vault: Vault, desk: Desk, case_id: UUID) -> list[str | None]:
    return [one.text for one in vault.notes.of_case(desk, case_id)]


def test_a_note_is_for_its_agency_alone(vault: Vault) -> None:
    """Another agency of the country neither reads nor changes it; nor another member."""
    case, other = uuid4(), uuid4()
    note = vault.notes.add(POLICE, case, SECRET)
    vault.notes.add(POLICE, other, "of another case")
    member = Desk(POLICE.agency, "a member")
    assert texts(vault, POLICE, case) == [SECRET]
    for desk in (COURT, member):
        assert texts(vault, desk, case) == []
        assert not vault.notes.remove(desk, note.id)
    assert vault.notes.remove(POLICE, note.id)
    assert texts(vault, POLICE, case) == []


def test_reminders_are_listed_by_day_until_they_are_done(vault: Vault) -> None:
    """A reminder of an earlier day stays until it is done; a note is no reminder."""
    case, desk = uuid4(), Desk("xk-qps")
    later = vault.notes.add(desk, case, "later", date(2026, 12, 30))
    first = vault.notes.add(desk, case, "first", DAY)
    note = vault.notes.add(desk, case, "a note")
    assert [one.id for one in vault.notes.due(desk, None, date(2026, 12, 31), limit=9)] == [
        first.id,
        later.id,
    ]
    assert [one.id for one in vault.notes.due(desk, None, DAY, limit=9)] == [first.id]
    assert [one.id for one in vault.notes.due(desk, date(2026, 12, 25), date.max, limit=9)] == [
        later.id
    ]
    assert not vault.notes.mark_done(COURT, first.id)
    assert not vault.notes.mark_done(desk, note.id)
    assert vault.notes.mark_done(desk, first.id)
    assert not vault.notes.mark_done(desk, first.id)
    assert [one.id for one in vault.notes.due(desk, None, date.max, limit=9)] == [later.id]


def test_flags_are_of_one_agency(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag twice is one flag, and there is a bound."""
    first, second, desk = uuid4(), uuid4(), Desk("xk-prokuroria")
    vault.notes.flag(desk, first)
    vault.notes.flag(desk, second)
    vault.notes.flag(desk, second)
    assert vault.notes.flagged(desk) == [second, first]
    assert vault.notes.flagged(Desk("xk-nac")) == []
    vault.notes.unflag(desk, second)
    assert vault.notes.flagged(desk) == [first]
    monkeypatch.setattr(working_notes, "MOST_FLAGS", 1)
    with pytest.raises(Refusal, match="at most 1"):
        vault.notes.flag(desk, second)


def test_a_case_has_a_bounded_number_of_notes(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reminder that is done does not count."""
    case = uuid4()
    monkeypatch.setattr(working_notes, "MOST_OF_CASE", 1)
    reminder = vault.notes.add(POLICE, case, "a", DAY)
    with pytest.raises(Refusal, match="at most 1"):
        vault.notes.add(POLICE, case, "b")
    vault.notes.mark_done(POLICE, reminder.id)
    vault.notes.add(POLICE, case, "b")


def test_the_database_has_no_text_in_clear_and_opens_one_agency_at_a_time(
    vault: Vault, database: str
) -> None:
    """The keeper's role reads no sealed text; the reader's role sees the named agency's rows."""
    case = uuid4()
    vault.notes.add(POLICE, case, SECRET)
    vault.notes.add(COURT, case, "of the court")
    rows = "SELECT sealed FROM vault_xk.working_notes WHERE case_id = %s"
    with psycopg.connect(database) as owner:
        every = owner.execute(
            "SELECT working_notes::text FROM vault_xk.working_notes WHERE case_id = %s", (case,)
        ).fetchall()
        assert len(every) == 2
        assert SECRET not in str(every)
        assert SECRET.encode().hex() not in str(every)
        owner.execute(f"SET ROLE {reader_role('XK')}")
        assert owner.execute(rows, (case,)).fetchall() == []
        owner.execute("SELECT set_config('case_ledger.notes_of', %s, false)", (COURT.agency,))
        assert len(owner.execute(rows, (case,)).fetchall()) == 1
        owner.execute(f"SET ROLE {vault_role('XK')}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(rows, (case,))


def test_a_row_that_somebody_changed_does_not_open(vault: Vault, database: str) -> None:
    """The text is bound to agency and day: whoever moves a row to another agency opens nothing."""
    case = uuid4()
    note = vault.notes.add(POLICE, case, SECRET, DAY)
    with psycopg.connect(database) as owner:
        owner.execute(
            "UPDATE vault_xk.working_notes SET agency = %s WHERE id = %s", (COURT.agency, note.id)
        )
    assert texts(vault, COURT, case) == [None]


def test_an_erasure_takes_notes_and_flags_and_closes_copies(vault: Vault, database: str) -> None:
    """The row of a backup does not open again, and nothing new is taken in."""
    case = uuid4()
    vault.notes.add(POLICE, case, SECRET, DAY)
    vault.notes.flag(POLICE, case)
    with psycopg.connect(database) as owner:
        kept = owner.execute(
            "SELECT * FROM vault_xk.working_notes WHERE case_id = %s", (case,)
        ).fetchall()
        assert vault.erase(case)
        left = owner.execute(
            "SELECT FROM vault_xk.working_notes WHERE case_id = %s", (case,)
        ).fetchall()
        assert (len(kept), left, vault.notes.flagged(POLICE)) == (1, [], [])
        owner.execute(
            "INSERT INTO vault_xk.working_notes VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", kept[0]
        )
    assert texts(vault, POLICE, case) == [None]
    with pytest.raises(Refusal, match="erased"):
        vault.notes.add(POLICE, case, "again")
    vault.notes.flag(POLICE, case)
    assert vault.notes.flagged(POLICE) == []
    assert not vault.keys.has(case)


def test_a_replaced_data_key_opens_notes_still(vault: Vault, database: str) -> None:
    """The text is sealed under the new key: the replaced one, in a backup, opens nothing now."""
    case = uuid4()
    vault.notes.add(POLICE, case, SECRET)
    before = vault.keys.get(case)
    assert replace_data_keys(database, "XK", vault.keys, case_id=case).kept == 0
    assert vault.keys.get(case) != before
    assert texts(vault, POLICE, case) == [SECRET]


def test_a_lost_key_is_not_replaced_by_a_first_one(vault: Vault) -> None:
    """A case with notes alone and no key: nothing new is taken in under another key."""
    case = uuid4()
    vault.notes.add(POLICE, case, SECRET)
    vault.keys.destroy(case)
    missing, _ = vault.key_faults()
    assert case in missing
    with pytest.raises(KeyMissingError):
        vault.notes.add(POLICE, case, "again")
    vault.give_up([case])
    assert texts(vault, POLICE, case) == []
