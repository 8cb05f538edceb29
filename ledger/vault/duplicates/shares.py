"""The key of two countries: each contributes a random share, and neither chooses the key.

Shares lie in files apart from the database, sealed to the own country's key, so that tokens in an
old backup are of no use once the shares that they were made with are gone.
"""

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.signing.country_key import CountryKey
from ledger.system.fsync import sync_directory

SHARE_BYTES = 32
_OURS, _THEIRS = "ours", "theirs"


@dataclass(frozen=True, slots=True)
class PairKey:
    """The key that makes the tokens of two countries, and its public name."""

    id: str
    secret: bytes


def pair_key(protocol: str, shares: dict[str, bytes]) -> PairKey:
    """Derive the key of two countries from the share of each (HKDF-SHA256).

    ``shares`` is by country code.
    """
    first, second = sorted(shares)
    context = f"case-ledger duplicates 1\n{protocol}\n{first}\n{second}\n".encode()
    derive = HKDF(SHA256(), length=48, salt=None, info=context)
    derived = derive.derive(shares[first] + shares[second])
    return PairKey(derived[32:].hex(), derived[:32])


def fingerprint(share: bytes | None) -> str | None:
    """Return a name of a share that does not reveal the share."""
    if share is None:
        return None
    return hashlib.sha256(b"case-ledger share 1\n" + share).hexdigest()[:32]


class Shares:
    """One country's shares with the others. Several processes may share the directory."""

    def __init__(self, directory: Path, party: str, key: CountryKey) -> None:
        self._directory = directory
        self._party = party
        self._key = key
        self._opened: dict[bytes, bytes] = {}

    def ours(self, other: str) -> bytes:
        """Return the share that this country gives, and make the share if it does not exist.

        Raises ``SealError`` if the share does not open.
        """
        known = self._get(_OURS, other)
        if known is None:
            self.renew(other)
            known = self._get(_OURS, other)
        if known is None:
            raise FileNotFoundError(f"the share for {other} is not where it was just put")
        return known

    def theirs(self, other: str) -> bytes | None:
        """Return the share that the other country gave, or ``None`` if it gave none.

        Raises ``SealError`` if the share does not open.
        """
        return self._get(_THEIRS, other)

    def renew(self, other: str) -> None:
        """Replace the share that this country gives, so that the old share is of no more use."""
        self._put(_OURS, other, secrets.token_bytes(SHARE_BYTES))

    def take(self, other: str, share: bytes) -> bool:
        """Store the share that the other country gave, and return whether the share is new.

        Raises ``SealError`` if the stored share does not open.
        """
        if self._get(_THEIRS, other) == share:
            return False
        self._put(_THEIRS, other, share)
        return True

    def reseal(self) -> int:
        """Seal every share to the country's newest key, and return how many there are.

        Raises ``SealError`` if a share does not open.
        """
        count = 0
        for path in sorted(self._directory.glob("*.*s")):
            other, whose = path.stem.upper(), path.suffix[1:]
            if whose in (_OURS, _THEIRS) and (share := self._get(whose, other)) is not None:
                self._put(whose, other, share)
                count += 1
        return count

    def _get(self, whose: str, other: str) -> bytes | None:
        try:
            sealed = self._path(whose, other).read_bytes()
        except FileNotFoundError:
            return None
        if sealed not in self._opened:
            opened = self._key.open(sealed, self._context(whose, other))
            self._opened = {**self._opened, sealed: opened}
        return self._opened[sealed]

    def _put(self, whose: str, other: str, share: bytes) -> None:
        path = self._path(whose, other)
        sealed = self._key.public.seal(share, self._context(whose, other))
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, written = tempfile.mkstemp(dir=self._directory, prefix=".share-")  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        Path(written).replace(path)
        sync_directory(self._directory)

    def _path(self, whose: str, other: str) -> Path:
        return self._directory / f"{other.lower()}.{whose}"

    def _context(self, whose: str, other: str) -> bytes:
        return f"case-ledger share 1\n{self._party}\n{other}\n{whose}\n".encode()
