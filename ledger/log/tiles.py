"""Tiles and entry bundles (C2SP ``tlog-tiles``): their paths and contents."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from ledger.log.merkle import TILE_HEIGHT, TILE_WIDTH

ENTRIES = "entries"
_PATH = re.compile(
    r"tile/(?P<level>0|[1-9]\d?|entries)/(?P<index>(?:x\d{3}/)*\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?"
)


class TileError(ValueError):
    """There is no such tile, or its content is malformed."""


@dataclass(frozen=True, slots=True)
class TileName:
    """A tile of hashes (``level`` 0 to 63), or with ``level`` ``None`` a bundle of entries."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def start(self) -> int:
        """Return the index of the tile's first hash or entry, at the tile's own level."""
        return self.index * TILE_WIDTH

    @property
    def is_full(self) -> bool:
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """Return the path at which the tile is served, below the log's prefix."""
        groups, rest = [f"{self.index % 1000:03}"], self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        level = ENTRIES if self.level is None else str(self.level)
        suffix = "" if self.is_full else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{suffix}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a path, in its one form.

        Raises ``TileError`` if the text is no such path.
        """
        found = _PATH.fullmatch(path)
        if found is None:
            raise TileError("this is no path of a tile")
        level = None if found["level"] == ENTRIES else int(found["level"])
        index = int(found["index"].replace("x", "").replace("/", ""))
        width = int(found["width"] or TILE_WIDTH)
        tile = cls(level, index, width)
        if tile.path != path or width > TILE_WIDTH or (level or 0) > 63:
            raise TileError("this is no path of a tile")
        return tile


def tiles_of(size: int, since: int = 0) -> Iterator[TileName]:
    """Yield every tile and bundle of a tree of ``size`` leaves.

    With ``since``, yield only the tiles and bundles that grew after a tree of that size.
    """
    for level in (None, *range(64)):
        shift = TILE_HEIGHT * (level or 0)
        hashes = size >> shift
        if hashes == 0:
            return
        for index in range((since >> shift) // TILE_WIDTH, -(-hashes // TILE_WIDTH)):
            yield TileName(level, index, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entries as one bundle, each after its length as a big-endian uint16."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def read_bundle(content: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises ``TileError`` if the bundle ends within a length or an entry.
    """
    entries, at = [], 0
    while at < len(content):
        if at + 2 > len(content):
            raise TileError("the bundle ends within a length")
        (length,) = struct.unpack_from(">H", content, at)
        at += 2 + length
        if at > len(content):
            raise TileError("the bundle ends within an entry")
        entries.append(content[at - length : at])
    return entries
