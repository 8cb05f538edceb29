"""Reads recorded events from the store: by case, by position, by action, and the tree over them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    StoredEvent,
)
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import TupleRow, tuple_row
from psycopg.sql import SQL, Composed
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from ledger.log.merkle import Frontier, Tree
from ledger.store.event_rows import COLUMNS, RecordedRow
from ledger.store.postgres_arrays import Bigints, Uuids
from ledger.system.retrying import AT_ONCE, retrying

Query: TypeAlias = LiteralString | SQL | Composed
Params: TypeAlias = Sequence[Any] | Mapping[str, Any] | None

_STANDING = """
SELECT h.position, o.id, (
    SELECT max(originator_version) FROM ledger.events WHERE originator_id = o.id)
FROM ledger.head h CROSS JOIN unnest(%(originators)b::uuid[]) AS o (id)
"""

_LATER = """
SELECT e.originator_id, originator_version, topic, state, notification_id
FROM unnest(%(originators)b::uuid[], %(versions)b::bigint[]) AS known (originator_id, version)
JOIN ledger.events e
ON e.originator_id = known.originator_id AND e.originator_version > known.version
ORDER BY e.originator_id, originator_version
"""

_HEAD = "SELECT position, recorded_at, frontier FROM ledger.head"

_LEAVES = """
SELECT leaf_hash FROM ledger.events
WHERE notification_id > %(start)s AND notification_id <= %(end)s ORDER BY notification_id
"""

_TILE_HASHES = """
SELECT hash FROM ledger.tree
WHERE level = %(level)s AND index >= %(start)s AND index < %(end)s ORDER BY index
"""


def _was_cut_off(error: BaseException) -> bool:
    """Return whether a connection ended under a statement. None in time is another trouble."""
    if not isinstance(error, InterfaceError | OperationalError):
        return False
    return not isinstance(error.__cause__, PoolTimeout | PoolClosed | TooManyRequests)


_ROWS = SQL("SELECT {} FROM ledger.events WHERE ").format(SQL(COLUMNS))
_NOTIFICATIONS = (
    "SELECT originator_id, originator_version, topic, state, notification_id FROM ledger.events"
)
"""The columns in the order of the fields of ``Notification``."""
# The index of these events is partial: its condition must stand here as it is.
_ACCEPTANCES = _ROWS + SQL(
    "topic = 'merge_accepted' AND notification_id <= %s ORDER BY notification_id"
)


class EventReader(PostgresApplicationRecorder):
    """The reading half of the ledger's recorder. Nothing here writes."""

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return an aggregate's events as the library does.

        Each event is a ``Notification``, which has its position.
        """
        statement = SQL(
            "{} WHERE originator_id = %(id)s AND originator_version > %(gt)s"
            " AND originator_version <= %(lte)s ORDER BY originator_version {} LIMIT %(limit)s"
        ).format(SQL(_NOTIFICATIONS), SQL("DESC" if desc else "ASC"))
        params = {
            "id": originator_id,
            "gt": gt or 0,
            "lte": lte if lte is not None else 2**62,
            "limit": limit,
        }
        return self._notifications(statement, params)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events of every aggregate by position, as the library does."""
        where = [
            SQL(
                "notification_id >= %(start)s"
                if inclusive_of_start
                else "notification_id > %(start)s"
            )
        ]
        if stop is not None:
            where.append(SQL("notification_id <= %(stop)s"))
        if topics:
            where.append(SQL("topic = ANY(%(topics)s)"))
        statement = SQL("{} WHERE {} ORDER BY notification_id LIMIT %(limit)s").format(
            SQL(_NOTIFICATIONS), SQL(" AND ").join(where)
        )
        params = {"start": start or 0, "stop": stop, "topics": list(topics), "limit": limit}
        return self._notifications(statement, params)

    def select_later(self, versions: Mapping[UUID, int]) -> Sequence[Notification]:
        """Return the events of many aggregates after a version of each, grouped by aggregate."""
        return self._notifications(
            _LATER,
            {"originators": Uuids(versions), "versions": Bigints(versions.values())},
        )

    def standing_at(self, originators: Sequence[UUID]) -> tuple[int, dict[UUID, int]]:
        """Return how many events there were at one moment, and each aggregate's last version.

        An aggregate without events is left out.
        """
        rows = self._rows(_STANDING, {"originators": Uuids(originators)})
        return rows[0][0], {id_: last for _, id_, last in rows if last is not None}

    def originators_of(self, kinds: Collection[str], *, after: int, upto: int) -> Sequence[UUID]:
        """Return the aggregate of each event of these kinds, in order of position.

        The positions are from ``after + 1`` to ``upto``.
        """
        rows = self._rows(
            "SELECT originator_id FROM ledger.events WHERE notification_id > %s"
            " AND notification_id <= %s AND topic = ANY(%s) ORDER BY notification_id",
            (after, upto, list(kinds)),
        )
        return [originator_id for (originator_id,) in rows]

    def select_acceptances(self, *, upto: int) -> list[RecordedRow]:
        """Return the rows of the acceptances of merges at positions up to ``upto``, in order."""
        return self._recorded(_ACCEPTANCES, (upto,))

    def having_kinds(
        self, originator_ids: Collection[UUID], kinds: Collection[str]
    ) -> Sequence[UUID]:
        """Return the aggregates among ``originator_ids`` that have an event of one of the kinds."""
        rows = self._rows(
            "SELECT DISTINCT originator_id FROM ledger.events"
            " WHERE originator_id = ANY(%s) AND topic = ANY(%s)",
            (list(originator_ids), list(kinds)),
        )
        return [originator_id for (originator_id,) in rows]

    def select_case_ids(self, after: UUID, limit: int) -> Sequence[UUID]:
        """Return the next aggregates in the order of their ids; the protocol's is among them."""
        rows = self._rows(
            "SELECT originator_id FROM ledger.events WHERE originator_id > %s"
            " AND originator_version = 1 ORDER BY originator_id LIMIT %s",
            (after, limit),
        )
        return [originator_id for (originator_id,) in rows]

    def changed_since(self, after: int, upto: int) -> Sequence[UUID]:
        """Return the aggregates of the events in a range, once each.

        The positions are from ``after + 1`` to ``upto``.
        """
        rows = self._rows(
            "SELECT DISTINCT originator_id FROM ledger.events"
            " WHERE notification_id > %s AND notification_id <= %s",
            (after, upto),
        )
        return [originator_id for (originator_id,) in rows]

    def find_action(self, action_id: UUID) -> RecordedRow | None:
        """Return the event of an action, if it was recorded."""
        found = self._recorded(_ROWS + SQL("action_id = %s"), (action_id,))
        return found[0] if found else None

    def select_rows(self, after: int, limit: int) -> list[RecordedRow]:
        """Return rows by position, beginning after ``after``."""
        return self._recorded(
            _ROWS + SQL("notification_id > %s ORDER BY notification_id LIMIT %s"), (after, limit)
        )

    def select_positions(self, positions: Sequence[int]) -> list[RecordedRow]:
        """Return the rows at these positions, in order."""
        return self._recorded(
            _ROWS + SQL("notification_id = ANY(%s) ORDER BY notification_id"), (list(positions),)
        )

    def select_actions(self, action_ids: Sequence[UUID]) -> list[RecordedRow]:
        """Return the rows of the recorded ones of these actions, in order."""
        return self._recorded(
            _ROWS + SQL("action_id = ANY(%s) ORDER BY notification_id"), (list(action_ids),)
        )

    def position_at(self, moment: datetime) -> int:
        """Return the last position that was recorded by then; 0 before the first.

        Times of recording never go back, so that a binary search finds it.
        """
        low, high = 0, self.max_notification_id() or 0
        while low < high:
            middle = (low + high + 1) // 2
            (row,) = self.select_positions([middle])
            low, high = (middle, high) if row.recorded_at <= moment else (low, middle - 1)
        return low

    def recorded_action_ids(
        self, action_ids: Sequence[UUID], *, upto: int | None = None
    ) -> set[UUID]:
        """Return the ids of these actions that were recorded, at ``upto`` or before."""
        rows = self._rows(
            "SELECT action_id FROM ledger.events"
            " WHERE action_id = ANY(%s) AND notification_id <= %s",
            (list(action_ids), upto if upto is not None else 2**62),
        )
        return {action_id for (action_id,) in rows}

    def last_recorded_at(self) -> datetime:
        """Return when the last event was recorded; a time long ago if there is none."""
        return self._head_row()[1]

    def tree(self) -> Tree:
        """Return the tree over every event up to now."""
        return Tree(self.frontier().size, self.read_hashes)

    def frontier(self) -> Frontier:
        """Return the frontier of the tree, as it was stored with the last event."""
        position, _, frontier = self._head_row()
        return Frontier.from_bytes(position, frontier)

    def read_hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Return stored hashes of a tile level: of leaves at level 0, of full tiles above."""
        rows = self._rows(
            _LEAVES if level == 0 else _TILE_HASHES,
            {"level": level, "start": start, "end": start + count},
        )
        return [found for (found,) in rows]

    def _recorded(self, statement: Query, params: Params) -> list[RecordedRow]:
        return list(starmap(RecordedRow, self._rows(statement, params)))

    def _notifications(self, statement: Query, params: Params) -> list[Notification]:
        return list(starmap(Notification, self._rows(statement, params)))

    @retrying(_was_cut_off, attempts=2, backoff=AT_ONCE).wraps
    def _rows(self, statement: Query, params: Params = None) -> list[TupleRow]:
        """Return the rows of a statement that only reads, in the order of its columns.

        They come in binary form, and as tuples: text costs three times as much for an event, and
        dictionaries twice. The pool gives no connection away whose server closed it. A server that
        is about to close it ends it under the statement, which is then sent once more, on another
        connection.
        """
        with (
            self.datastore.get_connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            return cursor.execute(statement, params, prepare=True).fetchall()

    def _head_row(self) -> tuple[int, datetime, bytes]:
        """Return position, time and frontier of the ledger's head.

        Raises ``IntegrityError`` before the migrations.
        """
        for position, recorded_at, frontier in self._rows(_HEAD):
            return position, recorded_at, frontier
        raise IntegrityError("the ledger has no head; run the migrations")
