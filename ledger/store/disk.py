"""Room on the disk: how much is free, and a reserve that is given up before nothing is left.

A full disk stops PostgreSQL: an entry of the access log cannot be written, and so nothing can be
read. The reserve is space that is held by files of its own. They are deleted when the disk is
full, so that the database can still write the access log.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import structlog

from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying

MEBIBYTE = 1024 * 1024
PIECE_BYTES = 8 * MEBIBYTE
NEEDED_BYTES = 24 * MEBIBYTE
"""The bytes that PostgreSQL may need at once: a segment of its log of 16 MiB, and some pages."""
_LOW_BYTES = 256 * MEBIBYTE
_RESERVE_BYTES = 64 * MEBIBYTE
_PART_OF_SMALL_DISK = 20
"""Of a small file system, the low-water mark is a twentieth; the reserve is a quarter of that."""
_FEW_FILES = 1_000
_log = structlog.get_logger(__name__)

until_given_way = retrying(psycopg.errors.DiskFull, seconds=5.0, backoff=Backoff(0.1, 0.2)).wraps
"""Calls a function again while the disk is full: within half a second, the process that looks after
the reserve gives up a piece of it. It is for what reading needs written."""


@dataclass(frozen=True, slots=True)
class Space:
    """One file system, as any user may fill it."""

    device: int
    size_bytes: int
    free_bytes: int
    is_short_of_files: bool

    @classmethod
    def of(cls, path: Path) -> "Space":
        """Return the space of the file system that ``path`` is on, or would be.

        Raises ``OSError`` if the system cannot read it.
        """
        while not path.exists() and path != path.parent:
            path = path.parent
        found = os.statvfs(path)
        return cls(
            device=path.stat().st_dev,
            size_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            is_short_of_files=found.f_files > 0 and found.f_favail < _FEW_FILES,
        )


@dataclass(frozen=True, slots=True)
class Marks:
    """The space that is kept free; unset values depend on the size of the file system."""

    low_bytes: int | None = None
    reserve_bytes: int | None = None

    def low(self, space: Space) -> int:
        """Return the free bytes below which nothing new is taken."""
        if self.low_bytes is not None:
            return self.low_bytes
        return min(_LOW_BYTES, space.size_bytes // _PART_OF_SMALL_DISK)

    def reserve(self, space: Space) -> int:
        """Return the size of the whole reserve, in bytes."""
        if self.reserve_bytes is not None:
            return self.reserve_bytes
        return min(_RESERVE_BYTES, space.size_bytes // _PART_OF_SMALL_DISK // 4)

    def is_low(self, space: Space) -> bool:
        """Return whether the space is too low to take anything new."""
        return space.free_bytes < self.low(space) or space.is_short_of_files


class Reserve:
    """Files of 8 MiB each that hold space. One process looks after them."""

    def __init__(self, directory: Path, marks: Marks) -> None:
        self._directory = directory
        self._marks = marks

    def look(self) -> None:
        """Give up pieces while the disk is full; take one back while there is room again."""
        try:
            self._look()
        except OSError as error:
            _log.warning("the reserve cannot be looked after", error=error.strerror)

    def pieces(self) -> list[Path]:
        """Return the files that hold space now."""
        return sorted(self._directory.glob("piece-*"))

    def _look(self) -> None:
        space, pieces = Space.of(self._directory), self.pieces()
        while pieces and space.free_bytes < NEEDED_BYTES:
            pieces.pop().unlink(missing_ok=True)
            _log.error("the disk is full: a piece of the reserve is given up", left=len(pieces))
            space = Space.of(self._directory)
        missing = self._marks.reserve(space) // PIECE_BYTES - len(pieces)
        if missing > 0 and space.free_bytes >= self._marks.low(space) + 2 * PIECE_BYTES:
            self._take(pieces)

    def _take(self, pieces: Iterable[Path]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = {piece.name for piece in pieces}
        number = next(n for n in range(len(taken) + 1) if f"piece-{n:03}" not in taken)
        path = self._directory / f"piece-{number:03}"
        file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(file, 0, PIECE_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
