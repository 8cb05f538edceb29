"""The recorder: the ``eventsourcing`` library's, made gapless, stamped and idempotent.

Extends ``PostgresApplicationRecorder`` where it is meant to be extended: its SQL
statements, ``_insert_stored_events`` and ``select_events``. Tables come from
migrations, never from the recorder.
"""

import selectors
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self
from uuid import UUID

from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.postgres import (
    BasePostgresFactory,
    PostgresApplicationRecorder,
    PostgresDatastore,
    PostgresFactory,
)
from psycopg import Connection, Cursor
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL
from psycopg_pool import ConnectionPool

from ledger import entry, merkle
from ledger.event import UnsealedEvent
from ledger.merkle import Frontier, Tree
from ledger.store.database import APP_ROLE, set_role

SCHEMA = "ledger"
TABLE = "events"
CHANNEL = "ledger_events"

_LOCK_HEAD = "SELECT position, recorded_at, frontier FROM ledger.head FOR UPDATE"

# The guard is evaluated after the lock is held, in a statement of its own snapshot:
# a key revoked meanwhile cannot slip an action past its revocation.
_INSERT = """
WITH incoming AS (
    SELECT * FROM unnest(
        %(positions)s::bigint[], %(originators)s::uuid[], %(versions)s::bigint[],
        %(topics)s::text[], %(states)s::bytea[], %(actions)s::uuid[],
        %(times)s::timestamptz[], %(leaves)s::bytea[]
    ) AS t (notification_id, originator_id, originator_version, topic, state, action_id,
            recorded_at, leaf_hash)
    WHERE %(guard_version)s::bigint IS NULL OR %(guard_version)s = (
        SELECT COALESCE(max(originator_version), 0)
        FROM ledger.events WHERE originator_id = %(guard_id)s
    )
), inserted AS (
    INSERT INTO ledger.events (
        notification_id, originator_id, originator_version, topic, state,
        action_id, recorded_at, leaf_hash)
    SELECT * FROM incoming
    RETURNING notification_id
), moved AS (
    UPDATE ledger.head
    SET position = position + (SELECT count(*) FROM inserted),
        recorded_at = %(recorded_at)s, frontier = %(frontier)s
    WHERE EXISTS (SELECT FROM inserted)
), completed AS (
    INSERT INTO ledger.tree (level, index, hash)
    SELECT t.* FROM unnest(
        %(tile_levels)s::smallint[], %(tile_indexes)s::bigint[], %(tile_hashes)s::bytea[]
    ) AS t
    WHERE EXISTS (SELECT FROM inserted)
)
SELECT notification_id FROM inserted ORDER BY notification_id
"""

_LEAVES = """
SELECT leaf_hash AS hash FROM ledger.events
WHERE notification_id > %(start)s AND notification_id <= %(end)s ORDER BY notification_id
"""

_TILE_HASHES = """
SELECT hash FROM ledger.tree
WHERE level = %(level)s AND index >= %(start)s AND index < %(end)s ORDER BY index
"""


class RegistryMovedError(IntegrityError):
    """The registry changed between the decision and the append; decide again."""


class HeadMovedError(IntegrityError):
    """Another process wrote to this copy of the ledger first."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only while this aggregate still has this version."""

    originator_id: UUID
    version: int


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
) -> None:
    """Insert rows that follow the locked head, with their tree, and move the head.

    What was inserted is the statement's result: nothing, where the guard does not hold.
    """
    leaves = [row.leaf_hash for row in rows]
    frontier, completed = Frontier.from_bytes(head.position, head.frontier).extend(leaves)
    curs.execute(
        _INSERT,
        {
            "positions": [row.position for row in rows],
            "originators": [row.originator_id for row in rows],
            "versions": [row.version for row in rows],
            "topics": [row.kind for row in rows],
            "states": [row.state for row in rows],
            "actions": [row.action_id for row in rows],
            "times": [row.recorded_at for row in rows],
            "leaves": leaves,
            "recorded_at": rows[-1].recorded_at,
            "frontier": frontier.to_bytes(),
            "tile_levels": [made.level for made in completed],
            "tile_indexes": [made.index for made in completed],
            "tile_hashes": [made.hash for made in completed],
            "guard_id": guard.originator_id if guard else None,
            "guard_version": guard.version if guard else None,
        },
        prepare=True,
    )
    _send_whole(curs)


