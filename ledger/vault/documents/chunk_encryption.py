"""Encrypts a document's content in chunks (AES-256-GCM), each bound to its place.

The associated data of a chunk name the document, the case, the size of the whole content and the
chunk's number, from which the number of chunks follows. So no chunk opens at another place, in
another document, or in a document that was cut. A nonce is random: a chunk may be written twice, in
an upload that was resumed, and a counter would repeat then.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.signing.country_key import SealError
from ledger.vocabulary.levels import FieldLevel

CHUNK_BYTES = 256 * 1024
KEY_BYTES = 32
_NONCE_BYTES = 12
"""Random: NIST SP 800-38D allows 2^32 of them under one key, and a key is one document's."""
OVERHEAD_BYTES = _NONCE_BYTES + 16
"""The nonce and the tag of each chunk."""


@dataclass(frozen=True, slots=True)
class DocumentPlace:
    """The place of a document, to which each of its chunks is bound."""

    document_id: UUID
    case_id: UUID
    size: int
    """Of the whole content, in bytes. At least 1."""

    @property
    def chunks(self) -> int:
        """Return the number of chunks."""
        return -(-self.size // CHUNK_BYTES)

    @property
    def sealed_bytes(self) -> int:
        """Return how many bytes all encrypted chunks have together."""
        return self.size + self.chunks * OVERHEAD_BYTES

    def length(self, number: int) -> int:
        """Return how many bytes of content a chunk has. Raises ``IndexError`` if it has no place.

        Chunks are numbered from 0.
        """
        if not 0 <= number < self.chunks:
            raise IndexError(f"a document of {self.chunks} chunks has no chunk {number}")
        return min(CHUNK_BYTES, self.size - number * CHUNK_BYTES)

    def reading(self, chunk: Callable[[int], bytes]) -> Callable[[int, int], bytes]:
        """Return a function that returns at most so many bytes of the content from an offset on.

        ``chunk`` returns the content of a chunk by its number.
        """

        def read(at: int, length: int) -> bytes:
            end = min(at + length, self.size)
            parts = list[bytes]()
            for number in range(at // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
                begins = number * CHUNK_BYTES
                parts.append(chunk(number)[max(0, at - begins) : end - begins])
            return b"".join(parts)

        return read


def new_key() -> bytes:
    """Return a random key for the content of one document."""
    return secrets.token_bytes(KEY_BYTES)


def seal_chunk(
    content_key: bytes, content: bytes | bytearray, place: DocumentPlace, number: int
) -> bytes:
    """Encrypt a chunk, whole or the piece of it that an unfinished upload has.

    Raises ``ValueError`` if the content is empty or longer than the chunk.
    """
    if not 0 < len(content) <= place.length(number):
        raise ValueError("the content does not fit into the chunk")
    return _seal(content_key, content, _chunk(place, number, len(content)))


def open_chunk(
    content_key: bytes, sealed: bytes, place: DocumentPlace, number: int, length: int | None = None
) -> bytes:
    """Decrypt a chunk at its place; with ``length``, the piece of it that has so many bytes.

    Raises ``SealError`` if the chunk belongs to another place, or was altered or cut.
    """
    length = place.length(number) if length is None else length
    return _open(content_key, sealed, _chunk(place, number, length))


def seal_metadata(content_key: bytes, metadata: bytes, place: DocumentPlace) -> bytes:
    """Encrypt what is known of the content, such as its digest."""
    return _seal(content_key, metadata, _bound(place, "metadata"))


def open_metadata(content_key: bytes, sealed: bytes, place: DocumentPlace) -> bytes:
    """Decrypt the metadata. Raises ``SealError`` as :func:`open_chunk` does."""
    return _open(content_key, sealed, _bound(place, "metadata"))


class NamedBy(NamedTuple):
    """The field of an action that has a document, and the level of that field."""

    action: UUID
    field: str
    level: FieldLevel

    @property
    def text(self) -> str:
        """Return it as text, to which the content key of the document is bound."""
        group = self.level.group.value if self.level.group is not None else "-"
        return f"content key of {self.action}\n{self.field} {self.level.level.value} {group}"


def wrap(data_key: bytes, content_key: bytes, place: DocumentPlace, by: NamedBy) -> bytes:
    """Encrypt a content key under the person's data key, for the field that has the document.

    The level and the field group are bound too: who can write to the database alone cannot move a
    document to a group that more may read.
    """
    return _seal(data_key, content_key, _bound(place, by.text))


def unwrap(data_key: bytes, wrapped: bytes, place: DocumentPlace, by: NamedBy) -> bytes:
    """Decrypt a content key. Raises ``SealError`` as :func:`open_chunk` does."""
    return _open(data_key, wrapped, _bound(place, by.text))


def wrap_upload(upload_key: bytes, content_key: bytes, place: DocumentPlace) -> bytes:
    """Encrypt the content key of a document that no action has, under the key of such uploads."""
    return _seal(upload_key, content_key, _bound(place, "upload"))


def unwrap_upload(upload_key: bytes, wrapped: bytes, place: DocumentPlace) -> bytes:
    """Decrypt the content key of an upload. Raises ``SealError`` as :func:`open_chunk` does."""
    return _open(upload_key, wrapped, _bound(place, "upload"))


def _chunk(place: DocumentPlace, number: int, length: int) -> bytes:
    whole = length == place.length(number)
    part = "whole" if whole else f"first {length} bytes"
    return _bound(place, f"chunk {number} of {place.chunks}: {part}")


def _bound(place: DocumentPlace, what: str) -> bytes:
    return (
        f"case-ledger document 1\n{place.document_id}\n{place.case_id}\n{place.size}\n{what}\n"
    ).encode()


def _seal(key: bytes, content: bytes | bytearray, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, bound)


def _open(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise SealError("this part of a document does not open at its place") from error
