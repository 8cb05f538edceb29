"""Where a country's key, its persons' data keys and those of parcels are on this machine."""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from api.settings import Settings
from ledger.duplicates.shares import Shares
from ledger.keys import write_private
from ledger.vault.country_key import ROUNDS, ROUNDS_FOR_RANDOM, CountryKey, FileCountryKey
from ledger.vault.data_keys import DataKeys


def country_key(settings: Settings, party: str) -> CountryKey:
    """A country's key, made where there is none yet. Raises ``ValueError``.

    Its file is encrypted with the passphrase of the settings, or else with one that is made and
    kept beside it, for a first try on one machine.
    """
    path = settings.key_directory / f"country-{party.lower()}.jwe"
    passphrase, rounds = _passphrase(settings)
    if not path.exists():
        with suppress(FileExistsError):  # another process may be first
            FileCountryKey.generate().save(path, passphrase, rounds=rounds)
    return FileCountryKey.load(path, passphrase)


def country_keys(settings: Settings, parties: Iterable[str]) -> Mapping[str, CountryKey]:
    """The keys of the countries whose node this is. Raises ``ValueError``."""
    return {party: country_key(settings, party) for party in parties}


def person_keys(settings: Settings, keys: Mapping[str, CountryKey]) -> Mapping[str, DataKeys]:
    """The data keys of each country's vault, in a directory apart from the database."""
    root = _apart(settings)
    return {party: DataKeys(root / party.lower(), party, key) for party, key in keys.items()}


def parcel_keys(settings: Settings) -> Path:
    """Where the keys are of what waits at this node for another country."""
    return _apart(settings) / "parcels"


def pair_shares(settings: Settings, keys: Mapping[str, CountryKey]) -> Mapping[str, Shares]:
    """Each country's shares of the keys with other countries, apart from the database."""
    root = settings.key_directory / "shares"
    return {party: Shares(root / party.lower(), party, key) for party, key in keys.items()}


def _apart(settings: Settings) -> Path:
    """What is destroyed there must be gone everywhere."""
    return settings.person_keys or settings.key_directory / "persons"


def _passphrase(settings: Settings) -> tuple[str, int]:
    if settings.country_key_passphrase is not None:
        return settings.country_key_passphrase.get_secret_value(), ROUNDS
    path: Path = settings.key_directory / "passphrase"
    if not path.exists():
        with suppress(FileExistsError):
            write_private(path, secrets.token_urlsafe(32).encode("ascii"))
    return path.read_text(encoding="ascii"), ROUNDS_FOR_RANDOM
