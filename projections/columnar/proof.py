"""Proves that a columnar export has the events of a ledger, every field of each, and no other.

The ledger's events are read again and hashed; their root must be the export's, and that of the
published checkpoint. Then the columns are made anew, and compared row by row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, leaf_hash
from ledger.log.note import Note, NoteError
from ledger.log.policy import Policy
from ledger.store.event_rows import RecordedRow
from projections.columnar.duckdb_tables import LATEST, connect, latest
from projections.columnar.manifest import ColumnarError, Manifest, checked_manifest
from projections.columnar.parquet_export import export
from projections.columnar.snapshot_sources import SnapshotSource

Progress = Callable[[int, int], None]
"""Told how many events of how many are read."""


@dataclass(frozen=True, slots=True)
class ColumnsProof:
    """The proof of an export."""

    upto: int
    root: str
    rows: int
    """The rows of all tables that were compared."""
    checkpoint: int | None
    """The size of the published checkpoint that covers the events; ``None`` if there is none."""
    trusted: bool
    """Whether the checkpoint has the signatures that a policy asks for."""


def prove(
    directory: Path, source: SnapshotSource, policy: Policy | None, progress: Progress
) -> ColumnsProof:
    """Compare an export with the events of a source, and the events with a checkpoint.

    With a ``policy`` a checkpoint must cover the events, and be signed as the policy asks. Raises
    ``ColumnarError`` with the first thing that does not hold.
    """
    manifest = checked_manifest(directory)
    if source.head() < manifest.upto:
        raise ColumnarError(
            f"the export stands at {manifest.upto}, beyond the ledger's {source.head()}"
        )
    whole = _Whole(source)
    with TemporaryDirectory(prefix="case-ledger-columns-") as place:
        has = manifest.has_obligations
        again = export(whole, Path(place), progress, upto=manifest.upto, with_obligations=has)
        for what in ("ledger_id", "upto", "root", "parties", "party_years", "time_zones", "tables"):
            if getattr(again, what) != getattr(manifest, what):
                raise ColumnarError(f"{directory}: its {what} is not what its events give")
        rows = _compare(directory, manifest, Path(place), again)
    checkpoint = whole.checked_checkpoint(manifest.upto, policy)
    return ColumnsProof(
        manifest.upto, manifest.root, rows, checkpoint, policy is not None and bool(checkpoint)
    )


class _Whole:
    """A source whose rows are hashed while they are read for the first time."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._frontier = Frontier()
        self._position = 0

    def head(self) -> int:
        return self._source.head()

    def rows(self, after: int, upto: int) -> Iterator[RecordedRow]:
        for row in self._source.rows(after, upto):
            leaf = leaf_hash(row.state)
            if leaf != row.leaf_hash:
                raise ColumnarError(f"the event at position {row.position} is not the recorded one")
            if row.position == self._position + 1:
                self._frontier, _ = self._frontier.extend([leaf])
                self._position = row.position
            yield row

    def acts(self) -> Iterator[RecordedRow]:
        return self._source.acts()

    def root(self, size: int) -> bytes:
        """Return the root of the events themselves, once all of them are read."""
        return self._frontier.root() if size == self._position else self._source.root(size)

    def checkpoint(self) -> str | None:
        return self._source.checkpoint()

    def checked_checkpoint(self, upto: int, policy: Policy | None) -> int | None:
        """Return the size of the checkpoint that covers the first ``upto`` events.

        Raises ``ColumnarError`` if its root is another, or if the policy's signatures lack.
        """
        text = self._source.checkpoint()
        try:
            note = None if text is None else Note.parse(text)
            checkpoint = None if note is None else Checkpoint.parse(note.text)
            if policy is not None and note is not None:
                policy.check(note)
        except NoteError as error:
            raise ColumnarError(f"the published checkpoint: {error}") from error
        if checkpoint is None or checkpoint.size < upto:
            if policy is None:
                return None
            size = 0 if checkpoint is None else checkpoint.size
            raise ColumnarError(
                f"the published checkpoint covers {size} events and not {upto}: wait for the next, "
                f"or export up to it with --to {size}"
            )
        for _ in self.rows(self._position, checkpoint.size):
            pass
        if self._position != checkpoint.size or self._frontier.root() != checkpoint.root:
            raise ColumnarError(
                "the events are not those of the published checkpoint: verify the ledger, and tell "
                "the other parties"
            )
        return checkpoint.size


def _compare(directory: Path, manifest: Manifest, place: Path, again: Manifest) -> int:
    """Compare the rows of every table, and return their number.

    Of each case the latest row counts, because an export that grew has older ones besides. Raises
    ``ColumnarError`` if a table has other rows.
    """
    compared = 0
    for table in sorted(manifest.tables):
        given = [str(directory / file.path) for file in manifest.of_table(table)]
        made = [str(place / file.path) for file in again.of_table(table)]
        if bool(given) != bool(made):
            raise ColumnarError(f"the table {table} has rows in the export or in the ledger alone")
        if not given:
            continue
        with connect() as connection:
            for name, files in (("given", given), ("made", made)):
                connection.read_parquet(files, hive_partitioning=False).create_view(f"{name}_rows")
                if table in LATEST:
                    connection.execute(latest(table, name, f"{name}_rows"))
                else:
                    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {name}_rows")  # noqa: S608
            columns, known = (
                connection.execute(f"DESCRIBE {name}").fetchall() for name in ("given", "made")
            )
            if columns != known:
                raise ColumnarError(
                    f"the table {table} has columns of other names or types than the ledger gives"
                )
            found = connection.execute(
                "SELECT (SELECT count(*) FROM given), (SELECT count(*) FROM made),"
                " (SELECT count(*) FROM (FROM given EXCEPT ALL FROM made))"
            ).fetchone()
        rows, expected, others = found or (0, 0, 0)
        if rows != expected or others:
            raise ColumnarError(
                f"the table {table} has {others} of {rows} rows that the ledger does not give; "
                f"the ledger gives {expected}"
            )
        compared += rows
    return compared
