"""A PNG without metadata: chunks are left out, and the coded picture is copied as it is.

The chunks are those of the PNG specification, third edition (https://www.w3.org/TR/png-3/).
"""

import zlib
from collections.abc import Iterator
from typing import Final

from api.sandbox.failures import Failure, FailureError
from api.sandbox.without_metadata.orientation import exif_of, orientation_of

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
KEPT: Final = frozenset((
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB",
    b"bKGD", b"pHYs", b"cICP", b"mDCV", b"cLLI",
))  # fmt: skip
"""Chunks that the picture and its colours are made of."""
_AROUND_DATA: Final = 12
"""The bytes of a chunk's length, type and checksum."""


def without_metadata(content: bytes) -> bytes:
    """Return a PNG without texts, EXIF, times, animation, other chunks and what follows it.

    The orientation stays. Raises ``FailureError`` if the file is damaged.
    """
    kept, orientation = [_SIGNATURE], 1
    for kind, chunk in chunks(content):
        if kind in KEPT:
            kept.append(chunk)
        elif kind == b"eXIf":
            orientation = orientation_of(chunk[8:-4])
    if orientation != 1:
        kept.insert(2, _chunk(b"eXIf", exif_of(orientation)))  # after IHDR
    return b"".join(kept)


def bytes_after(content: bytes) -> int:
    """Return how many bytes follow the end of the picture. Raises ``FailureError``."""
    return len(content) - len(_SIGNATURE) - sum(len(chunk) for _, chunk in chunks(content))


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the bytes of each chunk, up to the end of the picture.

    Raises ``FailureError`` if a chunk is cut.
    """
    at = len(_SIGNATURE)
    while True:
        kind = content[at + 4 : at + 8]
        end = at + _AROUND_DATA + int.from_bytes(content[at : at + 4], "big")
        if len(kind) != 4 or end > len(content):
            raise FailureError(Failure.DAMAGED)
        yield kind, content[at:end]
        if kind == b"IEND":
            return
        at = end


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + checksum
