"""A materialised view: rows and the position they stand at, in one transaction.

Extends the ``eventsourcing`` library's tracking recorder with two slots, so that a
view can be rebuilt beside the live one and swapped in.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg import Connection, Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier, Literal
from pydantic_core import to_json

from ledger.application import Ledger
from ledger.events.event import ActionRecorded, recorded
from ledger.events.event_mapper import ActionMapper
from ledger.store.postgres_arrays import Texts
from ledger.store.recorder import LedgerRecorder
from projections.folds.case_folder import Step
from projections.folds.registry_history import RegistryHistory

PROJECTOR_ROLE = "case_ledger_projector"
SLOTS = ("a", "b")
Row: TypeAlias = tuple[Any, ...]
"""A view's row: a value for each column; the last is the document, as the bytes of its JSON."""

_HISTORIES = """
SELECT notification_id, originator_id, originator_version, state FROM ledger.events
WHERE originator_id = ANY(%(ids)s) AND notification_id < %(before)s
ORDER BY originator_id, originator_version
"""
_ACTS = 1_000
_JSONB_VERSION = b"\x01"


class LostStepsError(RuntimeError):
    """The view stands before these steps; fold again from where it stands.

    Its commits need not wait for the disk, so a crash of the database may take the last ones
    back while the process that made them goes on.
    """


class SlotMovedError(RuntimeError):
    """Another slot went live; read where it stands and go on from there."""


class EventHistory:
    """Earlier events, read through the connection of the view itself."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        self._datastore = datastore
        self._recorder = LedgerRecorder(datastore)
        self._mapper = ActionMapper()

    def events(self, originator_ids: Collection[UUID], *, before: int) -> list[ActionRecorded]:
        with self._datastore.get_connection() as connection:
            rows = connection.execute(
                _HISTORIES, {"ids": list(originator_ids), "before": before}, prepare=True
            ).fetchall()
        return [
            recorded(
                bytes(row["state"]),
                row["originator_id"],
                row["originator_version"],
                row["notification_id"],
            )
            for row in rows
        ]

    def acts(self, *, before: int) -> Iterator[ActionRecorded]:
        ledger_id, version = self.ledger_id(), 0
        while ledger_id is not None:
            rows = self._recorder.select_events(ledger_id, gt=version, limit=_ACTS)
            for row in rows:
                act = self._mapper.to_domain_event(row)
                if act.position is None or act.position >= before:
                    return
                yield act
            if len(rows) < _ACTS:
                return
            version = rows[-1].originator_version

    def acceptances(self, *, before: int) -> list[ActionRecorded]:
        rows = self._recorder.select_acceptances(upto=before - 1)
        return [row.event() for row in rows]

    def ledger_id(self) -> UUID | None:
        """Return the id of the registry's events, or ``None`` while the ledger is empty."""
        first = self._recorder.select_rows(after=0, limit=1)
        return first[0].originator_id if first else None

    def page(self, after: int, limit: int) -> Sequence[ActionRecorded]:
        """Return events of every case by position."""
        rows = self._recorder.select_notifications(
            start=after, limit=limit, inclusive_of_start=False
        )
        return [self._mapper.to_domain_event(row) for row in rows]

    def head(self) -> int:
        """Return the last position."""
        return self._recorder.max_notification_id() or 0


