"""The marks of a disk, and the reserve that is given up before nothing is left."""

import asyncio
import errno
import os
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from api.runtime.disk import Room
from api.runtime.settings import Settings
from ledger.store import disk
from ledger.store.disk import (
    MEBIBYTE,
    NEEDED_BYTES,
    PIECE_BYTES,
    Marks,
    Reserve,
    Space,
    until_given_way,
)

LOW, HELD = 32 * MEBIBYTE, 4 * PIECE_BYTES
SEGMENT_BYTES = 16 * MEBIBYTE


def space(free: int, size: int = 10**12) -> Space:
    return Space(device=1, size_bytes=size, free_bytes=free, is_short_of_files=False)


def test_marks_of_a_small_disk_are_parts_of_it() -> None:
    marks = Marks()
    assert marks.low(space(0)) == 256 * MEBIBYTE
    assert marks.low(space(0, 100 * MEBIBYTE)) == 5 * MEBIBYTE
    assert marks.reserve(space(0)) == 64 * MEBIBYTE
    assert marks.reserve(space(0, 640 * MEBIBYTE)) == 8 * MEBIBYTE
    assert Marks(7, 8).low(space(0)) == 7
    assert marks.is_low(space(256 * MEBIBYTE - 1))
    assert not marks.is_low(space(256 * MEBIBYTE))


def test_a_file_system_without_room_for_files_is_low(tmp_path: Path) -> None:
    assert Marks().is_low(Space(1, 10**12, 10**11, is_short_of_files=True))
    assert not Space.of(tmp_path).is_short_of_files
    assert Space.of(tmp_path / "not" / "there").device == Space.of(tmp_path).device


def test_the_reserve_is_filled_given_up_and_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10 * LOW
    monkeypatch.setattr(disk.Space, "of", lambda _: space(free))
    reserve = Reserve(tmp_path / "reserve", Marks(LOW, HELD))
    for _ in range(5):
        reserve.look()
    assert len(reserve.pieces()) == 4
    assert sum(piece.stat().st_blocks * 512 for piece in reserve.pieces()) >= HELD
    free = NEEDED_BYTES - 1  # it stays so, as it does where something takes what is given up
    reserve.look()
    assert reserve.pieces() == []
    free = LOW
    reserve.look()
    assert reserve.pieces() == [], "the reserve takes what a new action needs"
    free = 10 * LOW
    reserve.look()
    assert len(reserve.pieces()) == 1


def test_only_so_many_pieces_are_given_up_as_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10 * LOW
    monkeypatch.setattr(disk.Space, "of", lambda _: space(free))
    reserve = Reserve(tmp_path, Marks(LOW, HELD))
    for _ in range(4):
        reserve.look()
    left = MEBIBYTE // 2
    monkeypatch.setattr(
        disk.Space, "of", lambda _: space(left + (4 - len(reserve.pieces())) * PIECE_BYTES)
    )
    reserve.look()
    assert len(reserve.pieces()) == 1
    assert disk.Space.of(tmp_path).free_bytes > SEGMENT_BYTES, "PostgreSQL cannot begin a segment"


def test_what_reading_needs_written_is_tried_until_there_is_space() -> None:
    tried: Counter[str] = Counter()

    @until_given_way
    def write() -> str:
        tried["write"] += 1
        if tried["write"] < 3:
            raise psycopg.errors.DiskFull
        return "written"

    assert (write(), tried["write"]) == ("written", 3)


def test_a_coroutine_is_tried_until_there_is_space_too() -> None:
    tried: Counter[str] = Counter()

    @until_given_way
    async def write() -> str:
        tried["write"] += 1
        await asyncio.sleep(0)
        if tried["write"] < 3:
            raise psycopg.errors.DiskFull
        return "written"

    assert (asyncio.run(write()), tried["write"]) == ("written", 3)


def test_a_room_tells_a_full_database_elsewhere(tmp_path: Path) -> None:
    room = Room(Settings(data_directory=tmp_path, disk_low_mebibytes=0))
    assert room.look() == ()
    assert not room.note(psycopg.OperationalError())
    wrapped = RuntimeError()
    wrapped.__cause__ = psycopg.errors.DiskFull()
    assert room.note(wrapped)
    (trouble,) = room.look()
    assert (trouble.rule, trouble.status) == ("disk-low", 507)
    assert "the database server" in trouble.message
    full = Room(Settings(data_directory=tmp_path, disk_low_mebibytes=0))
    assert full.note(OSError(errno.ENOSPC, os.strerror(28)))
    assert "full: a directory of this node." in full.look()[0].message


def test_a_directory_that_is_named_counts_too(tmp_path: Path) -> None:
    size = Space.of(tmp_path).size_bytes // MEBIBYTE + 1
    room = Room(Settings(data_directory=tmp_path, disk_low_mebibytes=size))
    assert "the data directory" in room.look()[0].message
    named = Settings(data_directory=tmp_path, disk_directories=(tmp_path,), disk_low_mebibytes=size)
    assert "CASE_LEDGER_DISK_DIRECTORIES" in Room(named).look()[0].message
