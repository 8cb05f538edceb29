"""The recorder: the ``eventsourcing`` library's, made gapless, stamped and idempotent.

Extends ``PostgresApplicationRecorder`` where it is meant to be extended: ``insert_events`` and
``select_events``. Concurrent appends are committed in groups. Tables come from migrations, never
from the recorder.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Self, TypeAlias
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.postgres import (
    BasePostgresFactory,
    PostgresApplicationRecorder,
    PostgresDatastore,
    PostgresFactory,
)
from eventsourcing.utils import retry
from psycopg import Connection, Cursor
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL
from psycopg_pool import ConnectionPool

from ledger.events import event_bytes
from ledger.events.event import ActionRecorded, UnsealedEvent, recorded
from ledger.log import merkle
from ledger.log.merkle import Frontier, Tree
from ledger.store.database import (
    APP_ROLE,
    PooledConnection,
    ReconnectedError,
    check_is_there,
    check_since,
    configure,
)
from ledger.store.group_commit import Group
from ledger.store.postgres_arrays import Bigints, Byteas, Texts, Uuids
from ledger.system import clock
from ledger.system.telemetry import span

SCHEMA = "ledger"
TABLE = "events"
CHANNEL = "ledger_events"
_AT_MOST = 256
"""Appends that share a transaction; what comes in meanwhile is the next group."""
_DETOURS = 16
"""Groups that ask where the head is, after it was found to be elsewhere."""

_LOCK_HEAD = "SELECT position, recorded_at, frontier FROM ledger.head FOR UPDATE"

# Asked once the lock is held, in a statement of its own snapshot: a key revoked meanwhile
# cannot slip an action past its revocation.
_VERSIONS = """
SELECT o.id, (SELECT max(originator_version) FROM ledger.events WHERE originator_id = o.id) AS last
FROM unnest(%b::uuid[]) AS o (id)
"""

_STANDING = """
SELECT h.position AS size, o.id, (
    SELECT max(originator_version) FROM ledger.events WHERE originator_id = o.id) AS last
FROM ledger.head h CROSS JOIN unnest(%(originators)b::uuid[]) AS o (id)
"""

_TAKEN = """
SELECT action_id, originator_id, originator_version FROM ledger.events
WHERE action_id = ANY(%(actions)b)
UNION ALL
SELECT action_id, originator_id, originator_version FROM ledger.events
JOIN unnest(%(originators)b::uuid[], %(versions)b::bigint[]) AS o (id, version)
ON originator_id = o.id AND originator_version = o.version
"""

# One statement, and so one round trip: what moves the head appends, and it moves only from where
# it is known to stand. Whoever waits for the head's lock here finds it elsewhere, and does nothing.
_APPEND = """
WITH moved AS (
    UPDATE ledger.head
    SET position = %(position)b, recorded_at = %(recorded_at)b, frontier = %(frontier)b
    WHERE position = %(after)b
      AND (%(guard_id)b::uuid IS NULL OR %(guard_version)b::bigint = COALESCE((
          SELECT max(originator_version) FROM ledger.events WHERE originator_id = %(guard_id)b), 0))
    RETURNING position
), inserted AS (
    INSERT INTO ledger.events (
        notification_id, originator_id, originator_version, topic, state,
        action_id, recorded_at, leaf_hash)
    SELECT %(after)b + t.place, t.originator, t.version, t.topic, t.state,
        t.action, {times}, sha256('\\x00'::bytea || t.state)
    FROM unnest(
        %(originators)b::uuid[], %(versions)b::bigint[], %(topics)b::text[], %(states)b::bytea[],
        %(actions)b::uuid[]) WITH ORDINALITY AS t (originator, version, topic, state, action, place)
    WHERE EXISTS (SELECT FROM moved)
){completed}
SELECT position, pg_notify(%(channel)t, '') FROM moved
"""
_AT_ONE_TIME = "%(recorded_at)b"
_AT_TIMES = "(%(times)b::timestamptz[])[t.place]"
_COMPLETED = """, completed AS (
    INSERT INTO ledger.tree (level, index, hash)
    SELECT t.* FROM unnest(
        %(tile_levels)b::smallint[], %(tile_indexes)b::bigint[], %(tile_hashes)b::bytea[]) AS t
    WHERE EXISTS (SELECT FROM moved)
)"""
_STATEMENTS = {
    (one_time, has_tiles): _APPEND.format(
        times=_AT_ONE_TIME if one_time else _AT_TIMES, completed=_COMPLETED if has_tiles else ""
    )
    for one_time in (True, False)
    for has_tiles in (True, False)
}

_LEAVES = """
SELECT leaf_hash AS hash FROM ledger.events
WHERE notification_id > %(start)s AND notification_id <= %(end)s ORDER BY notification_id
"""

_LATER = """
SELECT notification_id, e.originator_id, originator_version, topic, state
FROM unnest(%(originators)b::uuid[], %(versions)b::bigint[]) AS known (originator_id, version)
JOIN ledger.events e
ON e.originator_id = known.originator_id AND e.originator_version > known.version
ORDER BY e.originator_id, originator_version
"""

_TILE_HASHES = """
SELECT hash FROM ledger.tree
WHERE level = %(level)s AND index >= %(start)s AND index < %(end)s ORDER BY index
"""


class RegistryMovedError(IntegrityError):
    """The registry changed between the decision and the append; decide again."""


class TakenError(IntegrityError):
    """Another event has this action's id, or this version of its case."""


