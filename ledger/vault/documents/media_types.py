"""Tells what a document's content is, by its bytes and never by its name.

Only the types of the list are accepted. A content counts as a type if it begins as the type's
specification says, at its first byte: a file that is two types at once counts as the first.
"""

import re
from typing import Final

from ledger.vocabulary.documents import MEDIA_TYPES

SUFFIXES: Final = dict(
    zip(MEDIA_TYPES, ("pdf", "png", "jpg", "heic", "tiff", "docx", "odt"), strict=True)
)
"""The end of a file's name, by media type."""

_STARTS = (
    (re.compile(rb"%PDF-[12]\.[0-9]"), "application/pdf"),
    (re.compile(rb"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "image/png"),
    (re.compile(rb"\xff\xd8\xff[\xc0-\xfe]"), "image/jpeg"),
    (re.compile(rb"II\x2a\x00|MM\x00\x2a"), "image/tiff"),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis"))
_ODT_START = re.compile(
    # The first entry is named `mimetype`, is stored as it is with its 39 bytes, and has no extra
    # field (OpenDocument 1.3, part 2, section 3.3).
    rb"PK\x03\x04.{4}\x00\x00.{12}\x27\x00\x00\x00\x08\x00\x00\x00"
    rb"mimetypeapplication/vnd\.oasis\.opendocument\.text",
    re.DOTALL,
)
_ZIP_ENTRY = re.compile(rb"PK\x01\x02.{24}(.{2}).{16}", re.DOTALL)
"""An entry of a ZIP file's central directory, up to its name, with the length of the name."""
_ZIP_END = b"PK\x05\x06"
_DOCX_PARTS = frozenset((b"[Content_Types].xml", b"word/document.xml"))


def media_type(head: bytes, tail: bytes) -> str | None:
    """Return the media type of a content, or ``None`` if it is none of the accepted types.

    ``head`` has the first bytes of the content and ``tail`` the last, up to the whole.
    """
    for start, found in _STARTS:
        if start.match(head):
            return found
    if _is_heic(head):
        return "image/heic"
    if _ODT_START.match(head) and _ZIP_END in tail:
        return "application/vnd.oasis.opendocument.text"
    if head.startswith(b"PK\x03\x04") and _ZIP_END in tail and _has_parts_of_docx(tail):
        return "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    return None


def _has_parts_of_docx(tail: bytes) -> bool:
    """Return whether the central directory of a ZIP file names the parts that each DOCX has.

    Only names as long as the sought ones are copied: a file may claim thousands of long names.
    """
    missing = set(_DOCX_PARTS)
    lengths = {len(part) for part in missing}
    for entry in _ZIP_ENTRY.finditer(tail):
        length = int.from_bytes(entry[1], "little")
        if length in lengths:
            missing.discard(tail[entry.end() : entry.end() + length])
    return not missing


def _is_heic(head: bytes) -> bool:
    """Return whether a content begins with a file type box of HEIC (ISO/IEC 23008-12)."""
    if head[4:8] != b"ftyp":
        return False
    size = int.from_bytes(head[:4], "big")
    box = head[8:size] if 16 <= size <= 256 else b""
    brands = {box[at : at + 4] for at in range(0, len(box) - 3, 4) if at != 4}
    return bool(brands & _HEIC_BRANDS)
