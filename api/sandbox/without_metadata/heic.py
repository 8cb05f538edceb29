"""A HEIC picture without metadata: their bytes are overwritten in place.

No offset changes, so the coded picture stays as it is. Its orientation is a property of the picture
and no part of EXIF. The boxes are those of ISO/IEC 14496-12, sections 8.11.3 and 8.11.6.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from api.sandbox.failures import Failure, FailureError

_EMPTY_EXIF: Final = bytes(4) + b"MM\x00\x2a\x00\x00\x00\x08" + bytes(6)
"""The offset of the TIFF header, and a TIFF file without an entry."""
_METADATA: Final = frozenset((b"Exif", b"mime", b"uri "))
"""Types of items that are no pictures: EXIF, XMP and others."""
_TOP: Final = frozenset((b"ftyp", b"meta", b"mdat", b"free"))
_IN_FILE, _IN_META = 0, 1
"""Places of an item: at an offset of the file, or in the box ``idat``."""


class _Box(NamedTuple):
    kind: bytes
    begins: int
    """The offset of its content."""
    ends: int


class _Item(NamedTuple):
    id: int
    place: int
    extents: tuple[tuple[int, int], ...]
    """The first byte and the end of each part."""


def without_metadata(content: bytes) -> bytes:
    """Return a HEIC picture in which only the pictures' own bytes are left.

    EXIF, XMP, user descriptions, films and all else that no picture needs become zeros. Raises
    ``FailureError`` if the file is damaged, or stores its pictures in a way that is unknown here.
    """
    copy = bytearray(content)
    top = list(_boxes(content, 0, len(content)))
    meta = next((box for box in top if box.kind == b"meta"), None)
    if meta is None:
        raise FailureError(Failure.DAMAGED)
    inner = {box.kind: box for box in _boxes(content, meta.begins + 4, meta.ends)}
    if not {b"iinf", b"iloc"} <= inner.keys():
        raise FailureError(Failure.DAMAGED)
    kinds = dict(_kinds(content, inner[b"iinf"]))
    pictures, metadata = list[tuple[int, int]](), list[tuple[int, int, int]]()
    for item in _items(content, inner[b"iloc"]):
        begins = inner[b"idat"].begins if item.place == _IN_META and b"idat" in inner else 0
        for first, end in item.extents:
            if kinds.get(item.id) in _METADATA:
                metadata.append((begins + first, begins + end, item.id))
            elif item.place == _IN_FILE:
                pictures.append((first, end))
    for box in top:
        if box.kind == b"mdat":
            _keep_only(copy, box, pictures)
        elif box.kind not in _TOP or box.kind == b"free":
            _zero(copy, box.begins, box.ends)
            if box.kind != b"free":
                copy[box.begins - 4 : box.begins] = b"free"
    for first, end, number in metadata:
        _zero(copy, first, end)
        if kinds[number] == b"Exif" and end - first >= len(_EMPTY_EXIF):
            copy[first : first + len(_EMPTY_EXIF)] = _EMPTY_EXIF
    if b"iprp" in inner:
        _remove_descriptions(copy, inner[b"iprp"])
    return bytes(copy)


def _remove_descriptions(copy: bytearray, properties: _Box) -> None:
    """Overwrite the descriptions among the properties. The others keep their numbers."""
    content = bytes(copy)
    for holder in _boxes(content, properties.begins, properties.ends):
        if holder.kind != b"ipco":
            continue
        for box in _boxes(content, holder.begins, holder.ends):
            if box.kind == b"udes":
                _zero(copy, box.begins, box.ends)
                copy[box.begins - 4 : box.begins] = b"free"


def _keep_only(copy: bytearray, box: _Box, kept: list[tuple[int, int]]) -> None:
    """Overwrite what no picture names in a box of data."""
    at = box.begins
    for first, end in sorted(kept):
        if first >= box.ends:
            break
        _zero(copy, at, max(at, first))
        at = max(at, min(end, box.ends))
    _zero(copy, at, box.ends)


def _zero(copy: bytearray, first: int, end: int) -> None:
    end = min(end, len(copy))
    if first < end:
        copy[first:end] = bytes(end - first)


def _boxes(content: bytes, at: int, end: int) -> Iterator[_Box]:
    while at < end:
        size, kind, begins = _number(content, at, 4), content[at + 4 : at + 8], at + 8
        if size == 1:
            size, begins = _number(content, begins, 8), begins + 8
        elif size == 0:
            size = end - at
        if size < begins - at or at + size > end:
            raise FailureError(Failure.DAMAGED)
        yield _Box(kind, begins, at + size)
        at += size


def _kinds(content: bytes, box: _Box) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the type of each item that the box ``iinf`` names."""
    version = content[box.begins]
    first = box.begins + (6 if version == 0 else 8)
    for entry in _boxes(content, first, box.ends):
        version = content[entry.begins]
        if entry.kind == b"infe" and version in (2, 3):
            width = 2 if version == 2 else 4
            at = entry.begins + 4
            yield _number(content, at, width), content[at + width + 2 : at + width + 6]


def _items(content: bytes, box: _Box) -> Iterator[_Item]:
    """Yield the places of the items that the box ``iloc`` names."""
    version = content[box.begins]
    if version > 2:
        raise FailureError(Failure.DAMAGED)
    sizes, more = content[box.begins + 4], content[box.begins + 5]
    offset_bytes, length_bytes, base_bytes = sizes >> 4, sizes & 15, more >> 4
    index_bytes = more & 15 if version else 0
    at = box.begins + 6
    id_bytes = 4 if version == 2 else 2

    def read(width: int) -> int:
        nonlocal at
        if at + width > box.ends:
            raise FailureError(Failure.DAMAGED)
        at += width
        return _number(content, at - width, width)

    for _ in range(read(id_bytes)):
        item = read(id_bytes)
        place = read(2) & 15 if version else _IN_FILE
        read(2)
        base = read(base_bytes)
        extents = list[tuple[int, int]]()
        for _ in range(read(2)):
            read(index_bytes)
            first, length = base + read(offset_bytes), read(length_bytes)
            if length == 0:  # up to the end of the file: nothing there may be overwritten
                raise FailureError(Failure.DAMAGED)
            extents.append((first, first + length))
        yield _Item(item, place, tuple(extents))


def _number(content: bytes, at: int, width: int) -> int:
    part = content[at : at + width]
    if len(part) != width:
        raise FailureError(Failure.DAMAGED)
    return int.from_bytes(part, "big")