class TimeMovedError(IntegrityError):
    """The decision does not hold at the time that would be stored; decide again by that time."""


class HistoryWentBackError(PersistenceError):
    """The ledger has fewer events than this process saw in it. Nothing is appended."""


class HeadMovedError(IntegrityError):
    """Another process wrote to this copy of the ledger first."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only while this aggregate still has this version."""

    originator_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """Events that are appended together or not at all."""

    events: tuple[UnsealedEvent, ...]
    guard: Guard | None = None
    holds_at: Callable[[datetime], bool] | None = None
    """Whether they were decided rightly, if this time is stored with them. It asks no database."""
    since: float | None = None
    """Recorded on a connection that was there then, by the monotonic clock, or not at all."""


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """One row of the events table."""

    position: int
    originator_id: UUID
    version: int
    kind: str
    state: bytes
    action_id: UUID
    recorded_at: datetime
    leaf_hash: bytes

    @classmethod
    def of(cls, row: DictRow) -> Self:
        """The row as the database gives it."""
        return cls(
            position=row["notification_id"],
            originator_id=row["originator_id"],
            version=row["originator_version"],
            kind=row["topic"],
            state=bytes(row["state"]),
            action_id=row["action_id"],
            recorded_at=row["recorded_at"],
            leaf_hash=bytes(row["leaf_hash"]),
        )

    def event(self) -> ActionRecorded:
        """The event that the row holds, read back. Raises as ``events.event.recorded``."""
        return recorded(self.state, self.originator_id, self.version, self.position)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger ends, locked: whoever holds it appends next."""

    position: int
    recorded_at: datetime
    frontier: bytes


def lock_head(curs: Cursor[DictRow]) -> Head:
    """Take the lock of the one order, until the transaction ends."""
    curs.execute(_LOCK_HEAD, prepare=True)
    head = curs.fetchone()
    if head is None:
        raise IntegrityError("the ledger has no head; run the migrations")
    return Head(head["position"], head["recorded_at"], head["frontier"])


def insert_rows(
    curs: Cursor[DictRow], head: Head, rows: Sequence[RecordedRow], guard: Guard | None = None
) -> Head | None:
    """Insert rows that follow ``head``, with their tree, and move the head.

    Gives the new head; ``None``, and nothing was written, where the ledger does not stand at
    ``head`` or the guard does not hold.
    """
    frontier, completed = Frontier.from_bytes(head.position, head.frontier).extend(
        row.leaf_hash for row in rows
    )
    first, last = rows[0], rows[-1]
    moved = Head(head.position + len(rows), last.recorded_at, frontier.to_bytes())
    one_time = first.recorded_at == last.recorded_at  # times never go back
    values: dict[str, Any] = {
        "after": head.position,
        "position": moved.position,
        "recorded_at": moved.recorded_at,
        "frontier": moved.frontier,
        "guard_id": guard.originator_id if guard else None,
        "guard_version": guard.version if guard else None,
        "originators": Uuids(row.originator_id for row in rows),
        "versions": Bigints(row.version for row in rows),
        "topics": Texts(row.kind for row in rows),
        "states": Byteas(row.state for row in rows),
        "actions": Uuids(row.action_id for row in rows),
        "channel": CHANNEL,
    }
    if not one_time:
        values["times"] = [row.recorded_at for row in rows]
    if completed:
        values |= {
            "tile_levels": [made.level for made in completed],
            "tile_indexes": [made.index for made in completed],
            "tile_hashes": [made.hash for made in completed],
        }
    curs.execute(_STATEMENTS[one_time, bool(completed)], values, prepare=True)
    return moved if curs.fetchone() is not None else None


def _insert_locked(curs: Cursor[DictRow], head: Head, rows: Sequence[RecordedRow]) -> Head:
    """As :func:`insert_rows`, of a head whose lock is held: it stands where it says."""
    moved = insert_rows(curs, head, rows)
    if moved is None:
        raise IntegrityError("the head moved although it is locked")
    return moved


Placed: TypeAlias = Sequence[RecordedRow]
"""The rows that one proposal became."""


class LedgerDatastore(PostgresDatastore):
    """The library's datastore over a connection string, in one role."""

    def __init__(
        self, conninfo: str, *, pool_size: int, role: str = APP_ROLE, is_checked: bool = True
    ) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=SCHEMA)
        self._conninfo = conninfo
        self._role = role
        self.pool = ConnectionPool(  # type: ignore[assignment]
            conninfo,
            connection_class=PooledConnection,
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=partial(configure, role=role),
            check=check_is_there if is_checked else None,
            timeout=10.0,
            name="case-ledger-events",
        )

    @cached_property
    def appends(self) -> "LedgerDatastore":
        """One more connection, for appends alone.

        It is not looked at first whether it is still there: an append that finds it gone is tried
        again.
        """
        return LedgerDatastore(self._conninfo, pool_size=1, role=self._role, is_checked=False)

    def close(self) -> None:
        if "appends" in self.__dict__:
            self.appends.close()
        super().close()

    def __exit__(self, *raised: Any) -> None:
        self.close()


