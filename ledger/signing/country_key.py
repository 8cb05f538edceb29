"""A country's key: only that country opens the bytes that are sealed to the key.

HPKE (RFC 9180) with the hybrid key encapsulation of ML-KEM-768 and X25519: bytes that
are intercepted today stay closed as long as either of the two holds.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import OctKey

from ledger.signing.keys import write_private

KEM = "MLKEM768-X25519"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_JWE = JWERegistry(algorithms=["PBES2-HS512+A256KW", "A256GCM"])
ROUNDS = 300_000
"""Of PBKDF2 with SHA-512, for a passphrase that a person chose: 0.3 seconds."""
ROUNDS_FOR_RANDOM = 1_000
"""For one of 256 random bits, which no number of rounds makes any harder to guess."""
_ML_KEM_BYTES = 1184
_ENCAPSULATED_BYTES, _TAG_BYTES = 1088 + 32, 16


class SealError(ValueError):
    """The sealed bytes do not open here: they are for another key, or they were altered."""


def sealed_size(content: int) -> int:
    """Return the sealed size, in bytes, of a content of ``content`` bytes."""
    return _ENCAPSULATED_BYTES + content + _TAG_BYTES


@dataclass(frozen=True, slots=True)
class CountryPublicKey:
    """The public half, which anyone may seal to."""

    ml_kem: bytes
    x25519: bytes

    @property
    def id(self) -> str:
        """Return the key's name: the SHA-256 of its bytes."""
        return hashlib.sha256(bytes(self)).hexdigest()

    def __bytes__(self) -> bytes:
        return self.ml_kem + self.x25519

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a key from the bytes that ``bytes`` gives.

        Raises ``SealError`` if they are no key.
        """
        key = cls(content[:_ML_KEM_BYTES], content[_ML_KEM_BYTES:])
        try:
            key.seal(b"", b"")
        except ValueError as error:
            raise SealError("this is no country's public key") from error
        return key

    def __str__(self) -> str:
        return urlsafe_b64encode(bytes(self)).decode("ascii").rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a key from the text that ``str`` gives, which is base64url.

        Raises ``SealError`` if it is no key.
        """
        try:
            content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError as error:
            raise SealError("this is no country's public key") from error
        key = cls.from_bytes(content)
        if str(key) != text:
            raise SealError("this is not how a country's public key is written")
        return key

    def seal(self, content: bytes, context: bytes) -> bytes:
        """Seal to this country (RFC 9180 section 6.1); it opens in the same ``context`` alone."""
        return _SUITE.encrypt(content, _read(self.ml_kem, self.x25519), info=context)


@lru_cache(maxsize=64)
def _read(ml_kem: bytes, x25519: bytes) -> hpke.MLKEM768X25519PublicKey:
    """Read the two public keys, and return them as one hybrid key.

    Raises ``ValueError`` if the bytes are no keys.
    """
    return hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(ml_kem), X25519PublicKey.from_public_bytes(x25519)
    )


class CountryKey(Protocol):
    """The private half. A key management service or a security module may stand behind it."""

    @property
    def public(self) -> CountryPublicKey:
        """Return the public key, to which others seal."""

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open bytes that were sealed to this country.

        Raises ``SealError`` if they do not open.
        """


class FileCountryKey:
    """A country's key from a file, encrypted with a passphrase (JWE, RFC 7518 section 4.8)."""

    def __init__(self, ml_kem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._ml_kem = ml_kem
        self._x25519 = x25519

    @classmethod
    def generate(cls) -> Self:
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: str) -> Self:
        """Load a country's key from its file.

        Raises ``ValueError`` if the file holds no such key, or the passphrase is another.
        """
        try:
            read = jwe.decrypt_compact(path.read_bytes(), _key(passphrase), registry=_JWE)
            content = json.loads(read.plaintext or b"")
            if content["kem"] != KEM:
                raise ValueError(f"{path} holds a key of another kind")
            return cls(
                MLKEM768PrivateKey.from_seed_bytes(urlsafe_b64decode(content["ml_kem"])),
                X25519PrivateKey.from_private_bytes(urlsafe_b64decode(content["x25519"])),
            )
        except (JoseError, KeyError, TypeError) as error:
            raise ValueError(f"{path} does not open with this passphrase") from error

    def save(self, path: Path, passphrase: str, *, rounds: int = ROUNDS) -> None:
        """Write the key, encrypted. Raises ``FileExistsError``: no key is written over another."""
        content = {
            "kem": KEM,
            "ml_kem": urlsafe_b64encode(self._ml_kem.private_bytes_raw()).decode("ascii"),
            "x25519": urlsafe_b64encode(self._x25519.private_bytes_raw()).decode("ascii"),
        }
        header = {"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": rounds}
        sealed = jwe.encrypt_compact(
            header, json.dumps(content).encode(), _key(passphrase), registry=_JWE
        )
        write_private(path, sealed.encode("ascii"))

    @cached_property
    def public(self) -> CountryPublicKey:
        return CountryPublicKey(
            self._ml_kem.public_key().public_bytes_raw(),
            self._x25519.public_key().public_bytes_raw(),
        )

    def open(self, sealed: bytes, context: bytes) -> bytes:
        key = hpke.MLKEM768X25519PrivateKey(self._ml_kem, self._x25519)
        try:
            return _SUITE.decrypt(sealed, key, info=context)
        except (InvalidTag, ValueError) as error:
            raise SealError("this was sealed to another key, or it was altered") from error


def _key(passphrase: str) -> OctKey:
    return OctKey.import_key(passphrase.encode())
