"""A TIFF without metadata: entries are taken out of its directories, in place.

No offset changes, so the coded picture stays as it is. The directories are those of TIFF 6.0,
section 2 (https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml).
"""

import struct
from collections.abc import Iterator
from typing import Final

from api.sandbox.failures import Failure, FailureError

_PICTURE: Final = frozenset((
    *range(254, 267), 273, 274, *range(277, 285), *range(286, 298), 301, *range(317, 326),
    *range(326, 330), 331, 332, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531,
    532, 34675,
))  # fmt: skip
"""Tags that the picture is made of, with its orientation and its colour profile."""
_FURTHER_DIRECTORIES: Final = 330
"""The tag that names further directories, such as those of smaller copies."""
_TYPE_BYTES: Final = {
    kind: size
    for size, kinds in {1: (1, 2, 6, 7), 2: (3, 8), 4: (4, 9, 11, 13), 8: (5, 10, 12)}.items()
    for kind in kinds
}
"""The bytes of one value, by the number of its type."""
_NAMES_DIRECTORY: Final = frozenset((34665, 34853, 40965))
"""EXIF, GPS and what depends on EXIF: each is a directory of its own."""
_MOST_DIRECTORIES: Final = 5000
_ENTRY_BYTES: Final = 12


def without_metadata(content: bytes) -> bytes:
    """Return a TIFF whose directories have only the tags of the picture.

    The values of the others are overwritten with zeros. Raises ``FailureError`` if the file is
    damaged.
    """
    return _Directories(content).cleaned()


def removable_tags(content: bytes) -> list[int]:
    """Return the tags that :func:`without_metadata` takes out. Raises ``FailureError``."""
    directories = _Directories(content)
    directories.cleaned()
    return sorted(directories.removed)


class _Directories:
    """The directories of one file, which are changed in a copy."""

    def __init__(self, content: bytes) -> None:
        self._copy = bytearray(content)
        self._order = {b"II": "<", b"MM": ">"}.get(content[:2], "")
        self._seen = set[int]()
        self.removed = set[int]()

    def cleaned(self) -> bytes:
        """Return the copy with the picture's tags alone. Raises ``FailureError``."""
        if not self._order or self._read("H", 2) != 42:
            raise FailureError(Failure.DAMAGED)
        waiting = [self._read("I", 4)]
        while waiting:
            at = waiting.pop()
            if at and at not in self._seen:
                waiting += self._clean(at)
        return bytes(self._copy)

    def _clean(self, at: int) -> list[int]:
        """Take the other tags out of a directory, and return the directories that it names."""
        entries = list(self._entries(at))
        following = self._read("I", at + 2 + len(entries) * _ENTRY_BYTES)
        kept = bytearray()
        further = list[int]()
        for tag, entry, where, length in entries:
            if tag in _PICTURE:
                kept += entry
            elif tag == _FURTHER_DIRECTORIES:
                kept += entry
                further += [self._read("I", one) for one in range(where, where + length - 3, 4)]
            else:
                self.removed.add(tag)
                if tag in _NAMES_DIRECTORY:
                    self._erase(self._read("I", where))
                self._zero(where, length)
        count = len(kept) // _ENTRY_BYTES
        whole = struct.pack(f"{self._order}H", count) + kept
        whole += struct.pack(f"{self._order}I", following)
        size = 2 + len(entries) * _ENTRY_BYTES + 4
        self._copy[at : at + size] = whole.ljust(size, b"\x00")
        return [following, *further]

    def _erase(self, at: int) -> None:
        """Overwrite a directory of metadata with all its values."""
        if not at or at in self._seen:
            return
        entries = list(self._entries(at))
        for tag, _, where, length in entries:
            if tag in _NAMES_DIRECTORY:
                self._erase(self._read("I", where))
            self._zero(where, length)
        self._zero(at, 2 + len(entries) * _ENTRY_BYTES)

    def _entries(self, at: int) -> Iterator[tuple[int, bytes, int, int]]:
        """Yield tag, entry, and offset and length in bytes of the value, of each entry."""
        self._seen.add(at)
        if len(self._seen) > _MOST_DIRECTORIES:
            raise FailureError(Failure.DAMAGED)
        for number in range(self._read("H", at)):
            begins = at + 2 + number * _ENTRY_BYTES
            tag, kind = self._read("H", begins), self._read("H", begins + 2)
            length = self._read("I", begins + 4) * _TYPE_BYTES.get(kind, 1)
            where = begins + 8 if length <= 4 else self._read("I", begins + 8)
            yield tag, bytes(self._copy[begins : begins + _ENTRY_BYTES]), where, length

    def _zero(self, at: int, length: int) -> None:
        length = max(0, min(length, len(self._copy) - at))
        self._copy[at : at + length] = bytes(length)

    def _read(self, kind: str, at: int) -> int:
        try:
            (value,) = struct.unpack_from(self._order + kind, self._copy, at)
        except struct.error:
            raise FailureError(Failure.DAMAGED) from None
        return int(value)
