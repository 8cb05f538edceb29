"""Make the annual report from a node's database, or from an export of the ledger."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from uuid import UUID

from ledger.application import Ledger
from ledger.events.act import Act
from ledger.export.static_export import read_checkpoint, read_export
from ledger.log.checkpoint import Checkpoint, write_hash
from ledger.log.merkle import Frontier, leaf_hash
from ledger.log.note import Note
from ledger.procedure.parties_of_time import protocol_at
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry, applied
from ledger.publication.publisher import published
from ledger.store.copy_reader import acceptances, reading, rows_by_case, rows_of
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from projections.folds.joined_cases import JoinedActs, JoinedCases
from projections.reports.annual_report import AnnualReport, ReportedCheckpoint, Year, annual_report

Progress = Callable[[int], None]
"""Told of so many more events that are read."""


@dataclass(frozen=True, slots=True)
class SourcedReport:
    """A report, and the protocol at the end of its year, which has the words for its names."""

    report: AnnualReport
    protocol: Protocol


class NoReportError(ValueError):
    """There is nothing to report of; the message says why."""


def report_of_database(
    conninfo: str, ledger: Ledger, database: Database, year: int, at: int | None, progress: Progress
) -> SourcedReport:
    """Make the report on a node's own events.

    The events are read by case, one case in memory at a time. ``at`` is the size of the checkpoint;
    by default the last that was published. Raises ``NoReportError``.
    """
    last = published(database)
    if last is None:
        raise NoReportError("no checkpoint is published yet; a quorum of witnesses must cosign one")
    size = _size(at, last[1])
    root = ledger.tree().root(size)
    _check_root(last[1], size, root)
    ends = ledger.rows_at([1, size])
    registry = ledger.registry_at(size)
    if registry is None:
        raise NoReportError("the ledger does not begin with the adoption of a protocol")
    until = Year.of(year, ends[-1].recorded_at, registry.agreement)
    ledger_id = registry.ledger_id
    reported = ReportedCheckpoint(size=size, root=write_hash(root))
    with reading(conninfo) as connection, reading(conninfo) as beside:
        merges = JoinedCases(row.event().as_act() for row in acceptances(beside, upto=size))

        def joined(case_id: UUID) -> JoinedActs:
            # The whole report reads these rows too, and checks that they are those of the tree.
            others = merges.others(case_id)
            return {one: _acts(rows_of(beside, one, upto=size)) for one in others}

        rows = _whole(rows_by_case(connection, upto=size), progress)
        by_case = groupby(rows, attrgetter("originator_id"))
        cases = (_acts(of_one) for case_id, of_one in by_case if case_id != ledger_id)
        report = annual_report(cases, registry.agreement, until, reported, joined)
    return SourcedReport(report, protocol_at(registry.agreement, until.last))


def report_of_export(
    directory: Path, year: int, at: int | None, progress: Progress
) -> SourcedReport:
    """Make the report on an export of `case-ledger log export`.

    All its cases are in memory at once. Raises ``NoReportError``, and ``ExportError`` if a file is
    missing.
    """
    checkpoint = Checkpoint.parse(Note.parse(read_checkpoint(directory)).text)
    size = _size(at, checkpoint)
    cases: dict[UUID, list[Act]] = {}
    registry: Registry | None = None
    row: RecordedRow | None = None
    frontier = Frontier()
    for row in _whole(read_export(directory), progress):
        frontier, _ = frontier.extend([row.leaf_hash])
        if registry is None or row.originator_id == registry.ledger_id:
            registry, _ = applied(registry, row.event())
        else:
            cases.setdefault(row.originator_id, []).append(row.event().as_act())
        if row.position == size:
            break
    if registry is None or row is None or row.position != size:
        raise NoReportError("the export has fewer events than its checkpoint says")
    root = frontier.root()
    _check_root(checkpoint, size, root)
    reported = ReportedCheckpoint(size=size, root=write_hash(root))
    until = Year.of(year, row.recorded_at, registry.agreement)
    merges = JoinedCases(act for acts in cases.values() for act in acts)

    def joined(case_id: UUID) -> JoinedActs:
        return {one: cases[one] for one in merges.others(case_id) if one in cases}

    report = annual_report(cases.values(), registry.agreement, until, reported, joined)
    return SourcedReport(report, protocol_at(registry.agreement, until.last))


def _size(at: int | None, last: Checkpoint) -> int:
    if at is not None and not 0 < at <= last.size:
        raise NoReportError(f"the last published checkpoint covers {last.size} events, not {at}")
    if last.size == 0:
        raise NoReportError("the published checkpoint covers no event")
    return at or last.size


def _check_root(last: Checkpoint, size: int, root: bytes) -> None:
    if size == last.size and root != last.root:
        raise NoReportError(
            "the events are not those of the checkpoint; run `case-ledger verify` and tell the "
            "other parties"
        )


def _whole(rows: Iterable[RecordedRow], progress: Progress) -> Iterator[RecordedRow]:
    """Yield the same rows, and check that their bytes are those in the tree.

    Raises ``NoReportError`` if they are not.
    """
    for number, row in enumerate(rows, 1):
        if leaf_hash(row.state) != row.leaf_hash:
            raise NoReportError(f"the event at position {row.position} is not the recorded one")
        if number % 1_000 == 0:
            progress(1_000)
        yield row


def _acts(rows: Iterable[RecordedRow]) -> Sequence[Act]:
    return [row.event().as_act() for row in rows]
