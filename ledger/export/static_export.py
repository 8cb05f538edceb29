"""The ledger as a directory of static files (C2SP ``tlog-tiles``): written, and read back."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import HASH_SIZE, TILE_WIDTH
from ledger.log.note import MAX_BYTES as MAX_NOTE_BYTES
from ledger.log.note import Note, NoteError
from ledger.log.tiles import TileError, TileName, bundle, read_bundle, tiles_of
from ledger.log.timestamp import StoredTimestamp
from ledger.store.event_rows import RecordedRow
from ledger.store.recorder import LedgerRecorder
from ledger.system.bounded_files import NotReadableError, read_within
from ledger.verification.revalidation import RowReader

CHECKPOINT = "checkpoint"
_MAX_TILE_BYTES = TILE_WIDTH * (2 + 0xFFFF)
"""A bundle of the longest entries."""
TIMESTAMPS = "timestamp"


class ExportError(ValueError):
    """The directory is not a whole export."""


def write_export(
    rows: LedgerRecorder,
    note: Note,
    directory: Path,
    progress: Callable[[int, int], None],
    timestamps: Iterable[StoredTimestamp] = (),
    beside: Mapping[str, bytes] | None = None,
) -> int:
    """Write the events that a checkpoint covers, and return how many files were written.

    Full tiles that are there already are kept. ``beside`` are further files by name. A timestamp is
    ``timestamp/SIZE``, and the checkpoint that it is of is ``timestamp/SIZE.checkpoint``. The
    checkpoint is written last, so that a directory with one is whole.
    """
    checkpoint = Checkpoint.parse(note.text)
    tiles = list(tiles_of(checkpoint.size))
    written = 0
    for done, tile in enumerate(tiles, 1):
        path = directory / tile.path
        if not (tile.is_full and path.exists()):
            _write(path, tile_content(rows, tile))
            written += 1
        progress(done, len(tiles))
    for stamped in timestamps:
        path = directory / TIMESTAMPS / str(stamped.size)
        if not path.exists():
            _write(path.with_suffix(".checkpoint"), stamped.note.encode())
            _write(path, stamped.token)
            written += 2
    for name, content in (beside or {}).items():
        _write(directory / name, content)
        written += 1
    _write(directory / CHECKPOINT, str(note).encode())
    return written + 1


def tile_content(rows: LedgerRecorder, tile: TileName) -> bytes:
    """Return the content of a tile of hashes or of a bundle of entries.

    The ledger must have all events of the tile.
    """
    if tile.level is None:
        return bundle([row.state for row in rows.select_rows(tile.start, tile.width)])
    return b"".join(rows.read_hashes(tile.level, tile.start, tile.width))


def read_checkpoint(directory: Path) -> str:
    """Return the checkpoint of an export.

    Raises ``ExportError`` if it cannot be read.
    """
    try:
        # As bytes: a text would have its line ends changed, and CRLF is no checkpoint.
        return read_within(directory, CHECKPOINT, MAX_NOTE_BYTES).decode("utf-8")
    except (NotReadableError, UnicodeDecodeError) as error:
        raise ExportError(f"{directory} has no readable checkpoint: {error}") from error


def read_export(directory: Path) -> Iterator[RecordedRow]:
    """Yield each event of an export as a row, its other columns read from its bytes.

    The leaf hash is the one in the tile. Raises ``ExportError`` if a file is missing.
    """
    try:
        size = Checkpoint.parse(Note.parse(read_checkpoint(directory)).text).size
    except NoteError as error:
        raise ExportError(f"the checkpoint of {directory} is malformed: {error}") from error
    reader = RowReader()
    for tile in (t for t in tiles_of(size) if t.level is None):
        leaves = read_tile(directory, TileName(0, tile.index, tile.width))
        try:
            stored = read_bundle(read_tile(directory, tile))
        except TileError as error:
            raise ExportError(f"{tile.path} is malformed: {error}") from error
        if len(stored) != tile.width or len(leaves) != HASH_SIZE * tile.width:
            raise ExportError(f"{tile.path} has not the number of entries that it must have")
        for place, state in enumerate(stored):
            position = tile.index * TILE_WIDTH + place + 1
            yield reader.row(position, state, leaves[place * HASH_SIZE : (place + 1) * HASH_SIZE])


def read_tile(directory: Path, tile: TileName) -> bytes:
    """Return the content of a tile of an export.

    Raises ``ExportError`` if the tile cannot be read.
    """
    try:
        return read_within(directory, tile.path, _MAX_TILE_BYTES)
    except NotReadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ExportError(f"{tile.path} is missing") from error
        raise ExportError(str(error)) from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)
