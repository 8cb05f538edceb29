"""A country's key is replaced while its node runs, and is never replaced without a word."""

import shutil
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from api.continuity.lost_keys import LostKeyError, check_none_lost
from api.keys.country_keys import (
    change_passphrase,
    country_key,
    country_keys,
    new_country_key,
    pair_masks,
    person_keys,
    retire_country_keys,
)
from api.keys.log_keys import log_key, witness_key
from api.node.node import Node, own_key_names
from api.processes.worker import NodeWorker
from api.runtime.settings import Settings
from ledger.signing.country_key import ROUNDS_FOR_RANDOM, FileCountryKey, SealError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_directory=tmp_path, countries=("XK",))


def test_a_running_process_uses_a_new_key_and_opens_with_the_earlier_one(
    settings: Settings,
) -> None:
    running = country_keys(settings, ["XK"])
    persons, masks = person_keys(settings, running)["XK"], pair_masks(settings, running)["XK"]
    child, other = uuid4(), uuid4()
    made = persons.make(child)
    secret = masks.secret("ME")
    old = running["XK"].public
    in_flight = old.seal(b"a parcel", b"context")
    # The command is another process: here, other objects on the same files.
    new = new_country_key(settings, "XK")
    assert new != old
    assert running["XK"].public == new
    assert running["XK"].open(in_flight, b"context") == b"a parcel"
    assert running["XK"].open(new.seal(b"another", b"context"), b"context") == b"another"
    also_made = persons.make(other)
    told = country_keys(settings, ["XK"])
    assert person_keys(settings, told)["XK"].check_each(told["XK"].opens_with_newest) == 1
    assert person_keys(settings, told)["XK"].reseal() == 2
    assert pair_masks(settings, told)["XK"].reseal() == 1
    assert person_keys(settings, told)["XK"].check_each(told["XK"].opens_with_newest) == 0
    assert [path.name for path in retire_country_keys(settings, "XK")] == ["country-xk.jwe"]
    # All that was sealed again opens; what was left in flight does not.
    for held in (running, country_keys(settings, ["XK"])):
        assert person_keys(settings, held)["XK"].get(child) == made
        assert person_keys(settings, held)["XK"].get(other) == also_made
        assert pair_masks(settings, held)["XK"].secret("ME") == secret
        with pytest.raises(SealError):
            held["XK"].open(in_flight, b"context")


def test_whoever_has_the_retired_key_opens_nothing_that_was_sealed_again(
    settings: Settings,
) -> None:
    held = country_keys(settings, ["XK"])
    persons = person_keys(settings, held)["XK"]
    child = uuid4()
    persons.make(child)
    passphrase = (settings.key_directory / "passphrase").read_text()
    stolen = FileCountryKey.load(settings.key_directory / "country-xk.jwe", passphrase)
    opened: list[bytes] = []

    def try_it(sealed: bytes, context: bytes) -> bool:
        try:
            opened.append(stolen.open(sealed, context))
        except SealError:
            return False
        return True

    assert persons.check_each(try_it) == 0
    new_country_key(settings, "XK")
    persons.reseal()
    opened.clear()
    assert persons.check_each(try_it) == 1
    assert opened == []


@pytest.mark.parametrize("gone", ["country-xk.jwe", "log.jwk", "witness-xk.jwk"])
def test_a_key_that_was_used_and_is_gone_is_not_replaced(
    settings: Settings, database: str, gone: str
) -> None:
    make = {
        "country-xk.jwe": lambda: country_key(settings, "XK"),
        "log.jwk": lambda: log_key(settings),
        "witness-xk.jwk": lambda: witness_key(settings, "XK"),
    }
    with Node(settings, database) as node, NodeWorker(node):
        pass
    files = sorted(path.name for path in settings.key_directory.iterdir())
    (settings.key_directory / gone).unlink()
    left = sorted(path.name for path in settings.key_directory.iterdir())
    # By the mark beside it, for commands; by the database, where the whole directory is gone.
    with pytest.raises(LostKeyError, match="is missing"):
        make[gone]()
    with pytest.raises(LostKeyError, match=gone):
        Node(settings, database)
    assert sorted(path.name for path in settings.key_directory.iterdir()) == left
    shutil.rmtree(settings.key_directory)
    with pytest.raises(LostKeyError):
        Node(settings, database)
    assert not settings.key_directory.exists()
    assert gone in files


def test_a_database_of_before_tells_that_a_key_was_used(
    settings: Settings, database: str, tmp_path: Path
) -> None:
    names = own_key_names(settings, leads=True)
    check_none_lost(settings, database, names)
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO log.signed VALUES (1, %s, 'note', now())", (bytes(32),))
    with pytest.raises(LostKeyError, match=r"log\.jwk"):
        check_none_lost(settings, database, names)
    # Data keys of persons are files that only the country's key opens.
    elsewhere = Settings(data_directory=tmp_path / "elsewhere", countries=("XK",))
    book = elsewhere.key_directory / "persons" / "xk" / "data-keys"
    book.parent.mkdir(parents=True)
    book.write_bytes(b"sealed")
    with pytest.raises(LostKeyError):
        country_key(elsewhere, "XK")


def test_a_missing_passphrase_is_not_replaced(settings: Settings) -> None:
    country_key(settings, "XK")
    (settings.key_directory / "passphrase").unlink()
    with pytest.raises(ValueError, match="passphrase is missing"):
        country_key(settings, "XK")
    assert not (settings.key_directory / "passphrase").exists()


def test_a_passphrase_is_changed_and_a_crash_between_two_files_is_completed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.keys.country_keys.ROUNDS", ROUNDS_FOR_RANDOM)
    old, new = "the old passphrase!", "a new passphrase!!"
    before = Settings(data_directory=tmp_path, countries=("XK",), country_key_passphrase=old)
    after = Settings(data_directory=tmp_path, countries=("XK",), country_key_passphrase=new)
    sealed = country_key(before, "XK").public.seal(b"content", b"context")
    new_country_key(before, "XK")
    # As a crash leaves it: one of the two is changed.
    first = before.key_directory / "country-xk.jwe"
    kept = first.read_bytes()
    assert len(change_passphrase(before, ["XK"], new)) == 2
    first.write_bytes(kept)
    assert [path.name for path in change_passphrase(before, ["XK"], new)] == ["country-xk.jwe"]
    assert country_key(after, "XK").open(sealed, b"context") == b"content"
    with pytest.raises(ValueError, match="does not open"):
        country_key(before, "XK")
    with pytest.raises(ValueError, match="does not open"):
        change_passphrase(
            before.model_copy(update={"country_key_passphrase": SecretStr("x" * 20)}),
            ["XK"],
            "y" * 20,
        )
