"""Read events from a database, or from a directory of static files (``tlog-tiles``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from psycopg import Connection
from psycopg.rows import scalar_row

from ledger.events.newer_event import NewerEventError
from ledger.export.static_export import ExportError, read_checkpoint, read_export, read_tile
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import HASH_SIZE, TILE_WIDTH, Tree
from ledger.log.note import Note, NoteError
from ledger.log.tiles import TileName
from ledger.procedure.agreement import Agreement
from ledger.procedure.registry import Registry, registry_of
from ledger.store.copy_reader import reading, rows_by_position, rows_of
from ledger.store.event_rows import RecordedRow
from ledger.verification.evidence_reader import one_moment
from projections.folds.case_folder import applied_act

_HASHES = """
SELECT CASE WHEN %(level)s = 0
    THEN (SELECT array_agg(leaf_hash ORDER BY notification_id) FROM ledger.events
          WHERE notification_id > %(start)s AND notification_id <= %(end)s)
    ELSE (SELECT array_agg(hash ORDER BY index) FROM ledger.tree
          WHERE level = %(level)s AND index >= %(start)s AND index < %(end)s) END
"""


class NoLedgerError(ValueError):
    """There are no events to read."""


class SnapshotSource(Interface):
    """Events of one moment, by position."""

    def head(self) -> int:
        """Return the last position."""

    def rows(self, after: int, upto: int) -> Iterator[RecordedRow]:
        """Yield rows beyond ``after`` and up to ``upto``, with one in memory at a time.

        A source streams one such range at a time.
        """

    def acts(self) -> Iterator[RecordedRow]:
        """Yield the rows of the acts on the protocol, by position.

        An empty ledger has none.
        """

    def root(self, size: int) -> bytes:
        """Return the Merkle root of the first ``size`` events."""

    def checkpoint(self) -> str | None:
        """Return the last published checkpoint with its signatures."""


class DatabaseSnapshot:
    """The events of a database, as they are in one transaction."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def head(self) -> int:
        return int(self._one("SELECT COALESCE(max(notification_id), 0) FROM ledger.events"))

    def rows(self, after: int, upto: int) -> Iterator[RecordedRow]:
        return rows_by_position(self._connection, after=after, upto=upto)

    def acts(self) -> Iterator[RecordedRow]:
        for first in list(self.rows(0, 1)):
            yield from rows_of(self._connection, first.originator_id, upto=self.head())

    def root(self, size: int) -> bytes:
        return Tree(size, self._hashes).root()

    def checkpoint(self) -> str | None:
        note = self._one(
            "SELECT (SELECT note FROM log.published ORDER BY size DESC LIMIT 1) AS note"
        )
        return None if note is None else str(note)

    def _hashes(self, level: int, start: int, count: int) -> list[bytes]:
        asked = {"level": level, "start": start, "end": start + count}
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return list(cursor.execute(_HASHES, asked).fetchone() or ())

    def _one(self, statement: str) -> Any:
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(statement.encode()).fetchone()


class DirectorySource:
    """A directory that ``case-ledger log export`` wrote.

    Events lie there by position alone, so that a case's versions are counted from the first
    event on: what is remembered meanwhile grows with the number of cases.
    """

    def __init__(self, directory: Path) -> None:
        """Read the checkpoint of an export directory.

        Raises ``ExportError`` if the checkpoint is missing or malformed.
        """
        self._directory = directory
        self._note = read_checkpoint(directory)
        try:
            self._head = Checkpoint.parse(Note.parse(self._note).text)
        except NoteError as error:
            raise ExportError(f"the checkpoint of {directory} is malformed: {error}") from error

    def head(self) -> int:
        return self._head.size

    def rows(self, after: int, upto: int) -> Iterator[RecordedRow]:
        for row in read_export(self._directory):
            if row.position > upto:
                return
            if row.position > after:
                yield row

    def acts(self) -> Iterator[RecordedRow]:
        ledger_id = None
        for row in read_export(self._directory):
            ledger_id = ledger_id or row.originator_id
            if row.originator_id == ledger_id:
                yield row

    def root(self, size: int) -> bytes:
        return Tree(size, self._hashes).root()

    def checkpoint(self) -> str | None:
        return self._note

    def _hashes(self, level: int, start: int, count: int) -> list[bytes]:
        hashes: list[bytes] = []
        at = start
        while at < start + count:
            index = at // TILE_WIDTH
            total = self._head.size >> (8 * level)
            tile = TileName(level, index, min(TILE_WIDTH, total - index * TILE_WIDTH))
            content = read_tile(self._directory, tile)
            first, last = at - tile.start, min(start + count - tile.start, tile.width)
            hashes += [content[n * HASH_SIZE : (n + 1) * HASH_SIZE] for n in range(first, last)]
            at = tile.start + last
        return hashes


@contextmanager
def database_source(conninfo: str) -> Iterator[DatabaseSnapshot]:
    """Yield the events of a database as of one moment, read in the application's role."""
    with reading(conninfo) as connection, one_moment(connection):
        yield DatabaseSnapshot(connection)


def first_newer_act(source: SnapshotSource) -> int | None:
    """Return the position of the first act on the protocol that needs a later program, if any."""
    registry: Registry | None = None
    try:
        for row in source.acts():
            registry, _ = applied_act(registry, row.event())
    except NewerEventError as error:
        return error.position
    return None


def agreement_of(source: SnapshotSource) -> Agreement:
    """Return the versions of a ledger's protocol. Raises ``NoLedgerError``."""
    acts = [row.event() for row in source.acts()]
    if not acts:
        raise NoLedgerError("there is no ledger to read yet: no protocol is adopted")
    return registry_of(acts).agreement
