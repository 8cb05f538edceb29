"""Persons' data keys are replaced beside readers and writers, and whatever stops that."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.events.event import ActionRecorded
from ledger.procedure.case import Case
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey, SealError
from ledger.store.database import Database
from ledger.store.migrate import vault_role
from ledger.vault.bulk_deposits import KeysReplacedError, SealedDeposit, deposit_new, seal_all
from ledger.vault.data_key_rotation import (
    ReplacementError,
    open_in_backups,
    replace_data_keys,
)
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import Deposits, KeyMissingError
from ledger.vault.field_encryption import unseal
from ledger.vault.key_files import KeyFiles
from ledger.vault.vault import Vault
from ledger.vault.vault_check import VaultCheck
from ledger.vocabulary.levels import Level
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.vaults import reading, values

NAME = "zqNameNobodyElseHas"
PASSPHRASE = "of the tests, and long enough"
STEPS_APART = 1 if int(os.environ.get("CASE_LEDGER_TEST_KILLS", "4")) > 20 else 4
"""A replacement is killed at every so many of its steps."""


class _NoLedger:
    """A ledger that has nothing yet, with every action in the outbox."""

    def recorded(self, _: object) -> dict[UUID, ActionRecorded]:
        return {}

    def undecided(self, action_ids: Sequence[UUID]) -> set[UUID]:
        return set(action_ids)

    def cases(self, _: object) -> dict[UUID, Case]:
        return {}

    def next_cases(self, *_: object) -> tuple[UUID, ...]:
        return ()

    def receives(self, _: str) -> bool:
        return True


@dataclass
class World:
    """A vault, and what is needed to look at it as another process does."""

    pool: Database
    agencies: Agencies
    country: FileCountryKey
    persons: Path
    database: str
    cases: list[UUID] = field(default_factory=list)

    def keys(self) -> DataKeys:
        return DataKeys(self.persons, "XK", self.country)

    def vault(self) -> Vault:
        return Vault(self.pool, "XK", self.keys())

    def deposit(self, case_id: UUID, vault: Vault | None = None) -> None:
        action = opening(first_name=NAME, indicators_note=NAME)
        signed = self.agencies.sign("xk-dhtqnj", action, case_id)
        (vault or self.vault()).deposit(signed_action.read(signed), case_id, signed.disclosures)
        # An action that discloses nothing has a deposit too, which is authenticated again.
        nothing = self.agencies.sign("xk-dhtqnj", action, case_id)
        (vault or self.vault()).deposit(signed_action.read(nothing), case_id, ())

    def with_persons(self, count: int) -> "World":
        self.cases = sorted(uuid4() for _ in range(count))
        for case_id in self.cases:
            self.deposit(case_id)
        return self

    def replace(self, **options: Any) -> Any:
        return replace_data_keys(self.database, "XK", self.keys(), **options)

    def findings(self, but: UUID | None = None) -> list[str]:
        """Return the vault check's findings of every case ``but`` one. The ledger is not asked."""
        protocol = self.agencies.protocol
        check = VaultCheck(self.pool, "XK", self.keys(), _NoLedger())
        found = check.findings(protocol, protocol)
        return [one.what for one in found if but is None or one.case_id != but]

    def holds(self) -> None:
        """Everything opens, is authenticated, and is what was deposited."""
        vault = self.vault()
        for case_id in self.cases:
            assert values(vault, case_id, Level.PERSONAL) == {"first_name": NAME}
            assert len(vault.case_fields(case_id)) == 3
        assert self.findings() == []

    def execute(self, statement: str, *params: object) -> None:
        with psycopg.connect(self.database) as connection:  # as the owner
            connection.execute(statement.encode(), params)


