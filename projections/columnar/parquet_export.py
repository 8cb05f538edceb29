"""Grows an export: new events become new files, and the manifest moves last.

Events are read once, by position, and are decoded once, tens of thousands at a time. A file holds
one kind's events of one range of positions. The memory in use does not grow with the ledger.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from ledger.events.newer_event import NewerEventError
from ledger.procedure.agreement import Agreement
from ledger.procedure.parties_of_time import memberships
from ledger.procedure.time_zones import zone_name, zone_of
from ledger.system.version import program_version
from ledger.vocabulary.upcasting import upcasters
from projections.columnar import deadlines
from projections.columnar import obligations as owed
from projections.columnar.cases import CASES, CASES_VERSION, write_cases
from projections.columnar.decoding import COMMON, KINDS, Decoder, schema_of, shapes_of
from projections.columnar.manifest import (
    ColumnarError,
    ColumnDescription,
    FileEntry,
    Manifest,
    TableDescription,
    only_writer,
    read_manifest,
    remove_unnamed,
    write_manifest,
)
from projections.columnar.obligations import write_obligations
from projections.columnar.parquet_writer import TableWriter
from projections.columnar.snapshot_sources import (
    NoLedgerError,
    SnapshotSource,
    agreement_of,
    first_newer_act,
)

PARTITION = 1_000_000
"""Positions of one set of files, at most."""
_FIRST_VERSION = 1
BATCH = 20_000
"""Events that are decoded at once: some 50 MB while they are."""

Progress = Callable[[int, int], None]
"""Told how many events of how many are written."""


def export(
    source: SnapshotSource,
    directory: Path,
    progress: Progress = lambda _done, _of: None,
    *,
    upto: int | None = None,
    partition: int = PARTITION,
    batch: int = BATCH,
    when_newer: Callable[[int], None] = lambda _: None,
    with_obligations: bool = True,
) -> Manifest:
    """Bring the export in ``directory`` up to the source's head, or to ``upto``.

    Without obligations a new export has no tables of obligations and deadlines, and takes less than
    half the time; an export that has these tables always goes on with them. The export ends before
    the first event that needs a later program; ``when_newer`` is then called with its position.

    Raises ``ColumnarError`` if the directory holds another ledger's export, or an export of other
    events than the source has. Raises ``NoLedgerError`` if the source is empty.
    """
    head = source.head()
    target = head if upto is None else min(upto, head)
    if target < 1:
        raise NoLedgerError("there is no ledger to read yet: no protocol is adopted")
    with only_writer(directory):
        before = read_manifest(directory)
        newer = first_newer_act(source)
        if newer is not None and newer <= target:
            when_newer(newer)
            target = newer - 1
        agreement = agreement_of(source)
        stands = _checked(before, agreement, source, head)
        had = before is not None and before.has_obligations
        lacking = with_obligations and not had
        made: list[FileEntry] | None = None
        while made is None:
            remove_unnamed(directory, before)
            if before is not None and stands >= target and not lacking:
                return before
            try:
                made = list(_write_events(source, directory, agreement, stands, target, progress,
                                          partition, batch))  # fmt: skip
            except NewerEventError as error:
                when_newer(error.position)
                target = error.position - 1
        if target < 1:
            raise NoLedgerError("every event needs a later program than this one; update it")
        events = [*(before.files if before else ()), *made]
        new = list(made)
        made += write_cases(directory, events, new, agreement, stands + 1, target)
        if had or with_obligations:
            since, of = (stands + 1, new) if had else (1, events)
            made += write_obligations(directory, events, of, agreement, since, target)
            made += _write_deadlines(directory, agreement, since, target)
        years, zones = _party_years(source, agreement, target)
        manifest = Manifest(
            protocol=agreement.protocol_id,
            ledger_id=str(agreement.ledger_id),
            parties=tuple(sorted(years)),
            party_years=years,
            time_zones=zones,
            upto=target,
            root=source.root(target).hex(),
            checkpoint=source.checkpoint(),
            tables=descriptions(with_obligations=had or with_obligations),
            files=(*(before.files if before else ()), *made),
            program_version=program_version(),
        )
        write_manifest(directory, manifest)
        return manifest


def _party_years(
    source: SnapshotSource, agreement: Agreement, upto: int
) -> tuple[dict[str, tuple[tuple[int, int], ...]], dict[str, str]]:
    """Return the years in which each country was a party, and its time zone, at a position.

    A party that left stays, since the cases of its time are in the export. A party whose version of
    the protocol is not in force by then is not among them. The years are of the country's local
    time.
    """
    (last,) = source.rows(upto - 1, upto)
    protocol = agreement.text_at(last.recorded_at)
    years: dict[str, tuple[tuple[int, int], ...]] = {}
    for one in memberships(agreement):
        if one.since <= last.recorded_at:
            own = one.years_in(zone_of(protocol, one.party))
            years[one.party] = (*years.get(one.party, ()), own)
    named = ((party, zone_name(protocol, party)) for party in sorted(years))
    return years, {party: name for party, name in named if name is not None}


def _write_deadlines(
    directory: Path, agreement: Agreement, first: int, last: int
) -> Iterator[FileEntry]:
    """Write the periods of the versions of the protocol that were adopted in a range."""
    rows = list(deadlines.rows(agreement, first, last))
    if rows:
        path = f"{deadlines.TABLE}/{first:012}-{last:012}.parquet"
        writer = TableWriter(directory, deadlines.TABLE, path, first)
        writer.write(pa.Table.from_pylist(rows, schema=deadlines.SCHEMA))
        yield writer.finish(last)


def descriptions(*, with_obligations: bool = True) -> dict[str, TableDescription]:
    """Return the columns of every table that an export can have."""
    made = {
        f"events/{kind}": TableDescription(
            version=upcasters().version(kind), columns=tuple(_described(kind))
        )
        for kind in KINDS
    }
    besides = {CASES.name: (CASES_VERSION, CASES.schema)}
    if with_obligations:
        besides |= {
            owed.TABLE: (_FIRST_VERSION, owed.SCHEMA),
            deadlines.TABLE: (_FIRST_VERSION, deadlines.SCHEMA),
        }
    for name, (version, schema) in besides.items():
        columns = tuple(ColumnDescription(name=f.name, type=str(f.type)) for f in schema)
        made[name] = TableDescription(version=version, columns=columns)
    return made


def _described(kind: str) -> Iterator[ColumnDescription]:
    of_kind = shapes_of(kind)
    for field in schema_of(kind):
        shape = of_kind.get(field.name) if field.name not in COMMON.names else None
        values = shape.values or (shape.parts[0][1].values if shape.parts else ()) if shape else ()
        yield ColumnDescription(name=field.name, type=str(field.type), values=values)


def _checked(
    before: Manifest | None, agreement: Agreement, source: SnapshotSource, head: int
) -> int:
    """Check that an export agrees with the source, and return the export's position.

    The position is 0 without an export. Raises ``ColumnarError`` if the two disagree.
    """
    if before is None:
        return 0
    if before.ledger_id != str(agreement.ledger_id):
        raise ColumnarError(
            f"this is an export of {before.protocol}, and not of {agreement.protocol_id}"
        )
    changed = {
        n for n, table in descriptions().items() if before.tables.get(n) not in (None, table)
    }
    if changed:
        raise ColumnarError(
            f"the columns of {', '.join(sorted(changed))} are others by now; export to a new "
            "directory"
        )
    if before.upto > head:
        raise ColumnarError(f"the export stands at {before.upto}, beyond the ledger's {head}")
    if source.root(before.upto).hex() != before.root:
        raise ColumnarError(
            f"the first {before.upto} events of the ledger are not those that were exported: "
            "verify it (`case-ledger verify ledger`)"
        )
    return before.upto


def _write_events(
    source: SnapshotSource,
    directory: Path,
    agreement: Agreement,
    stands: int,
    target: int,
    progress: Progress,
    partition: int,
    batch: int,
) -> Iterator[FileEntry]:
    decoder = Decoder(agreement)
    rows = source.rows(stands, target)
    total = target - stands
    done = 0
    while done < total:
        first = stands + done + 1
        last = min((first - 1) // partition * partition + partition, target)
        writers: dict[str, TableWriter] = {}
        for tables in _decoded(decoder, islice(rows, last - first + 1), batch):
            for kind, table in tables.items():
                if kind not in writers:
                    writers[kind] = _writer(directory, kind, first, last)
                writers[kind].write(table)
                done += table.num_rows
            progress(done, total)
        if stands + done != last:
            raise ColumnarError(f"the event at position {stands + done + 1} is missing")
        for writer in writers.values():
            yield writer.finish(last)


def _decoded(decoder: Decoder, rows: Iterator[Any], batch: int) -> Iterable[Mapping[str, Any]]:
    while chunk := list(islice(rows, batch)):
        yield decoder.tables(chunk)


def _writer(directory: Path, kind: str, first: int, last: int) -> TableWriter:
    name = f"{first:012}-{last:012}.parquet"
    return TableWriter(directory, f"events/{kind}", f"events/kind={kind}/{name}", first)
