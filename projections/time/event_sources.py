"""The sources of a replay's history: a database, or an export that needs none."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol as Interface
from uuid import UUID

from ledger.events.event import ActionRecorded
from ledger.export.static_export import read_export
from ledger.store.copy_reader import acceptances, reading, rows_by_position, rows_of
from ledger.store.event_rows import RecordedRow
from projections.folds.joined_cases import ACCEPTANCE, MERGING, JoinedCases

_EVERYTHING = 2**63 - 1


class EventSource(Interface):
    """Gives recorded events, in ledger order, as often as it is asked."""

    def events(self) -> Iterator[ActionRecorded]:
        """Yield every event, with one in memory at a time."""

    def case(self, case_id: UUID) -> Sequence[ActionRecorded]:
        """Return the events of one case."""

    def joined(self, own: Sequence[ActionRecorded]) -> Mapping[UUID, Sequence[ActionRecorded]]:
        """Return the events of the cases that merges ever joined with one, given ``own`` events."""


class DatabaseEvents:
    """A node's own database: the ledger's, or a country's verified copy."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    def events(self) -> Iterator[ActionRecorded]:
        with reading(self._conninfo) as connection:
            yield from map(RecordedRow.event, rows_by_position(connection))

    def case(self, case_id: UUID) -> Sequence[ActionRecorded]:
        with reading(self._conninfo) as connection:
            return [row.event() for row in rows_of(connection, case_id, upto=_EVERYTHING)]

    def joined(self, own: Sequence[ActionRecorded]) -> Mapping[UUID, Sequence[ActionRecorded]]:
        if not _may_be_joined(own):
            return {}
        with reading(self._conninfo) as connection:
            rows = acceptances(connection, upto=_EVERYTHING)
            found = JoinedCases(row.event().as_act() for row in rows)
        return {one: self.case(one) for one in found.others(own[0].originator_id)}


class ExportEvents:
    """A directory that ``case-ledger log export`` wrote.

    It is read as it is: ``case-ledger verify export`` says whether it holds.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def events(self) -> Iterator[ActionRecorded]:
        """Yield every event of the export.

        Raises ``ExportError`` if a file is missing.
        """
        return map(RecordedRow.event, read_export(self._directory))

    def case(self, case_id: UUID) -> Sequence[ActionRecorded]:
        """Read the whole export, and return the events of one case.

        Raises ``ExportError`` if a file is missing.
        """
        rows = read_export(self._directory)
        return [row.event() for row in rows if row.originator_id == case_id]

    def joined(self, own: Sequence[ActionRecorded]) -> Mapping[UUID, Sequence[ActionRecorded]]:
        """Read the whole export twice, and return the events of the joined cases.

        Raises ``ExportError`` if a file is missing.
        """
        if not _may_be_joined(own):
            return {}
        rows = read_export(self._directory)
        found = JoinedCases(row.event().as_act() for row in rows if row.kind == ACCEPTANCE)
        joined: dict[UUID, list[ActionRecorded]] = {}
        others = found.others(own[0].originator_id)
        for row in read_export(self._directory):
            if row.originator_id in others:
                joined.setdefault(row.originator_id, []).append(row.event())
        return joined


def _may_be_joined(own: Sequence[ActionRecorded]) -> bool:
    return any(event.action.kind in MERGING for event in own)
