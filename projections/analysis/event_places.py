"""Events as an analyst's view folds them: frozen, typed, and the same from every source."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pyarrow import parquet  # type: ignore[import-untyped]

from ledger.procedure.registry import Registry, applied
from ledger.store.event_rows import RecordedRow
from projections.analysis.event import Event, frozen
from projections.columnar.decoding import COMMON, KINDS, Decoder
from projections.columnar.manifest import checked_manifest
from projections.columnar.parquet_export import export
from projections.columnar.snapshot_sources import (
    DirectorySource,
    NoLedgerError,
    SnapshotSource,
    database_source,
)

_BATCH = 5_000
_FIRST_BATCH = 250
"""Of a view that fails at its first event, few rows are read. Each batch is twice the last one."""
_OF_A_KIND = 2_000
"""Rows of one kind that are in memory at once, where kinds lie in files of their own."""


_POSITION = attrgetter("position")
_NAMES = tuple(COMMON.names)


def events_of(table: Any) -> Iterator[Event]:
    """Yield the events of one kind's table, by position."""
    for row in table.to_pylist():
        common = [row.pop(name) for name in _NAMES]
        fields = {name: frozen(value) for name, value in row.items() if value is not None}
        yield Event(*(*common, MappingProxyType(fields)))


@dataclass(frozen=True, slots=True)
class Where:
    """The place of events: a database, static files, or a columnar export."""

    database: str | None = None
    export: Path | None = None
    parquet: Path | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.database, self.export, self.parquet)) != 1:
            raise ValueError("say where the events are: a database, an export, or Parquet files")


class Events(Protocol):
    """A ledger's events of one moment."""

    @property
    def ledger_id(self) -> str: ...

    @property
    def head(self) -> int:
        """Return the last position."""

    def root(self, size: int) -> str | None:
        """Return the Merkle root of the first ``size`` events, or ``None`` if it is not known."""

    def columns(self, directory: Path, *, with_obligations: bool) -> Path:
        """Return the directory of a columnar export of these events.

        It is made in ``directory`` if the events are not in columns already.
        """

    def read(
        self, after: int, upto: int, kinds: Collection[str] | None = None
    ) -> Generator[Event, None, None]:
        """Yield events by position, beyond ``after`` and up to ``upto``.

        ``kinds`` limits the events to some kinds.
        """


class _FromSource:
    """Events that are decoded while they are read, each by the agreement of its own position.

    So the first events come before the last acts on the protocol are found: a directory of static
    files has these among all others.
    """

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        first = next(iter(list(source.rows(0, 1))), None)
        if first is None:
            raise NoLedgerError("there is no ledger to read yet: no protocol is adopted")
        self._ledger_id = first.originator_id
        self.ledger_id = str(first.originator_id)
        self.head = source.head()

    def root(self, size: int) -> str | None:
        return self._source.root(size).hex() if size <= self.head else None

    def columns(self, directory: Path, *, with_obligations: bool) -> Path:
        export(self._source, directory, upto=self.head, with_obligations=with_obligations)
        return directory

    def read(
        self, after: int, upto: int, kinds: Collection[str] | None = None
    ) -> Generator[Event, None, None]:
        acts = self._source.acts() if after else ()
        registry = self._further(None, [row for row in acts if row.position <= after])
        rows, size = self._source.rows(after, upto), _FIRST_BATCH
        while chunk := list(islice(rows, size)):
            registry = self._further(registry, chunk)
            wanted = chunk if kinds is None else [row for row in chunk if row.kind in kinds]
            if wanted and registry is not None:
                tables = Decoder(registry.agreement).tables(wanted)
                yield from merge(*(events_of(table) for table in tables.values()), key=_POSITION)
            size = min(2 * size, _BATCH)

    def _further(self, registry: Registry | None, rows: Sequence[RecordedRow]) -> Registry | None:
        """Return the registry after the acts on the protocol that are among some rows."""
        for row in rows:
            if row.originator_id == self._ledger_id:
                registry, _ = applied(registry, row.event())
        return registry


class _FromParquet:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manifest = checked_manifest(directory)
        self.ledger_id = self._manifest.ledger_id
        self.head = self._manifest.upto

    def root(self, size: int) -> str | None:
        return self._manifest.root if size == self.head else None

    def columns(self, directory: Path, *, with_obligations: bool) -> Path:  # noqa: ARG002
        return self._directory

    def read(
        self, after: int, upto: int, kinds: Collection[str] | None = None
    ) -> Generator[Event, None, None]:
        chosen = [kind for kind in KINDS if kinds is None or kind in kinds]
        yield from merge(*(self._of_kind(kind, after, upto) for kind in chosen), key=_POSITION)

    def _of_kind(self, kind: str, after: int, upto: int) -> Iterator[Event]:
        for file in self._manifest.of_table(f"events/{kind}"):
            if file.last <= after or file.first > upto:
                continue
            with parquet.ParquetFile(self._directory / file.path) as opened:
                for batch in opened.iter_batches(batch_size=_OF_A_KIND):
                    for event in events_of(batch):
                        if event.position > upto:
                            return
                        if event.position > after:
                            yield event


@contextmanager
def opened(where: Where) -> Iterator[Events]:
    """Yield the events of a place.

    Raises ``ValueError`` with the place's fault if the place cannot be read.
    """
    if where.parquet is not None:
        yield _FromParquet(where.parquet)
    elif where.export is not None:
        yield _FromSource(DirectorySource(where.export))
    elif where.database is not None:
        with database_source(where.database) as source:
            yield _FromSource(source)
