"""Tells whether a ZIP file is a DOCX or an ODT without macros, by its directory.

The directory is read as strictly as possible: programs that read a ZIP file differently must not
find other parts in it (APPNOTE 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
No part is unpacked but the list of types of a DOCX, up to a bound.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ledger.vault.documents.refused_types import RefusedTypeError

ZIP_START: Final = b"PK\x03\x04"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT: Final = "application/vnd.oasis.opendocument.text"
Read = Callable[[int, int], bytes]

_END: Final = struct.Struct("<4s4H2IH")
"""The end of the directory: signature, disks, entries, size and offset, length of a comment."""
_END_SIGNATURE: Final = b"PK\x05\x06"
_MOST_COMMENT_BYTES: Final = 65_535
_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_ENTRY_MAGIC: Final = b"PK\x01\x02"
_PART_BYTES: Final = 30
"""The bytes before the name of a part, at the part itself."""
_ENCRYPTED: Final = 0x0041
_STORED, _DEFLATED = 0, 8
_MOST_DIRECTORY_BYTES: Final = 1024 * 1024
_MOST_UNPACKED_BYTES: Final = 1024**3
"""The sizes that all parts claim together; a text of 25 MB does not become so large."""
_MOST_TYPES_BYTES: Final = 256 * 1024
_ODT_START: Final = re.compile(
    # The first part is named `mimetype`, is stored as it is with its 39 bytes, and has no extra
    # field (OpenDocument 1.3, part 2, section 3.3).
    rb"PK\x03\x04.{4}\x00\x00.{12}\x27\x00\x00\x00\x08\x00\x00\x00"
    rb"mimetypeapplication/vnd\.oasis\.opendocument\.text",
    re.DOTALL,
)
_TYPES: Final = "[content_types].xml"
_DOCX_MAIN: Final = b"wordprocessingml.document.main+xml"
_MARKUP: Final = re.compile(rb"&|<!")
"""Markup that could hide a word from a search, which no program writes into the list of types."""
_MACROS: Final = re.compile(rb"macroenabled|vbaproject|activex", re.IGNORECASE)
_ACTIVE: Final = re.compile(
    r"(^|/)vba(project|data)|^(basic|scripts)/|^word/activex/|^meta-inf/manifest\.mf$"
    r"|^androidmanifest\.xml$"
    r"|\.(bat|class|cmd|com|cpl|dll|exe|hta|jar|js|jse|lnk|msi|pif|ps1|scr|vbe|vbs|wsf|wsh)$"
)
"""Names of parts with macros or programs, in small letters."""


class _Part(NamedTuple):
    name: str
    """In small letters."""
    method: int
    packed_bytes: int
    unpacked_bytes: int
    at: int


def is_zip(size: int, read: Read) -> bool:
    """Return whether programs that read ZIP files find one at the end of a content."""
    tail = read(max(0, size - _MOST_COMMENT_BYTES - _END.size), size)
    at = tail.rfind(_END_SIGNATURE)
    while at >= 0:
        if at + _END.size <= len(tail):
            *_, directory_bytes, _, comment = _END.unpack_from(tail, at)
            before = size - len(tail) + at
            # Many programs accept bytes after the comment, and some before the first part.
            if at + _END.size + comment <= len(tail) and directory_bytes <= before:
                return True
        at = tail.rfind(_END_SIGNATURE, 0, at)
    return False


def office_type(size: int, read: Read) -> str:
    """Return the media type of a ZIP file that is a DOCX or an ODT.

    Raises ``RefusedTypeError`` if it is another file, has macros or programs in it, or is not as
    strict readers expect it.
    """
    parts = list(_parts(size, read))
    names = {part.name for part in parts}
    if len(names) != len(parts):
        raise _unusual()
    _check_places(parts, size)
    if any(_ACTIVE.search(name) for name in names):
        raise _active()
    if _ODT_START.match(read(0, 128)):
        return ODT
    if not {_TYPES, "word/document.xml"} <= names:
        raise RefusedTypeError(
            "By its content, the file is a ZIP file that is no DOCX and no ODT. Send its files one"
            " by one."
        )
    types = _types(next(part for part in parts if part.name == _TYPES), read)
    if _MACROS.search(types):
        raise _active()
    if _DOCX_MAIN not in types or _MARKUP.search(types):
        raise _unusual()
    return DOCX


def _parts(size: int, read: Read) -> Iterator[_Part]:
    """Yield the parts that the directory names. Raises ``RefusedTypeError``."""
    tail = read(max(0, size - _MOST_COMMENT_BYTES - _END.size), size)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        raise RefusedTypeError("The file is a ZIP file that is damaged or cut.")
    _, disk, first_disk, here, entries, length, offset, comment = _END.unpack_from(tail, at)
    begins = size - len(tail) + at - length
    if (
        (disk, first_disk, here) != (0, 0, entries)
        or at + _END.size + comment != len(tail)
        or offset != begins
        or length > _MOST_DIRECTORY_BYTES
    ):
        raise _unusual()
    directory = read(offset, length)
    at = 0
    for _ in range(entries):
        if at + _ENTRY.size > len(directory):
            raise _unusual()
        entry = _ENTRY.unpack_from(directory, at)
        name_bytes, extra_bytes, comment = entry[10:13]
        name = directory[at + _ENTRY.size : at + _ENTRY.size + name_bytes]
        flags, method = entry[3], entry[4]
        if (
            entry[0] != _ENTRY_MAGIC
            or len(name) != name_bytes
            or flags & _ENCRYPTED
            or method not in (_STORED, _DEFLATED)
        ):
            raise _unusual()
        yield _Part(_checked_name(name), method, entry[8], entry[9], entry[16])
        at += _ENTRY.size + name_bytes + extra_bytes + comment
    if at != length:
        raise _unusual()


def _checked_name(name: bytes) -> str:
    """Return the name of a part in small letters. Raises ``RefusedTypeError`` for a hostile one."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise _unusual() from None
    if not text.isprintable() or set(text) & set('\\:*?"<>|') or text.startswith("/"):
        raise _unusual()
    if any(step in ("", ".", "..") for step in text.removesuffix("/").split("/")):
        raise _unusual()
    return text.lower()


