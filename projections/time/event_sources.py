"""The sources of a replay's history: a database, or an export that needs none."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol as Interface
from uuid import UUID

import psycopg

from ledger.events.event import ActionRecorded
from ledger.export.static_export import read_export
from ledger.store.copy_reader import rows_by_position, rows_of
from ledger.store.database import set_role
from ledger.store.event_rows import RecordedRow

_EVERYTHING = 2**63 - 1


class EventSource(Interface):
    """Gives recorded events, in ledger order, as often as it is asked."""

    def events(self) -> Iterator[ActionRecorded]:
        """Yield every event, with one in memory at a time."""

    def case(self, case_id: UUID) -> Sequence[ActionRecorded]:
        """Return the events of one case."""


class DatabaseEvents:
    """A node's own database: the ledger's, or a country's verified copy."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    def events(self) -> Iterator[ActionRecorded]:
        with psycopg.connect(self._conninfo) as connection:
            set_role(connection)
            yield from map(RecordedRow.event, rows_by_position(connection))

    def case(self, case_id: UUID) -> Sequence[ActionRecorded]:
        with psycopg.connect(self._conninfo) as connection:
            set_role(connection)
            return [row.event() for row in rows_of(connection, case_id, upto=_EVERYTHING)]


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