class LedgerDatastore(PostgresDatastore):
    """The library's datastore over a connection string, in one role."""

    def __init__(self, conninfo: str, *, pool_size: int, role: str = APP_ROLE) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=SCHEMA)
        self.pool = ConnectionPool(  # type: ignore[assignment]
            conninfo,
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=partial(set_role, role=role),
            check=ConnectionPool.check_connection,
            timeout=10.0,
            name="case-ledger-events",
        )


class LedgerRecorder(PostgresApplicationRecorder):
    """Records events at the next positions, in the one order of the ledger."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = TABLE) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.channel_name = CHANNEL

    def create_table(self) -> None:
        """Nothing to do: tables are made by migrations, which this role cannot run."""

    def _insert_stored_events(
        self,
        curs: Cursor[DictRow],
        stored_events: Sequence[StoredEvent],
        guard: Guard | None = None,
        **_: Any,
    ) -> None:
        head = lock_head(curs)
        recorded_at = max(datetime.now(UTC), head.recorded_at)
        rows = [
            _sealed(event, head.position + place, recorded_at)
            for place, event in enumerate(stored_events, 1)
        ]
        self._notify_channel(curs)
        insert_rows(curs, head, rows, guard)

    def _fetch_ids_after_insert_events(
        self, curs: Cursor[DictRow], stored_events: Sequence[StoredEvent], **_: Any
    ) -> Sequence[int]:
        positions = [row["notification_id"] for row in curs.fetchall()]
        if len(positions) != len(stored_events):
            raise RegistryMovedError("the registry changed meanwhile")
        return positions

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

    def copy(self, connection: Connection[DictRow], rows: Sequence[RecordedRow]) -> None:
        """Insert rows as another node recorded them, in the caller's transaction.

        Raises ``HeadMovedError`` where they do not follow this ledger's last event.
        """
        with connection.cursor() as curs:
            head = lock_head(curs)
            if head.position != rows[0].position - 1:
                raise HeadMovedError(f"this ledger ends at position {head.position} by now")
            self._notify_channel(curs)
            insert_rows(curs, head, rows)

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
    ROLE = "CASE_LEDGER_ROLE"

    def __init__(self, env: Any) -> None:
        # Past the library's own Postgres factory, which asks for one variable per
        # connection parameter where a connection string says it all.
        super(BasePostgresFactory, self).__init__(env)
        conninfo = self.env.get(self.CONNINFO)
        if not conninfo:
            raise OSError(f"{self.CONNINFO} names no database")
        self.datastore = LedgerDatastore(
            conninfo,
            pool_size=int(self.env.get(self.POOL_SIZE) or 10),
            role=self.env.get(self.ROLE) or APP_ROLE,
        )

    def application_recorder(self) -> LedgerRecorder:
        return LedgerRecorder(self.datastore)


def _sealed(event: StoredEvent, position: int, recorded_at: datetime) -> RecordedRow:
    if not isinstance(event, UnsealedEvent):
        raise TypeError(f"{type(event).__name__} is no event on its way to the recorder")
    state = entry.seal(event.state.decode("ascii"), recorded_at)
    return RecordedRow(
        position=position,
        originator_id=UUID(str(event.originator_id)),
        version=event.originator_version,
        kind=event.topic,
        state=state,
        action_id=event.action_id,
        recorded_at=recorded_at,
        leaf_hash=merkle.leaf_hash(state),
    )


def _send_whole(curs: Cursor[DictRow]) -> None:
    """Send all that is queued. In a pipeline the driver then only reads, and a statement
    larger than the socket's buffer would leave server and client waiting for each other.
    """
    pgconn = curs.connection.pgconn
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_WRITE)
        while pgconn.flush():
            selector.select()