def _check_places(parts: Sequence[_Part], size: int) -> None:
    """Check that no part lies over another one, and that all parts have a usual size.

    Raises ``RefusedTypeError``. Parts that lie over each other make a small file unpack to
    terabytes.
    """
    free = 0
    for part in sorted(parts, key=lambda one: one.at):
        if part.at < free or (free == 0 and part.at != 0):
            raise _unusual()
        free = part.at + _PART_BYTES + len(part.name) + part.packed_bytes
    if free > size:
        raise _unusual()
    if sum(part.unpacked_bytes for part in parts) > _MOST_UNPACKED_BYTES:
        raise RefusedTypeError(
            "The file unpacks to more than a gigabyte. Save the text again, with smaller pictures."
        )


def _types(part: _Part, read: Read) -> bytes:
    """Return the list of types of a DOCX. Raises ``RefusedTypeError``."""
    head = read(part.at, _PART_BYTES)
    if not head.startswith(ZIP_START) or len(head) != _PART_BYTES:
        raise _unusual()
    name_bytes, extra_bytes = struct.unpack_from("<2H", head, 26)
    packed = read(
        part.at + _PART_BYTES + name_bytes + extra_bytes, min(part.packed_bytes, _MOST_TYPES_BYTES)
    )
    if part.method == _STORED:
        types = packed
    else:
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            types = unpacking.decompress(packed, _MOST_TYPES_BYTES)
        except zlib.error:
            raise _unusual() from None
        if not unpacking.eof:
            raise _unusual()
    if b"\x00" in types or len(types) != part.unpacked_bytes:  # no other encoding than UTF-8
        raise _unusual()
    return types


def _active() -> RefusedTypeError:
    return RefusedTypeError(
        "The file has macros or programs in it. Save it without them, or send it as a PDF."
    )


def _unusual() -> RefusedTypeError:
    return RefusedTypeError(
        "The file is not stored as a DOCX or an ODT is. Open it, save it again, and send that file;"
        " or send it as a PDF."
    )
