"""A JPEG without metadata: segments are left out, and the coded picture is copied as it is.

The segments are those of ITU-T T.81, section B.1.1 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf).
"""

import re
from collections.abc import Iterator
from typing import Final

from api.sandbox.failures import Failure, FailureError
from api.sandbox.without_metadata.orientation import exif_of, orientation_of

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_EXIF: Final = b"Exif\x00\x00"
_PICTURE: Final = frozenset((*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF))
"""Markers of the segments that the picture is made of."""
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""The end of coded data: a marker that is neither a stuffed byte nor a restart."""
_JFIF_BYTES: Final = 12
"""``JFIF``, version and density. Two bytes with the size of a thumbnail follow."""


def without_metadata(content: bytes) -> bytes:
    """Return a JPEG without EXIF, XMP, IPTC, comments, thumbnails and what follows the picture.

    The colour profile and the orientation stay. Raises ``FailureError`` if the file is damaged.
    """
    kept, orientation = [b"\xff\xd8"], 1
    for marker, segment, coded in _segments(content):
        payload = segment[4:]
        if marker == _APP0 and payload.startswith(b"JFIF\x00"):
            jfif = payload[:_JFIF_BYTES].ljust(_JFIF_BYTES, b"\x00")
            kept.append(_segment(_APP0, jfif + b"\x00\x00"))
        elif marker == _APP1 and payload.startswith(_EXIF):
            orientation = orientation_of(payload)
        elif (
            marker in _PICTURE
            or (marker == _APP2 and payload.startswith(b"ICC_PROFILE\x00"))
            # Without this segment, the colours of some pictures are read wrongly.
            or (marker == _APP14 and payload.startswith(b"Adobe"))
        ):
            kept += [segment, coded]
    if orientation != 1:
        has_jfif = len(kept) > 1 and kept[1][1] == _APP0
        kept.insert(2 if has_jfif else 1, _segment(_APP1, _EXIF + exif_of(orientation)))
    return b"".join((*kept, b"\xff\xd9"))


def bytes_after(content: bytes) -> int:
    """Return how many bytes follow the end of the picture. Raises ``FailureError``."""
    return sum(len(rest) for marker, _, rest in _segments(content) if marker == _END)


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each marker with its segment and the coded data after it.

    The last is the end of the picture, with the bytes that follow it. Raises ``FailureError``.
    """
    if content[:2] != b"\xff\xd8":
        raise FailureError(Failure.DAMAGED)
    at = 2
    while True:
        found = _MARKER.match(content, at)
        if found is None:
            raise FailureError(Failure.DAMAGED)
        marker, begins = found[1][0], found.end()
        if marker == _END:
            yield marker, content[begins - 2 : begins], content[begins:]
            return
        length = int.from_bytes(content[begins : begins + 2], "big")
        segment = b"\xff" + found[1] + content[begins : begins + length]
        if length < 2 or len(segment) != length + 2:
            raise FailureError(Failure.DAMAGED)
        at, coded = begins + length, b""
        if marker == _SCAN:
            after = _NEXT_MARKER.search(content, at)
            if after is None:  # the picture is cut
                raise FailureError(Failure.DAMAGED)
            coded = content[at : after.start()]
            at = after.start()
        yield marker, segment, coded


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
