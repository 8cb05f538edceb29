"""Signed notes (C2SP ``signed-note``) and checkpoint cosignatures (``tlog-cosignature``)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.system import clock

MAX_BYTES = 64 * 1024
MAX_SIGNATURES = 64
_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(ValueError):
    """The text is no note, or is not signed as it must be."""


class SignatureType(IntEnum):
    """The assigned signature types that are used here."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"\N{EM DASH} {self.name} {_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line, with or without its newline.

        Raises ``NoteError`` if it is no signature line.
        """
        dash, _, rest = line.removesuffix("\n").partition(" ")
        name, _, encoded = rest.partition(" ")
        content = _unbase64(encoded)
        if dash != "\N{EM DASH}" or not _NAME.fullmatch(name) or len(content) < 5:
            raise NoteError("a signature line is malformed")
        return cls(name, content[:4], content[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signatures, none of which is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    @classmethod
    def parse(cls, content: str | bytes) -> Self:
        """Read a note.

        Raises ``NoteError`` if the text is no note.
        """
        if len(content) > MAX_BYTES:
            raise NoteError(f"a note here has at most {MAX_BYTES} bytes")
        try:
            note = content if isinstance(content, str) else content.decode("utf-8")
        except UnicodeDecodeError:
            raise NoteError("a note is UTF-8") from None
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n") or _CONTROL.search(note):
            raise NoteError("a note is a text, an empty line, and signature lines")
        signatures = tuple(map(NoteSignature.parse, lines[:-1].split("\n")))
        if not 0 < len(signatures) <= MAX_SIGNATURES:
            raise NoteError(f"a note here has 1 to {MAX_SIGNATURES} signatures")
        return cls(text + "\n", signatures)

    def with_signatures(self, signatures: Iterable[NoteSignature]) -> Self:
        """Return the same text with more signatures; a signature that is there is not repeated."""
        return replace(self, signatures=tuple(dict.fromkeys((*self.signatures, *signatures))))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key that is trusted under a name, for one type of signature."""

    name: str
    type: SignatureType
    public: bytes

    @property
    def key_id(self) -> bytes:
        content = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        return hashlib.sha256(content).digest()[:4]

    def __str__(self) -> str:
        material = _base64(bytes([self.type]) + self.public)
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key.

        Raises ``NoteError`` if the text is no verifier key.
        """
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        material = _unbase64(encoded)
        if not _NAME.fullmatch(name) or len(material) != 33:
            raise NoteError("a verifier key is NAME+ID+KEY, with an Ed25519 key")
        try:
            key = cls(name, SignatureType(material[0]), material[1:])
        except ValueError:
            raise NoteError(f"signature type {material[0]:#04x} is not accepted here") from None
        if key.key_id.hex() != key_id:
            raise NoteError("the verifier key's id is not that of its name and key")
        return key

    def made(self, signature: NoteSignature) -> bool:
        """Return whether a signature line names this key as its signer."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verify(self, text: str, signature: NoteSignature) -> datetime | None:
        """Verify a signature of the text, and return the time of a cosignature.

        The result is ``None`` for a plain signature. Raises ``NoteError`` if the signature does not
        verify.
        """
        signed, timestamp, content = text, None, signature.signature
        if self.type is SignatureType.COSIGNATURE:
            seconds, content = int.from_bytes(content[:8]), content[8:]
            if seconds > 253_402_300_799:
                raise NoteError(f"the cosignature of {self.name} is of no time")
            timestamp = datetime.fromtimestamp(seconds, UTC)
            signed = _cosigned(text, seconds)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(content, signed.encode())
        except (InvalidSignature, ValueError):
            raise NoteError(f"the signature of {self.name} does not verify") from None
        return timestamp


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key, with the name and type that it signs under."""

    name: str
    type: SignatureType
    private: Ed25519PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.type, self.private.public_key().public_bytes_raw())

    def sign(self, text: str, now: datetime | None = None) -> NoteSignature:
        """Sign a note's text; a cosignature states ``now`` as its time."""
        head, signed = b"", text
        if self.type is SignatureType.COSIGNATURE:
            seconds = int((now or clock.now()).timestamp())
            head, signed = seconds.to_bytes(8), _cosigned(text, seconds)
        signature = head + self.private.sign(signed.encode())
        return NoteSignature(self.name, self.verifier.key_id, signature)


def verify(note: Note, trusted: Collection[VerifierKey]) -> dict[VerifierKey, datetime | None]:
    """Return the trusted keys that signed, and for cosignatures the times.

    Signatures by other keys are ignored. Raises ``NoteError`` if a signature that names a trusted
    key does not verify.
    """
    found: dict[VerifierKey, datetime | None] = {}
    for signature in note.signatures:
        for key in trusted:
            if key.made(signature):
                found[key] = key.verify(note.text, signature)
    return found


def _cosigned(text: str, seconds: int) -> str:
    return f"cosignature/v1\ntime {seconds}\n{text}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _unbase64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("this is not base64 (RFC 4648 section 4)") from None
    if _base64(content) != text:
        raise NoteError("this is not canonical base64 (RFC 4648 section 3.5)")
    return content