@pytest.fixture
def world(database: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        yield World(pool, agencies, FileCountryKey.generate(), tmp_path / "xk", database)


def files(world: World) -> list[str]:
    return sorted(path.name for path in world.persons.iterdir())


def test_a_backup_gives_back_no_destroyed_disclosure_once_the_key_is_replaced(
    world: World,
) -> None:
    """Until then it does, to who has the backup and the key directory."""
    world.with_persons(2)
    person = world.cases[0]
    read = "SELECT * FROM vault_xk.disclosures WHERE case_id = %s"
    with psycopg.connect(world.database, row_factory=dict_row) as owner:
        backup = owner.execute(read.encode(), (person,)).fetchall()
    action = backup[0]["action_id"]
    world.vault().destroyed.destroy(person, action, uuid4())

    def opened(row: dict[str, Any]) -> str | None:
        place = {name: row[name] for name in ("case_id", "action_id", "digest", "field")}
        key = world.keys().get(person)
        assert key is not None
        try:
            return unseal(key, bytes(row["sealed"]), **place)
        except SealError:
            return None

    assert all(opened(row) for row in backup)
    assert open_in_backups(world.database, "XK") == [person]
    assert world.replace(case_id=person).persons == 1
    assert not any(opened(row) for row in backup)
    assert open_in_backups(world.database, "XK") == []
    assert values(world.vault(), world.cases[1], Level.PERSONAL) == {"first_name": NAME}


def test_whoever_has_the_replaced_keys_opens_nothing_any_more(world: World, tmp_path: Path) -> None:
    world.with_persons(3)
    shutil.copytree(world.persons, stolen := tmp_path / "stolen")
    replaced = {case_id: world.keys().get(case_id) for case_id in world.cases}
    seen: list[tuple[int, int]] = []
    done = world.replace(progress=lambda *so_far: seen.append(so_far))
    assert (done.resumed, done.persons, done.disclosures, done.kept) == (False, 3, 12, 0)
    assert seen == [(n, 3) for n in range(4)]
    assert files(world) == ["data-keys"]
    world.holds()
    thief = Vault(world.pool, "XK", DataKeys(stolen, "XK", world.country))
    for case_id in world.cases:
        assert world.keys().get(case_id) not in (None, replaced[case_id])
        assert (len(held := thief.case_fields(case_id)), len(held.damaged)) == (0, 3)
    world.deposit(world.cases[0])
    assert world.findings() == []


def test_one_person_alone_and_one_of_an_earlier_version(world: World) -> None:
    one, other = world.with_persons(2).cases
    before = {case_id: world.keys().get(case_id) for case_id in world.cases}
    # Earlier versions kept each key in a file of its own.
    sealed = world.keys()._book.read(one)
    assert sealed is not None
    world.keys().destroy(one)
    KeyFiles(world.persons).write(one, sealed)
    assert world.replace(case_id=one).persons == 1
    assert world.keys().get(one) != before[one]
    assert world.keys().get(other) == before[other]
    assert not list(world.persons.rglob("*.key"))
    world.holds()
    with pytest.raises(ReplacementError, match="no data key of this person"):
        world.replace(case_id=uuid4())


def test_a_deposit_that_was_sealed_before_and_is_stored_after_opens(world: World) -> None:
    (case_id,) = world.with_persons(1).cases
    vault = world.vault()
    put_together = Deposits._put_together
    meanwhile = iter([world.replace])

    def late(self: Deposits, ready: Any) -> Any:
        for replace in meanwhile:
            replace()
        return put_together(self, ready)

    with patch.object(vault._deposits._group, "_work", lambda ready: late(vault._deposits, ready)):
        world.deposit(case_id, vault)
    assert len(vault.case_fields(case_id)) == 6
    assert world.findings() == []


def test_rows_that_were_read_before_open_with_what_they_are_now(world: World) -> None:
    """A reader has the rows, and another process seals them again before the key is looked for."""
    (case_id,) = world.with_persons(1).cases
    vault = world.vault()
    opened = Vault._opened
    meanwhile: list[Callable[[], Any]] = []

    def late(self: Vault, case: UUID, rows: Any) -> Any:
        while meanwhile:
            meanwhile.pop()()
        return opened(self, case, rows)

    with patch.object(Vault, "_opened", late):
        for read, count in (
            (lambda: vault.case_fields(case_id), 3),
            (lambda: vault.personal_fields(reading(vault, case_id)), 1),
        ):
            meanwhile.append(world.replace)
            held = read()
            assert (len(held), held.damaged, meanwhile) == (count, (), [])


def test_an_older_copy_of_the_key_directory_is_not_used_any_more(
    world: World, tmp_path: Path
) -> None:
    one, other = world.with_persons(2).cases
    shutil.copytree(world.persons, tmp_path / "copy")
    world.replace()
    world.keys().destroy(one)
    assert world.vault().restore_keys(tmp_path / "copy", [one]) == 0
    shutil.copyfile(tmp_path / "copy" / "data-keys", world.persons / "data-keys")
    with pytest.raises(KeyMissingError, match="older copy"):
        world.deposit(other)


def test_what_was_changed_before_is_still_found_and_its_key_kept(world: World) -> None:
    one, other = world.with_persons(2).cases
    content = "sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)"
    field = "field = 'first_name'"
    world.execute(f"UPDATE vault_xk.disclosures SET {content} WHERE {field} AND case_id = %s", one)
    world.execute(
        "UPDATE vault_xk.disclosures SET received_from = 'ME'"
        " WHERE field = 'indicators_note' AND case_id = %s",
        other,
    )
    before = world.findings()
    assert len(before) == 2
    done = world.replace()
    assert (done.disclosures, done.damaged, done.kept) == (7, 1, 1)
    assert world.findings() == before
    # Put back from a backup of before, the row opens with the key that was kept.
    world.execute(f"UPDATE vault_xk.disclosures SET {content} WHERE {field} AND case_id = %s", one)
    assert values(world.vault(), one, Level.PERSONAL) == {"first_name": NAME}
    done = world.replace()
    assert (done.resumed, done.damaged, done.kept) == (True, 0, 0)
    assert values(world.vault(), one, Level.PERSONAL) == {"first_name": NAME}
    assert len(world.findings()) == 1
    # Given up, it is over.
    world.execute(f"UPDATE vault_xk.disclosures SET {content} WHERE {field} AND case_id = %s", one)
    assert world.replace().kept == 1
    assert world.replace(gives_up_damaged=True).kept == 0
    assert files(world) == ["data-keys"]


def test_an_import_waits_for_no_replacement_and_stores_nothing_under_a_replaced_key(
    world: World,
) -> None:
    case_id = uuid4()
    disclosing = opening(first_name=NAME, indicators_note=NAME)
    signed = world.agencies.sign("xk-dhtqnj", disclosing, case_id)
    action = signed_action.read(signed)
    stale = seal_all(action, case_id, signed.disclosures, world.keys().make(case_id))

    def store(sealed: SealedDeposit) -> None:
        with world.pool.transaction(role=vault_role("XK")) as connection:
            deposit_new(connection, "XK", [case_id], [sealed])

    def is_refused(*_: int) -> None:
        fresh = seal_all(action, case_id, signed.disclosures, world.keys().make(case_id))
        with pytest.raises(KeysReplacedError):
            store(fresh)

    assert world.replace(progress=is_refused).persons == 1
    with pytest.raises(KeysReplacedError):
        store(stale)
    store(seal_all(action, case_id, signed.disclosures, world.keys().make(case_id)))
    world.cases = [case_id]
    world.holds()


def test_only_the_owner_replaces_keys(world: World, server: str) -> None:
    world.with_persons(1)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS somebody")
        connection.execute("CREATE ROLE somebody LOGIN")
    try:
        low = psycopg.conninfo.make_conninfo(world.database, options="-c role=somebody")
        with pytest.raises(ReplacementError, match="CASE_LEDGER_OWNER_DATABASE_URL"):
            replace_data_keys(low, "XK", world.keys())
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP ROLE somebody")
    world.holds()


def test_beside_readers_writers_and_erasures(world: World) -> None:
    """No reading sees a damaged disclosure, and each deposit opens in the end."""
    world.with_persons(6)
    *lasting, gone = world.cases
    faults: list[object] = []

    def repeat(work: Callable[[Vault], None]) -> Callable[[], None]:
        def run() -> None:
            vault = world.vault()
            for _ in range(10):
                try:
                    work(vault)
                except Exception as error:
                    faults.append(error)
                    return

        return run

    def write(vault: Vault) -> None:
        for case_id in lasting:
            world.deposit(case_id, vault)

    def read(vault: Vault) -> None:
        for case_id in lasting:
            faults.extend(vault.case_fields(case_id).damaged)

    def check(_: Vault) -> None:
        # While a person is erased, the key is gone before the rows are.
        faults.extend(world.findings(but=gone))

    threads = [threading.Thread(target=repeat(work)) for work in (write, write, read, check)]
    threads.append(threading.Thread(target=world.vault().erase, args=(gone,)))
    for thread in threads:
        thread.start()
    replacements = 0
    while any(thread.is_alive() for thread in threads):
        world.replace()
        replacements += 1
    assert (faults, replacements > 2) == ([], True)
    vault = world.vault()
    assert all(not vault.case_fields(case_id).damaged for case_id in lasting)
    assert world.findings() == []
    assert world.keys().get(gone) is None
    assert files(world) == ["data-keys"]
    assert str(gone).encode() not in (world.persons / "data-keys").read_bytes()
    with pytest.raises(Refusal, match="erased"):
        world.deposit(gone)


KILLED = """
import os, signal, sys
from pathlib import Path
from ledger.vault import data_key_rotation
from ledger.signing.country_key import FileCountryKey, SealError
from ledger.vault.data_keys import DataKeys

conninfo, country, persons, passphrase = sys.argv[1:]
keys = DataKeys(Path(persons), "XK", FileCountryKey.load(Path(country), passphrase))


def killed_before(owner, name, left):
    effect = getattr(owner, name)

    def counted(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return effect(*args, **options)

    setattr(owner, name, counted)


for line in sys.stdin:
    child = os.fork()
    if not child:
        left = [int(line)]
        for owner, name in (
            (os, "fsync"), (os, "fdatasync"), (os, "pwrite"), (os, "ftruncate"),
            (Path, "replace"), (Path, "unlink"), (data_key_rotation, "seal"),
        ):
            killed_before(owner, name, left)
        data_key_rotation.replace_data_keys(conninfo, "XK", keys)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_killed_at_each_of_its_steps_every_row_opens_and_the_next_run_completes_it(
    world: World, tmp_path: Path
) -> None:
    world.with_persons(2)
    world.country.save(country := tmp_path / "country-xk.jwe", PASSPHRASE, rounds=1000)
    command = [sys.executable, "-c", KILLED, world.database, str(country), str(world.persons)]
    resumed = 0
    with subprocess.Popen(
        [*command, PASSPHRASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for step in range(0, 200, STEPS_APART):
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            status = int(process.stdout.readline())
            world.holds()
            before = {case_id: world.keys().get(case_id) for case_id in world.cases}
            done = world.replace()
            resumed += done.resumed
            world.holds()
            assert files(world) == ["data-keys"]
            after = {case_id: world.keys().get(case_id) for case_id in world.cases}
            assert (before == after) is done.resumed
            if status == 0:
                break
        process.stdin.close()
    assert status == 0
    assert step > 20
    assert resumed > 10 // STEPS_APART
