"""A country's keys on this machine: the newest one, and earlier ones that still open."""

import re
import threading
from pathlib import Path

from ledger.signing.country_key import CountryPublicKey, FileCountryKey, SealError


class RotatingCountryKey:
    """The country's key files ``country-xx.jwe``, ``country-xx-2.jwe`` and so on.

    What is sealed here is sealed to the newest one. Whatever any of them opens is opened. A file
    that is added or removed while the process runs is noticed. Raises ``ValueError`` where a file
    does not open with the passphrase.
    """

    def __init__(self, directory: Path, party: str, passphrase: str) -> None:
        self._directory = directory
        self._party = party
        self._passphrase = passphrase
        self._seen: object = None
        self._keys: dict[Path, tuple[FileCountryKey, CountryPublicKey]] = {}
        self._lock = threading.Lock()
        self._load()

    @property
    def public(self) -> CountryPublicKey:
        """Return the newest key's public half."""
        self._load()
        return next(iter(self._keys.values()))[1]

    @property
    def all_public(self) -> tuple[CountryPublicKey, ...]:
        """Return the public halves of all the country's keys here, the newest first."""
        self._load()
        return tuple(public for _, public in self._keys.values())

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open a text that was sealed to this country.

        Raises ``SealError`` if no key here opens the text.
        """
        self._load()
        for key, _ in self._keys.values():
            try:
                return key.open(sealed, context)
            except SealError:
                continue
        raise SealError("this was sealed to a key that is not here, or it was altered")

    def opens_with_newest(self, sealed: bytes, context: bytes) -> bool:
        """Return whether the newest key opens a sealed text."""
        self._load()
        try:
            next(iter(self._keys.values()))[0].open(sealed, context)
        except SealError:
            return False
        return True

    def _load(self) -> None:
        found = self._directory.stat()
        seen = found.st_ino, found.st_mtime_ns
        if seen == self._seen:
            return
        with self._lock:
            paths = country_key_files(self._directory, self._party)
            if not paths:
                raise ValueError(f"the key of {self._party} is gone from {self._directory}")
            loaded = {}
            for path in reversed(paths):
                if path in self._keys:
                    loaded[path] = self._keys[path]
                else:
                    key = FileCountryKey.load(path, self._passphrase)
                    loaded[path] = key, key.public
            self._keys, self._seen = loaded, seen


def country_key_files(directory: Path, party: str) -> list[Path]:
    """Return the files of a country's keys, the oldest first."""
    stem = f"country-{party.lower()}"
    later = [p for p in directory.glob(f"{stem}-*.jwe") if re.fullmatch(rf"{stem}-\d+", p.stem)]
    first = [p for p in [directory / f"{stem}.jwe"] if p.exists()]
    return [*first, *sorted(later, key=_number)]


def next_country_key_file(directory: Path, party: str) -> Path:
    """Return the path for another key of a country."""
    files = country_key_files(directory, party)
    stem = f"country-{party.lower()}"
    if not files:
        return directory / f"{stem}.jwe"
    last = files[-1]
    return directory / f"{stem}-{(_number(last) if last.stem != stem else 1) + 1}.jwe"


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