class LedgerRecorder(PostgresApplicationRecorder):
    """Records events at the next positions, in the one order of the ledger."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = TABLE) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.channel_name = CHANNEL
        appends = datastore.appends if isinstance(datastore, LedgerDatastore) else datastore
        self._appending = appends.get_connection
        self._appends = Group(self._append_together, at_most=_AT_MOST)
        self._head: Head | None = None
        """Where the ledger ends, as far as is known; whoever leads a group has it alone."""
        self._detours = 0
        self._last_at = datetime.fromtimestamp(0, UTC)
        """The time of the last event that this process saw at the head."""
        self.noted_size = 0
        """The most events that this process saw in the ledger."""

    def note_size(self, size: int) -> None:
        """Append no more where the ledger is found with fewer events than this."""
        self.noted_size = max(self.noted_size, size)

    def forget(self) -> None:
        """Forget where the ledger ended: it may be another by now."""
        self._head, self._last_at = None, datetime.fromtimestamp(0, UTC)

    def create_table(self) -> None:
        """Nothing to do: tables are made by migrations, which this role cannot run."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """As the library's: the positions of the events, which are durable."""
        return [row.position for row in self.append(stored_events, **kwargs)]

    @retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
    def append(
        self,
        stored_events: Sequence[StoredEvent],
        guard: Guard | None = None,
        holds_at: Callable[[datetime], bool] | None = None,
        since: float | None = None,
        **_: Any,
    ) -> Placed:
        """Append events at the next positions, together or not at all. Durable on return.

        What other threads append at the same time shares the transaction. Raises
        ``RegistryMovedError`` where the guard does not hold, ``TimeMovedError`` where the time that
        would be stored fails ``holds_at``, ``TakenError``, and ``ReconnectedError`` where a crash
        may have taken back what was committed ``since``.
        """
        if not stored_events:
            return ()
        events = tuple(map(_unsealed, stored_events))
        return self._appends.call(Proposal(events, guard, holds_at, since))

    def _append_together(self, proposals: Sequence[Proposal]) -> Sequence[Placed | Exception]:
        with (
            span("ledger.append", {"actions": len(proposals)}),
            self._appending() as connection,
            connection.cursor() as curs,
        ):
            outcomes: dict[int, Placed | Exception] = {}
            standing: list[Proposal] = []
            for place, proposal in enumerate(proposals):
                try:
                    check_since(connection, proposal.since)
                    standing.append(proposal)
                except ReconnectedError as error:
                    outcomes[place] = error
            if not outcomes:
                return self._append_standing(curs, proposals)
            rest = iter(self._append_standing(curs, standing) if standing else ())
            return [
                outcomes[place] if place in outcomes else next(rest)
                for place in range(len(proposals))
            ]

    def _append_standing(
        self, curs: Cursor[DictRow], proposals: Sequence[Proposal]
    ) -> Sequence[Placed | Exception]:
        if (rows := self._append_at_once(curs, proposals)) is not None:
            return rows
        return self._append_one_by_one(curs, proposals)

    def _append_at_once(
        self, curs: Cursor[DictRow], proposals: Sequence[Proposal]
    ) -> Sequence[Placed] | None:
        """Append all where the head is known to be; ``None``, where something is in the way."""
        head, self._head = self._head, None
        if self._detours > 0 or head is None:
            self._detours -= 1
            return None
        # The statement finds out whether the guard holds; where there are two, one does not.
        guards = _guards(proposals)
        verdict = _Verdict({guard.originator_id: guard.version for guard in guards})
        rows = _placed(proposals, head, verdict)
        if rows is None or len(guards) > 1:
            return None
        try:
            self._head = insert_rows(curs, head, _flat(rows), next(iter(guards), None))
        except psycopg.errors.UniqueViolation:
            return None
        if self._head is None:
            self._detours = _DETOURS  # another process appends too: do not guess for a while
            return None
        self._last_at = self._head.recorded_at
        self.note_size(self._head.position)
        return rows

    def _append_one_by_one(
        self, curs: Cursor[DictRow], proposals: Sequence[Proposal]
    ) -> Sequence[Placed | Exception]:
        """Append what can be, under the head's lock; say of each other why it cannot."""
        with curs.connection.transaction():
            head = lock_head(curs)
            if head.position < self.noted_size:
                raise HistoryWentBackError(
                    f"the ledger has {head.position} events, and had {self.noted_size}"
                )
            verdict = _Verdict(self._versions(curs, proposals), *self._taken(curs, proposals))
            outcomes = _place(proposals, head, verdict)
            rows = _flat(outcomes)
            moved = _insert_locked(curs, head, rows) if rows else head
        self._head, self._last_at = moved, moved.recorded_at
        self.note_size(moved.position)
        return outcomes

    def _versions(self, curs: Cursor[DictRow], proposals: Sequence[Proposal]) -> dict[UUID, int]:
        ids = {guard.originator_id for guard in _guards(proposals)}
        if not ids:
            return {}
        curs.execute(_VERSIONS, (Uuids(ids),), prepare=True)
        return {row["id"]: row["last"] or 0 for row in curs.fetchall()}

    def _taken(
        self, curs: Cursor[DictRow], proposals: Sequence[Proposal]
    ) -> tuple[set[UUID], set[tuple[UUID, int]]]:
        """Those of the proposed action ids, and of the proposed versions, that events have."""
        events = [event for proposal in proposals for event in proposal.events]
        proposed = {
            "actions": Uuids(event.action_id for event in events),
            "originators": Uuids(map(_uuid, events)),
            "versions": Bigints(event.originator_version for event in events),
        }
        curs.execute(_TAKEN, proposed, prepare=True)
        found = curs.fetchall()
        return (
            {row["action_id"] for row in found},
            {(row["originator_id"], row["originator_version"]) for row in found},
        )

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """As the library's, with each event's position (``Notification``)."""
        statement = SQL(
            "SELECT notification_id, originator_version, topic, state FROM ledger.events"
            " WHERE originator_id = %(id)s AND originator_version > %(gt)s"
            " AND originator_version <= %(lte)s ORDER BY originator_version {} LIMIT %(limit)s"
        ).format(SQL("DESC" if desc else "ASC"))
        params = {
            "id": originator_id,
            "gt": gt or 0,
            "lte": lte if lte is not None else 2**62,
            "limit": limit,
        }
        with self.datastore.get_connection() as connection, connection.cursor() as curs:
            curs.execute(statement, params, prepare=True)
            return [
                Notification(
                    id=row["notification_id"],
                    originator_id=originator_id,
                    originator_version=row["originator_version"],
                    topic=row["topic"],
                    state=bytes(row["state"]),
                )
                for row in curs.fetchall()
            ]

    def select_later(self, versions: Mapping[UUID, int]) -> Sequence[Notification]:
        """The events of many aggregates after a version of each: one's after another's."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                _LATER,
                {"originators": Uuids(versions), "versions": Bigints(versions.values())},
                prepare=True,
            ).fetchall()
        return [
            Notification(
                id=row["notification_id"],
                originator_id=row["originator_id"],
                originator_version=row["originator_version"],
                topic=row["topic"],
                state=bytes(row["state"]),
            )
            for row in rows
        ]

    def standing_at(self, originators: Sequence[UUID]) -> tuple[int, dict[UUID, int]]:
        """Return how many events there are, and the last version of each aggregate, of one moment.

        An aggregate without events is left out.
        """
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                _STANDING, {"originators": Uuids(originators)}, prepare=True
            ).fetchall()
        return rows[0]["size"], {row["id"]: row["last"] for row in rows if row["last"] is not None}

    def originators_of(self, kinds: Collection[str], *, after: int, upto: int) -> Sequence[UUID]:
        """The aggregate of each event of these kinds, from position ``after + 1`` to ``upto``."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT originator_id FROM ledger.events WHERE notification_id > %s"
                " AND notification_id <= %s AND topic = ANY(%s) ORDER BY notification_id",
                (after, upto, list(kinds)),
                prepare=True,
            ).fetchall()
        return [row["originator_id"] for row in rows]

    def select_case_ids(self, after: UUID, limit: int) -> Sequence[UUID]:
        """The next aggregates in the order of their ids; the protocol's is among them."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT originator_id FROM ledger.events WHERE originator_id > %s"
                " AND originator_version = 1 ORDER BY originator_id LIMIT %s",
                (after, limit),
                prepare=True,
            ).fetchall()
        return [row["originator_id"] for row in rows]

    def changed_since(self, after: int, upto: int) -> Sequence[UUID]:
        """The aggregates of the events from position ``after + 1`` to ``upto``, once each."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT DISTINCT originator_id FROM ledger.events"
                " WHERE notification_id > %s AND notification_id <= %s",
                (after, upto),
                prepare=True,
            ).fetchall()
        return [row["originator_id"] for row in rows]

    def find_action(self, action_id: UUID) -> RecordedRow | None:
        """The event of an action, if it was recorded."""
        with self.datastore.get_connection() as connection:
            row = connection.execute(
                "SELECT * FROM ledger.events WHERE action_id = %s", (action_id,), prepare=True
            ).fetchone()
        return None if row is None else RecordedRow.of(row)

    def select_rows(self, after: int, limit: int) -> list[RecordedRow]:
        """Rows by position, beginning after ``after``."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT * FROM ledger.events WHERE notification_id > %s"
                " ORDER BY notification_id LIMIT %s",
                (after, limit),
                prepare=True,
            ).fetchall()
        return [RecordedRow.of(row) for row in rows]

    def select_positions(self, positions: Sequence[int]) -> list[RecordedRow]:
        """The rows at these positions, in order."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT * FROM ledger.events WHERE notification_id = ANY(%s)"
                " ORDER BY notification_id",
                (list(positions),),
                prepare=True,
            ).fetchall()
        return [RecordedRow.of(row) for row in rows]

    def select_actions(self, action_ids: Sequence[UUID]) -> list[RecordedRow]:
        """The rows of those of these actions that were recorded, in order."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT * FROM ledger.events WHERE action_id = ANY(%s) ORDER BY notification_id",
                (list(action_ids),),
                prepare=True,
            ).fetchall()
        return [RecordedRow.of(row) for row in rows]

    def position_at(self, moment: datetime) -> int:
        """The last position that was recorded by then; 0 before the first.

        Times never go back, so that a search by halves finds it.
        """
        low, high = 0, self.max_notification_id() or 0
        while low < high:
            middle = (low + high + 1) // 2
            (row,) = self.select_positions([middle])
            low, high = (middle, high) if row.recorded_at <= moment else (low, middle - 1)
        return low

    def copy(self, connection: Connection[DictRow], rows: Sequence[RecordedRow]) -> None:
        """Insert rows as another node recorded them, in the caller's transaction.

        Raises ``HeadMovedError`` where they do not follow this ledger's last event.
        """
        with connection.cursor() as curs:
            head = lock_head(curs)
            if head.position != rows[0].position - 1:
                raise HeadMovedError(f"this ledger ends at position {head.position} by now")
            _insert_locked(curs, head, rows)

    def recorded_action_ids(
        self, action_ids: Sequence[UUID], *, upto: int | None = None
    ) -> set[UUID]:
        """Which of these actions were recorded, at ``upto`` or before."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                "SELECT action_id FROM ledger.events"
                " WHERE action_id = ANY(%s) AND notification_id <= %s",
                (list(action_ids), upto if upto is not None else 2**62),
            ).fetchall()
        return {row["action_id"] for row in rows}

    def next_time(self, *, ask: bool = False) -> datetime:
        """Return the time that an event would be stored with now: the later of clock and head.

        With ``ask`` the head is read from the database. Without, it is the one that this process
        saw last.
        """
        if ask:
            self._last_at = self.last_recorded_at()
        return max(clock.now(), self._last_at)

    def last_recorded_at(self) -> datetime:
        """When the last event was recorded; long ago, where there is none."""
        with self.datastore.get_connection() as connection:
            head = connection.execute("SELECT recorded_at FROM ledger.head").fetchone()
        if head is None:
            raise IntegrityError("the ledger has no head; run the migrations")
        recorded_at: datetime = head["recorded_at"]
        return recorded_at

    def tree(self) -> Tree:
        """The tree over every event up to now."""
        return Tree(self.frontier().size, self.read_hashes)

    def frontier(self) -> Frontier:
        """The frontier of the tree, as it was stored with the last event."""
        with self.datastore.get_connection() as connection:
            head = connection.execute(
                "SELECT position, frontier FROM ledger.head", prepare=True
            ).fetchone()
        if head is None:
            raise IntegrityError("the ledger has no head; run the migrations")
        return Frontier.from_bytes(head["position"], head["frontier"])

    def read_hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Stored hashes of a tile level: of leaves at 0, of full tiles above."""
        with self.datastore.get_connection() as connection:
            rows = connection.execute(
                _LEAVES if level == 0 else _TILE_HASHES,
                {"level": level, "start": start, "end": start + count},
                prepare=True,
            ).fetchall()
        return [row["hash"] for row in rows]


class LedgerFactory(PostgresFactory):
    """Constructs recorders over ``CASE_LEDGER_CONNINFO``."""

    CONNINFO = "CASE_LEDGER_CONNINFO"
    POOL_SIZE = "CASE_LEDGER_POOL_SIZE"

    def __init__(self, env: Any) -> None:
        # Past the library's own Postgres factory, which asks for one variable per
        # connection parameter where a connection string says it all.
        super(BasePostgresFactory, self).__init__(env)
        conninfo = self.env.get(self.CONNINFO)
        if not conninfo:
            raise OSError(f"{self.CONNINFO} names no database")
        pool_size = int(self.env.get(self.POOL_SIZE) or 10)
        self.datastore = LedgerDatastore(conninfo, pool_size=pool_size)

    def application_recorder(self) -> LedgerRecorder:
        return LedgerRecorder(self.datastore)


@dataclass
class _Verdict:
    """What is in the way of proposals, each counted once it is accepted."""

    versions: dict[UUID, int]
    """Of what is guarded, as far as it is known."""
    actions: set[UUID] = field(default_factory=set)
    places: set[tuple[UUID, int]] = field(default_factory=set)

    def on(self, proposal: Proposal, recorded_at: datetime) -> IntegrityError | None:
        """Why a proposal is refused; ``None`` counts it as accepted."""
        guard = proposal.guard
        known = self.versions.get(guard.originator_id) if guard else None
        if guard is not None and known is not None and known != guard.version:
            return RegistryMovedError("the registry changed meanwhile")
        if proposal.holds_at is not None and not proposal.holds_at(recorded_at):
            return TimeMovedError("it was decided by another time than the one to be stored")
        actions = {event.action_id for event in proposal.events}
        places = {(_uuid(event), event.originator_version) for event in proposal.events}
        if (
            len(actions) != len(proposal.events)
            or not actions.isdisjoint(self.actions)
            or not places.isdisjoint(self.places)
        ):
            return TakenError("an action id, or a version of a case, is taken")
        self.actions |= actions
        self.places |= places
        for originator, version in places:
            if originator in self.versions:
                self.versions[originator] = max(version, self.versions[originator])
        return None


def _place(
    proposals: Sequence[Proposal], head: Head, verdict: _Verdict
) -> list[Placed | Exception]:
    """Give each accepted proposal its positions after ``head``, and its bytes their time."""
    recorded_at = max(clock.now(), head.recorded_at)
    position = head.position
    outcomes: list[Placed | Exception] = []
    for proposal in proposals:
        if (error := verdict.on(proposal, recorded_at)) is not None:
            outcomes.append(error)
            continue
        outcomes.append(
            [_sealed(e, position + n, recorded_at) for n, e in enumerate(proposal.events, 1)]
        )
        position += len(proposal.events)
    return outcomes


def _placed(proposals: Sequence[Proposal], head: Head, verdict: _Verdict) -> list[Placed] | None:
    """As :func:`_place`, where all are accepted; ``None`` where one is not."""
    outcomes = _place(proposals, head, verdict)
    placed = [one for one in outcomes if not isinstance(one, Exception)]
    return placed if len(placed) == len(outcomes) else None


def _guards(proposals: Sequence[Proposal]) -> set[Guard]:
    return {proposal.guard for proposal in proposals if proposal.guard is not None}


def _flat(outcomes: Iterable[Placed | Exception]) -> list[RecordedRow]:
    return [row for rows in outcomes if not isinstance(rows, Exception) for row in rows]


def _unsealed(event: StoredEvent) -> UnsealedEvent:
    if not isinstance(event, UnsealedEvent):
        raise TypeError(f"{type(event).__name__} is no event on its way to the recorder")
    return event


def _uuid(event: UnsealedEvent) -> UUID:
    originator = event.originator_id
    return originator if isinstance(originator, UUID) else UUID(originator)


def _sealed(event: UnsealedEvent, position: int, recorded_at: datetime) -> RecordedRow:
    if not event.state.isascii():
        raise ValueError("a signed action is written in ASCII")
    before, after = event_bytes.around(recorded_at)
    state = before + event.state + after
    return RecordedRow(
        position=position,
        originator_id=_uuid(event),
        version=event.originator_version,
        kind=event.topic,
        state=state,
        action_id=event.action_id,
        recorded_at=recorded_at,
        leaf_hash=merkle.leaf_hash(state),
    )
