"""Tells what a document's content is, by its bytes and never by its name.

Only the types of the list are accepted. A content counts as a type if it begins as the type's
specification says, at its first byte. A content that other programs would take for a second type is
refused: a ZIP file at its end, or a PDF within the bytes in which readers look for one.
"""

import re
from collections.abc import Callable
from typing import Final

from ledger.vault.documents.office_files import ZIP_START, is_zip, office_type
from ledger.vault.documents.refused_types import RefusedTypeError
from ledger.vocabulary.documents import MEDIA_TYPES

SUFFIXES: Final = dict(
    zip(MEDIA_TYPES, ("pdf", "png", "jpg", "heic", "tiff", "docx", "odt"), strict=True)
)
"""The end of a file's name, by media type."""
Read = Callable[[int, int], bytes]
"""Returns the bytes of a content from an offset on, at most so many."""

_HEAD_BYTES: Final = 1024
"""Readers of PDF look for its beginning in so many bytes."""
_PDF: Final = "application/pdf"
_STARTS: Final = (
    (re.compile(rb"%PDF-[12]\.[0-9]"), _PDF),
    (re.compile(rb"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "image/png"),
    (re.compile(rb"\xff\xd8\xff[\xc0-\xfe]"), "image/jpeg"),
    (re.compile(rb"II\x2a\x00|MM\x00\x2a"), "image/tiff"),
)
_HEIC_BRANDS: Final = frozenset((b"heic", b"heix", b"heim", b"heis"))


def media_type(size: int, read: Read) -> str:
    """Return the media type of a content of ``size`` bytes.

    Raises ``RefusedTypeError`` if it is none of the accepted types, or more than one.
    """
    head = read(0, _HEAD_BYTES)
    if head.startswith(ZIP_START):
        return office_type(size, read)
    found = next((found for start, found in _STARTS if start.match(head)), None)
    if found is None and _is_heic(head):
        found = "image/heic"
    if found is None:
        accepted = ", ".join(MEDIA_TYPES)
        raise RefusedTypeError(
            f"By its content, the file is of no accepted type. Accepted are {accepted}."
        )
    if is_zip(size, read) or (found != _PDF and b"%PDF-" in head):
        raise RefusedTypeError(
            "The file is of two types at once: other programs would open it as another file than it"
            " is here. Print or save it again as a PDF or a picture."
        )
    return found


def _is_heic(head: bytes) -> bool:
    """Return whether a content begins with a file type box of HEIC (ISO/IEC 23008-12)."""
    if head[4:8] != b"ftyp":
        return False
    size = int.from_bytes(head[:4], "big")
    box = head[8:size] if 16 <= size <= 256 else b""
    brands = {box[at : at + 4] for at in range(0, len(box) - 3, 4) if at != 4}
    return bool(brands & _HEIC_BRANDS)
