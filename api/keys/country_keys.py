"""The places of a country's key and of its data keys on this machine."""

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from api.continuity.lost_keys import mark_used, refuse_lost
from api.runtime.settings import Settings
from ledger.signing.country_key import (
    ROUNDS,
    ROUNDS_FOR_RANDOM,
    CountryPublicKey,
    FileCountryKey,
    SealError,
)
from ledger.signing.keys import write_private
from ledger.system.fsync import sync_directory
from ledger.vault.data_keys import DataKeys
from ledger.vault.duplicates.masks import Masks
from ledger.vault.rotating_key import (
    RotatingCountryKey,
    country_key_files,
    next_country_key_file,
)
from ledger.vault.search.search_tokens import SEARCH, SearchKey, SearchKeys

_log = structlog.get_logger(__name__)


def country_key(settings: Settings, party: str) -> RotatingCountryKey:
    """Return a country's keys, and make the first one at a new node's first start.

    The keys' files are encrypted with the passphrase of the settings, or else with one that is made
    and kept beside them, for a first try on one machine. A key that was used before and is missing
    is not replaced: all that was sealed to it would stay closed without a word. Raises
    ``ValueError``, also if such a key is missing.
    """
    directory = settings.key_directory
    if not country_key_files(directory, party):
        refuse_lost(settings, f"country-{party.lower()}", _sealed_before(settings, party))
        with suppress(FileExistsError):  # another process may be first
            _make(settings, party)
    key = RotatingCountryKey(directory, party, _passphrase(settings)[0])
    mark_used(settings, f"country-{party.lower()}", str(key.public))
    return key


def new_country_key(settings: Settings, party: str) -> CountryPublicKey:
    """Make another key for a country, on purpose.

    The earlier keys stay, to open all that was sealed to them.
    """
    made = _make(settings, party)
    mark_used(settings, f"country-{party.lower()}", str(made))
    return made


def change_passphrase(settings: Settings, parties: Iterable[str], new: str) -> list[Path]:
    """Encrypt every key file of these countries with another passphrase. Gives the files.

    A file that has the new one already is left: after a crash, repeating it completes it. Raises
    ``ValueError`` where a file opens with neither.
    """
    old, rounds = _passphrase(settings)
    done = []
    for path in [p for one in parties for p in country_key_files(settings.key_directory, one)]:
        try:
            key = FileCountryKey.load(path, old)
        except ValueError:
            FileCountryKey.load(path, new)
            continue
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)  # of a process that was stopped
        key.save(beside, new, rounds=ROUNDS if settings.country_key_passphrase else rounds)
        beside.replace(path)
        sync_directory(path.parent)
        done.append(path)
    return done


def retire_country_keys(settings: Settings, party: str) -> list[Path]:
    """Overwrite and remove all but the newest key of a country. Gives the files that are gone."""
    old = country_key_files(settings.key_directory, party)[:-1]
    for path in old:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    sync_directory(settings.key_directory)
    return old


def country_keys(settings: Settings, parties: Iterable[str]) -> Mapping[str, RotatingCountryKey]:
    """Return the keys of this node's countries.

    Raises ``ValueError``.
    """
    return {party: country_key(settings, party) for party in parties}


def person_keys(
    settings: Settings, keys: Mapping[str, RotatingCountryKey]
) -> Mapping[str, DataKeys]:
    """Return the data keys of each country's vault, in a directory apart from the database."""
    root = _apart(settings)
    return {party: DataKeys(root / party.lower(), party, key) for party, key in keys.items()}


def parcel_keys(settings: Settings) -> Path:
    """Return the directory of the keys of parcels that wait at this node for another country."""
    return _apart(settings) / "parcels"


def pair_masks(settings: Settings, keys: Mapping[str, RotatingCountryKey]) -> Mapping[str, Masks]:
    """Return each country's masks for comparing cases, apart from the database."""
    root = settings.key_directory / "masks"
    return {party: Masks(root / party.lower(), party, key) for party, key in keys.items()}


def search_keys(settings: Settings, keys: Mapping[str, RotatingCountryKey]) -> SearchKeys:
    """Return the key of each country's search index, whose secret is beside the masks."""

    def key_of(masks: Masks) -> SearchKey | None:
        try:
            return SearchKey.of(masks.secret(SEARCH))
        except (SealError, OSError) as error:
            _log.error("the secret of the search index does not open", error=type(error).__name__)
            return None

    return {party: partial(key_of, masks) for party, masks in pair_masks(settings, keys).items()}


def _make(settings: Settings, party: str) -> CountryPublicKey:
    passphrase, rounds = _passphrase(settings)
    key = FileCountryKey.generate()
    key.save(next_country_key_file(settings.key_directory, party), passphrase, rounds=rounds)
    return key.public


def _sealed_before(settings: Settings, party: str) -> bool:
    """Return whether there are files that only the country's key opens."""
    places = (_apart(settings) / party.lower(), settings.key_directory / "masks" / party.lower())
    return any(path.is_file() for place in places if place.is_dir() for path in place.rglob("*"))


def _apart(settings: Settings) -> Path:
    """Return the directory of the data keys.

    A key that is destroyed there must be gone everywhere.
    """
    return settings.person_keys or settings.key_directory / "persons"


def _passphrase(settings: Settings) -> tuple[str, int]:
    if settings.country_key_passphrase is not None:
        return settings.country_key_passphrase.get_secret_value(), ROUNDS
    path: Path = settings.key_directory / "passphrase"
    if not path.exists():
        if any(settings.key_directory.glob("country-*.jwe")):
            raise ValueError(
                f"{path} is missing, which opens the countries' keys: put it back from its backup, "
                "or set CASE_LEDGER_COUNTRY_KEY_PASSPHRASE"
            )
        with suppress(FileExistsError):
            write_private(path, secrets.token_urlsafe(32).encode("ascii"))
    return path.read_text(encoding="ascii"), ROUNDS_FOR_RANDOM