class View(PostgresTrackingRecorder):
    """One view's rows in one slot. Subclasses say which rows a step writes."""

    name: ClassVar[str]
    table: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    """The table's columns, with their types, in the order of a :data:`Row`."""
    key: ClassVar[tuple[str, ...]] = ()
    """The columns of a row that a later one takes the place of; of none, where rows stay."""
    identity: ClassVar[tuple[str, ...]]
    """The columns that tell a row from every other row."""

    def __init__(
        self, datastore: PostgresDatastore, *, slot: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(datastore, **kwargs)
        self.slot = slot or self.live_slot()
        self._is_live = slot is None
        self._insert = self._insertion()
        names = {"projection": Literal(self.name), "slot": Literal(self.slot)}
        # From just before the first step to the last: no step is ever passed over.
        self._advance = SQL(
            "INSERT INTO views.tracking"
            " SELECT {projection}, {slot}, %(application)s, %(last)s WHERE %(first)s = 1"
            " OR EXISTS (SELECT FROM views.tracking WHERE projection = {projection}"
            " AND slot = {slot} AND application_name = %(application)s)"
            " ON CONFLICT (projection, slot, application_name) DO UPDATE"
            " SET notification_id = EXCLUDED.notification_id"
            " WHERE tracking.notification_id = %(first)s - 1"
            " RETURNING notification_id"
        ).format(**names)
        self.max_tracking_id_statement = SQL(
            "SELECT max(notification_id) FROM views.tracking"
            " WHERE projection = {projection} AND slot = {slot} AND application_name = %s"
        ).format(**names)

    @abstractmethod
    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        """Write the rows that ``steps``, in ledger order, add to or change in this slot."""

    @abstractmethod
    def lasting(self, step: Step, history: RegistryHistory, *, is_last: bool) -> Iterator[Row]:
        """Yield the rows of ``step`` that remain once all events are folded.

        ``is_last`` says that ``step`` is the last of its case. The steps of one case come one after
        another. ``history`` has the acts on the protocol up to the position where the ledger is
        folded, and so the marks that they put on each step.
        """

    def insert(self, curs: Cursor[DictRow], rows: Sequence[Row]) -> None:
        """Write rows, each in place of a row with the same key if there is one.

        No two of ``rows`` may have the same key.
        """
        if rows:
            curs.execute(self._insert, self.values(rows), prepare=True)

    @classmethod
    def source(cls) -> Composed:
        """Return the part of a statement after its ``FROM`` that reads rows from parameters.

        The parameters are those that :meth:`values` returns. The document is text.
        """
        *plain, _ = cls.columns
        return SQL(
            "ROWS FROM (jsonb_to_recordset(%(rows)s::text::jsonb) AS ({}),"
            " unnest(%(documents)b::text[]))"
        ).format(
            SQL(", ").join(SQL("{} {}").format(Identifier(n), SQL(cls.columns[n])) for n in plain)
        )

    @classmethod
    def values(cls, rows: Sequence[Row]) -> dict[str, Any]:
        """Return rows as the parameters of :meth:`source`."""
        *names, _ = cls.columns
        return {
            "rows": to_json([dict(zip(names, row, strict=False)) for row in rows]).decode(),
            "documents": Texts(row[-1].decode() for row in rows),
        }

    @contextmanager
    def copying(self, connection: Connection[Any]) -> Iterator[Callable[[Row], None]]:
        """Start a binary COPY, and yield the function that writes a row into it.

        The slot must not have the rows yet.
        """
        statement = SQL("COPY views.{} ({}) FROM STDIN (FORMAT BINARY)").format(
            Identifier(self.table), SQL(", ").join(map(Identifier, self.columns))
        )
        with connection.cursor() as curs, curs.copy(statement) as copy:
            # The driver's own form of jsonb is an object: these are its bytes already.
            copy.set_types(["bytea" if t == "jsonb" else t for t in self.columns.values()])
            yield lambda row: copy.write_row((*row[:-1], _JSONB_VERSION + row[-1]))

    @classmethod
    def _insertion(cls) -> Composed:
        """Return the statement that writes rows, each in place of a row with its key."""
        instead: Composed | SQL = SQL("")
        if cls.key:
            instead = SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(
                SQL(", ").join(map(Identifier, cls.key)),
                SQL(", ").join(
                    SQL("{0} = EXCLUDED.{0}").format(Identifier(name))
                    for name in cls.columns
                    if name not in cls.key
                ),
            )
        names = SQL(", ").join(map(Identifier, cls.columns))
        *plain, document = cls.columns
        return SQL("INSERT INTO views.{} ({}) SELECT {}, {}::jsonb FROM {} AS t ({}){}").format(
            Identifier(cls.table),
            names,
            SQL(", ").join(map(Identifier, plain)),
            Identifier(document),
            cls.source(),
            names,
            instead,
        )

    def record(self, steps: Sequence[Step]) -> None:
        """Write the rows of ``steps`` and the position of the last step, once.

        Raises ``IntegrityError`` if the view is past the steps already, ``LostStepsError`` if steps
        before them are missing, and ``SlotMovedError`` if this slot is no longer the live one.
        """
        first, last = steps[0].event.position, steps[-1].event.position
        if first is None or last is None:
            raise ValueError("the event is not recorded yet")
        with self.datastore.transaction(commit=True) as curs:
            # Rows can be folded again from the ledger: their commit need not wait for the disk.
            curs.execute("SET LOCAL synchronous_commit = off")
            if self._is_live:
                self._check_live(curs)
            self._move(curs, first, last)
            self.write(curs, steps)

    def _move(self, curs: Cursor[DictRow], first: int, last: int) -> None:
        place = {"application": Ledger.name, "first": first, "last": last}
        curs.execute(self._advance, place, prepare=True)
        if curs.fetchone() is not None:
            return
        curs.execute(self.max_tracking_id_statement, (Ledger.name,), prepare=True)
        row = curs.fetchone()
        stands = (row["max"] if row else None) or 0
        if stands >= last:
            raise IntegrityError(f"{self.name} is past position {last} already")
        raise LostStepsError(f"{self.name} stands at {stands}, and {first} is not next")

    def renew_statistics(self) -> None:
        """Let the planner look at this slot's rows, which takes some tenths of a second at most.

        PostgreSQL does so by itself, but only a minute after many rows came at once.
        """
        with self.datastore.get_connection() as connection:
            connection.execute("SELECT views.renew_statistics(%s)", (f"{self.table}_{self.slot}",))

    def position(self) -> int:
        """Return the position that this slot stands at."""
        return self.max_tracking_id(Ledger.name) or 0

    def begin_at(self, position: int) -> None:
        """Record that the rows of this slot, which has no position yet, are at ``position``."""
        with self.datastore.transaction(commit=True) as curs:
            curs.execute(
                "INSERT INTO views.tracking VALUES (%s, %s, %s, %s)",
                (self.name, self.slot, Ledger.name, position),
            )

    def live_slot(self) -> str:
        with self.datastore.get_connection() as connection:
            row = connection.execute(
                "SELECT live_slot FROM views.projections WHERE name = %s", (self.name,)
            ).fetchone()
        if row is None:
            raise IntegrityError(f"there is no projection {self.name}; run the migrations")
        return str(row["live_slot"])

    def empty(self) -> None:
        """Remove every row of this slot, and its position."""
        if self.slot == self.live_slot():
            raise ValueError("the live slot is not emptied")
        with self.datastore.transaction(commit=True) as curs:
            curs.execute(SQL("TRUNCATE views.{}").format(Identifier(f"{self.table}_{self.slot}")))
            curs.execute(
                "DELETE FROM views.tracking WHERE projection = %s AND slot = %s",
                (self.name, self.slot),
            )

    def _check_live(self, curs: Cursor[DictRow]) -> None:
        curs.execute(
            "SELECT live_slot FROM views.projections WHERE name = %s FOR SHARE",
            (self.name,),
            prepare=True,
        )
        row = curs.fetchone()
        if row is None or row["live_slot"] != self.slot:
            raise SlotMovedError(self.name)
