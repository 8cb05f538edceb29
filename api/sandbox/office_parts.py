"""Reads the parts of a DOCX or an ODT, and writes such a file with some of them changed.

It runs only in the locked process. Parts that stay are copied as they are packed: only a part that
is looked at is unpacked, up to a bound.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from api.sandbox.failures import Failure, FailureError

_MOST_BYTES: Final = 64 * 1024 * 1024
"""A part that unpacks to more is not looked at: the file is refused."""
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_DIRECTORY: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_UTF_8: Final = 0x0800
_FIRST_DAY: Final = 0x0021
"""1 January 1980, as ZIP files write it: the time of a part tells when it was made."""
_VERSION: Final = 20


class Part(NamedTuple):
    """A part of an office file."""

    name: str
    method: int
    crc: int
    size: int
    """Of the unpacked content, in bytes."""
    packed: bytes

    def content(self) -> bytes:
        """Return the unpacked content. Raises ``FailureError``."""
        if self.size > _MOST_BYTES:
            raise FailureError(Failure.TOO_LARGE)
        if self.method == ZIP_STORED:
            return self.packed
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        content = unpacking.decompress(self.packed, _MOST_BYTES + 1)
        if not unpacking.eof:
            raise FailureError(Failure.TOO_LARGE if len(content) > _MOST_BYTES else Failure.DAMAGED)
        return content

    def changed(self, content: bytes) -> "Part":
        """Return the part with another content."""
        packed = content
        if self.method == ZIP_DEFLATED:
            packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            packed = packing.compress(content) + packing.flush()
        return Part(self.name, self.method, zlib.crc32(content), len(content), packed)


def parts(content: bytes) -> Iterator[Part]:
    """Yield the parts of a file, in their order. Raises ``FailureError``."""
    try:
        with ZipFile(io.BytesIO(content)) as opened:
            infos = sorted(opened.infolist(), key=lambda one: one.header_offset)
    except BadZipFile:
        raise FailureError(Failure.DAMAGED) from None
    for info in infos:
        yield Part(
            info.filename, info.compress_type, info.CRC, info.file_size, _packed(content, info)
        )


def _packed(content: bytes, info: ZipInfo) -> bytes:
    *_, name_bytes, extra_bytes = _LOCAL.unpack_from(content, info.header_offset)
    begins = info.header_offset + _LOCAL.size + name_bytes + extra_bytes
    packed = content[begins : begins + info.compress_size]
    if len(packed) != info.compress_size:
        raise FailureError(Failure.DAMAGED)
    return packed


def rewritten(content: bytes, change: Callable[[Part], Part | None]) -> bytes:
    """Return a file whose parts are what ``change`` returns; ``None`` leaves a part out.

    No part has a time, an extra field or a comment. Raises ``FailureError``.
    """
    written, directory, count = io.BytesIO(), io.BytesIO(), 0
    for part in parts(content):
        one = change(part)
        if one is None:
            continue
        name, at = one.name.encode(), written.tell()
        sizes = (one.crc, len(one.packed), one.size)
        common = (_UTF_8, one.method, 0, _FIRST_DAY, *sizes, len(name), 0)
        written.write(_LOCAL.pack(b"PK\x03\x04", _VERSION, *common) + name)
        written.write(one.packed)
        more = (0, 0, 0, 0, at)
        directory.write(_DIRECTORY.pack(b"PK\x01\x02", _VERSION, _VERSION, *common, *more) + name)
        count += 1
    entries = directory.getvalue()
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(entries), written.tell(), 0)
    return written.getvalue() + entries + end
