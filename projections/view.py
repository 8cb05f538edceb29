"""A materialised view: rows and the position they stand at, in one transaction.

Extends the ``eventsourcing`` library's tracking recorder with two slots, so that a
view can be rebuilt beside the live one and swapped in.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier, Literal

from ledger.application import Ledger
from ledger.event import ActionMapper, ActionRecorded
from ledger.store.recorder import LedgerRecorder
from projections.folding import Step

PROJECTOR_ROLE = "case_ledger_projector"
SLOTS = ("a", "b")


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
        self._recorder = LedgerRecorder(datastore)
        self._mapper = ActionMapper()

    def events(self, originator_id: UUID, *, before: int) -> Sequence[ActionRecorded]:
        rows = self._recorder.select_events(originator_id)
        events = (self._mapper.to_domain_event(row) for row in rows)
        return [e for e in events if e.position is not None and e.position < before]

    def ledger_id(self) -> UUID | None:
        first = self._recorder.select_rows(after=0, limit=1)
        return first[0].originator_id if first else None

    def page(self, after: int, limit: int) -> Sequence[ActionRecorded]:
        """Events of every case by position."""
        rows = self._recorder.select_notifications(
            start=after, limit=limit, inclusive_of_start=False
        )
        return [self._mapper.to_domain_event(row) for row in rows]

    def head(self) -> int:
        """The last position."""
        return self._recorder.max_notification_id() or 0


class View(PostgresTrackingRecorder):
    """One view's rows in one slot. Subclasses say which rows a step writes."""

    name: ClassVar[str]
    table: ClassVar[str]

    def __init__(
        self, datastore: PostgresDatastore, *, slot: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(datastore, **kwargs)
        self.slot = slot or self.live_slot()
        self._is_live = slot is None
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

    def record(self, steps: Sequence[Step]) -> None:
        """Write ``steps`` and the position of the last, once.

        Raises ``IntegrityError`` where the view is past them already, ``LostStepsError`` where
        steps before them are missing, and ``SlotMovedError`` where this slot is no longer the
        live one.
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

    def position(self) -> int:
        """The position that this slot stands at."""
        return self.max_tracking_id(Ledger.name) or 0

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
