"""The vault: nothing in clear, each disclosure at its place alone, and keys apart."""

import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import psycopg.conninfo
import pytest

from ledger.signing import signed_action
from ledger.signing.country_key import CountryPublicKey, FileCountryKey, SealError
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import KeyMissingError
from ledger.vault.field_encryption import seal, unseal
from ledger.vault.key_files import KeyFiles
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import Level
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import tables_with
from tests.support.vaults import everything, reading, values

NAME, NOTE = "zqNameNobodyElseHas", "zqNoteNobodyElseHas"
COUNTRY = FileCountryKey.generate()


@dataclass
class World:
    vault: Vault
    keys: DataKeys
    agencies: Agencies
    database: str

    def deposit(self, case_id: UUID) -> UUID:
        action = opening(first_name=NAME, indicators_note=NOTE)
        signed = self.agencies.sign("xk-dhtqnj", action, case_id)
        self.vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
        return signed_action.read(signed).id

    def values(self, case_id: UUID, level: Level) -> dict[str, object]:
        return values(self.vault, case_id, level)

    def execute(self, statement: str, *params: object) -> None:
        with psycopg.connect(self.database) as connection:  # as the owner
            connection.execute(statement.encode(), params)


@pytest.fixture
def world(database: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        keys = DataKeys(tmp_path / "persons", "XK", COUNTRY)
        yield World(Vault(pool, "XK", keys), keys, agencies, database)


def test_what_is_deposited_opens_and_lies_nowhere_in_clear(world: World) -> None:
    case_id = uuid4()
    world.deposit(case_id)
    assert world.values(case_id, Level.PERSONAL)["first_name"] == NAME
    assert world.values(case_id, Level.CASE)["indicators_note"] == NOTE
    assert everything(world.vault, uuid4()) == ()
    assert tables_with(world.database, [NAME, NOTE]) == {}


def test_two_persons_have_two_keys_and_one_value_two_ciphers(world: World) -> None:
    one, other = uuid4(), uuid4()
    for case_id in (one, one, other):
        world.deposit(case_id)
    assert world.keys.get(one) != world.keys.get(other)
    with psycopg.connect(world.database) as connection:
        rows = connection.execute(
            "SELECT sealed FROM vault_xk.disclosures WHERE field = 'first_name'"
        ).fetchall()
    assert len({bytes(row[0])[:12] for row in rows}) == len({bytes(row[0]) for row in rows}) == 3


@pytest.mark.parametrize(
    "moved", ["case_id", "action_id", "digest", "field", "data_key", "content"]
)
def test_a_disclosure_opens_at_its_own_place_alone(moved: str) -> None:
    data_key = secrets.token_bytes(32)
    place = {"case_id": uuid4(), "action_id": uuid4(), "digest": "d" * 43, "field": "first_name"}
    sealed = seal(data_key, NAME, **place)  # type: ignore[arg-type]
    assert unseal(data_key, sealed, **place) == NAME  # type: ignore[arg-type]
    elsewhere = {
        "case_id": uuid4(),
        "action_id": uuid4(),
        "digest": "e" * 43,
        "field": "last_name",
    }
    if moved in place:
        place[moved] = elsewhere[moved]
    elif moved == "data_key":
        data_key = secrets.token_bytes(32)
    else:
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(SealError):
        unseal(data_key, sealed, **place)  # type: ignore[arg-type]


def test_whoever_moves_rows_about_is_found_out(world: World) -> None:
    """As the database's owner: one child's name under another child's case."""
    one, other = uuid4(), uuid4()
    world.deposit(one)
    world.deposit(other)
    world.execute(
        "UPDATE vault_xk.disclosures a SET sealed = b.sealed FROM vault_xk.disclosures b"
        " WHERE a.case_id = %s AND b.case_id = %s AND a.field = b.field",
        one,
        other,
    )
    held = world.vault.case_fields(one)
    assert (tuple(held), {d.field for d in held.damaged}) == (
        (),
        {"ground", "indicators", "indicators_note"},
    )
    personal = world.vault.personal_fields(reading(world.vault, one))
    assert (tuple(personal), [d.field for d in personal.damaged]) == ((), ["first_name"])
    assert world.values(other, Level.PERSONAL)["first_name"] == NAME


def test_without_its_key_nothing_opens_and_nothing_hides_that(world: World) -> None:
    case_id, other = uuid4(), uuid4()
    world.deposit(case_id)
    world.deposit(other)
    assert world.keys.destroy(case_id)
    assert not world.keys.destroy(case_id)
    assert world.keys.get(case_id) is None
    with pytest.raises(KeyMissingError):
        world.vault.case_fields(case_id)
    with pytest.raises(KeyMissingError):
        world.deposit(case_id)  # a new key would hide that the old one is gone
    assert world.values(other, Level.PERSONAL)["first_name"] == NAME


def test_no_backup_opens_once_the_key_is_destroyed(
    world: World, server: str, tmp_path: Path
) -> None:
    case_id, other = uuid4(), uuid4()
    world.deposit(case_id)
    world.deposit(other)
    backup = f"{psycopg.conninfo.conninfo_to_dict(world.database)['dbname']}_backup"
    world.vault._database.close()  # a template is copied while nobody is connected
    with psycopg.connect(server, autocommit=True) as connection:
        template = backup.removesuffix("_backup")
        connection.execute(f"CREATE DATABASE {backup} TEMPLATE {template}".encode())
    try:
        assert world.keys.destroy(case_id)
        with Database(psycopg.conninfo.make_conninfo(server, dbname=backup)) as pool:
            restored = Vault(pool, "XK", DataKeys(tmp_path / "persons", "XK", COUNTRY))
            with pytest.raises(KeyMissingError):
                everything(restored, case_id)
            assert everything(restored, other)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {backup} WITH (FORCE)".encode())


def test_what_an_earlier_version_stored_in_clear_is_encrypted(world: World) -> None:
    cases = [uuid4() for _ in range(3)]
    for case_id in cases:
        signed = world.agencies.sign("xk-dhtqnj", opening(first_name=NAME), case_id)
        (name,) = [d for d in signed.disclosures if d.name == "first_name"]
        world.execute(
            "INSERT INTO vault_xk.disclosures (action_id, deposit_id, digest, case_id, field,"
            " level, field_group, disclosure) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            signed_action.read(signed).id,
            uuid4(),
            name.digest,
            case_id,
            "first_name",
            "personal",
            "identity",
            name.encoded,
        )
    assert set(tables_with(world.database, [NAME])) == {"vault_xk.disclosures"}
    assert world.vault.seal_stored() == 3
    assert world.vault.seal_stored() == 0
    assert tables_with(world.database, [NAME]) == {}
    for case_id in cases:
        assert world.values(case_id, Level.PERSONAL) == {"first_name": NAME}


def test_another_country_opens_nothing(world: World, tmp_path: Path) -> None:
    case_id = uuid4()
    world.deposit(case_id)
    theirs = DataKeys(tmp_path / "persons", "XK", FileCountryKey.generate())
    with pytest.raises(SealError):
        theirs.get(case_id)
    # Nor does the own key, for another country's vault or another person.
    with pytest.raises(SealError):
        DataKeys(tmp_path / "persons", "ME", COUNTRY).get(case_id)
    other = uuid4()
    sealed = world.keys._book.read(case_id)
    assert sealed is not None
    world.keys._book.add({other: sealed})
    with pytest.raises(SealError):
        world.keys.get(other)


def test_a_service_may_hold_the_countrys_key(world: World, tmp_path: Path) -> None:
    """The vault needs a public key and ``open``, for each person once and for no field."""

    @dataclass
    class Service:
        public: CountryPublicKey
        asked: int = 0

        def open(self, sealed: bytes, context: bytes) -> bytes:
            self.asked += 1
            return COUNTRY.open(sealed, context)

    service = Service(COUNTRY.public)
    vault = Vault(world.vault._database, "XK", DataKeys(tmp_path / "persons", "XK", service))
    case_id = uuid4()
    world.deposit(case_id)
    assert len(vault.case_fields(case_id)) == 3
    assert service.asked == 1


def test_keys_are_for_their_owner_alone(world: World, tmp_path: Path) -> None:
    world.deposit(uuid4())
    (path,) = (tmp_path / "persons").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_keys_in_files_of_an_earlier_version_open_and_are_destroyed(tmp_path: Path) -> None:
    keys, case_id, made = DataKeys(tmp_path, "XK", COUNTRY), uuid4(), secrets.token_bytes(32)
    context = f"case-ledger data key 1\nXK\n{case_id}\n".encode()
    KeyFiles(tmp_path).write(case_id, COUNTRY.public.seal(made, context))
    assert keys.get(case_id) == keys.make(case_id) == keys.make_all([case_id])[case_id] == made
    assert keys.destroy(case_id)
    assert keys.get(case_id) is None
    assert not list(tmp_path.rglob("*.key"))


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    case_id = uuid4()
    made: list[bytes] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.append(DataKeys(tmp_path, "XK", COUNTRY).make(case_id))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_countrys_key_is_kept_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "country-xk.jwe"
    COUNTRY.save(path, "correct horse battery")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = FileCountryKey.load(path, "correct horse battery")
    assert again.public == COUNTRY.public
    for passphrase in ("correct horse batterz", "another passphrase"):
        with pytest.raises(ValueError, match="passphrase"):
            FileCountryKey.load(path, passphrase)
    with pytest.raises(FileExistsError):
        FileCountryKey.generate().save(path, "correct horse battery")
    path.write_bytes(path.read_bytes()[:-4] + b"AAAA")
    with pytest.raises(ValueError, match="passphrase"):
        FileCountryKey.load(path, "correct horse battery")


def test_what_is_sealed_to_a_country_opens_there_in_its_context() -> None:
    public = CountryPublicKey.from_bytes(bytes(COUNTRY.public))
    assert (public, public.id) == (COUNTRY.public, COUNTRY.public.id)
    sealed = public.seal(b"for Kosovo", b"context")
    assert COUNTRY.open(sealed, b"context") == b"for Kosovo"
    assert sealed != public.seal(b"for Kosovo", b"context")
    other = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for content, context in ((sealed, b"another"), (other, b"context"), (b"", b"")):
        with pytest.raises(SealError):
            COUNTRY.open(content, context)
    with pytest.raises(SealError):
        CountryPublicKey.from_bytes(bytes(COUNTRY.public)[:-1])


def test_an_opened_key_is_known_for_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    keys = DataKeys(tmp_path, "XK", FileCountryKey.generate())
    other = DataKeys(tmp_path, "XK", keys._key)
    person = uuid4()
    made = keys.make(person)
    assert keys.get(person) == keys.get(person) == made
    with patch.object(FileCountryKey, "open", side_effect=AssertionError("opened again")):
        assert keys.get(person) == made
    assert other.destroy(person)  # another process erases the person
    assert keys.get(person) is None
    assert keys._opened == {}
    again = keys.make(person)
    assert keys.get(person) == again != made
    assert keys.destroy(person)
    assert keys._opened == {}
