"""The rows of the events table, and the head of the ledger that new rows follow.

One SQL statement inserts rows with their part of the RFC 6962 tree, and advances the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from psycopg import Cursor
from psycopg.rows import DictRow

from ledger.events.event import ActionRecorded, recorded
from ledger.log.merkle import Frontier
from ledger.store.postgres_arrays import Bigints, Byteas, Texts, Uuids

CHANNEL = "ledger_events"
"""PostgreSQL notifies this channel of every append."""

_LOCK_HEAD = "SELECT position, recorded_at, frontier FROM ledger.head FOR UPDATE"

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
        t.action, {times}, t.leaf
    FROM unnest(
        %(originators)b::uuid[], %(versions)b::bigint[], %(topics)b::text[], %(states)b::bytea[],
        %(actions)b::uuid[], %(leaves)b::bytea[])
        WITH ORDINALITY AS t (originator, version, topic, state, action, leaf, place)
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


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only while this aggregate still has this version."""

    originator_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """One row of the events table: the receipt that an action is recorded durably."""

    position: int
    originator_id: UUID
    version: int
    kind: str
    state: bytes
    action_id: UUID
    recorded_at: datetime
    leaf_hash: bytes

    @property
    def case_id(self) -> UUID:
        """Return the id of the event's case, or of the ledger for an act on the protocol."""
        return self.originator_id

    @property
    def case_version(self) -> int:
        """Return the version that the case has with this event."""
        return self.version

    @classmethod
    def of(cls, row: DictRow) -> Self:
        """Return the row as the database gives it."""
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
        """Return the event that the row holds.

        Raises as ``events.event.recorded`` does.
        """
        return recorded(self.state, self.originator_id, self.version, self.position)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the ledger, locked: the holder of the lock appends next."""

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
    """Insert rows that follow ``head``, with their tree, move the head, and return the new head.

    The result is ``None``, and nothing was written, if the ledger does not stand at ``head`` or the
    guard does not hold.
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
        "leaves": Byteas(row.leaf_hash for row in rows),
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


def insert_locked(curs: Cursor[DictRow], head: Head, rows: Sequence[RecordedRow]) -> Head:
    """Insert rows after a head whose lock is held, and return the new head.

    It works as :func:`insert_rows` does. The ledger stands at that head, because of the lock.
    """
    moved = insert_rows(curs, head, rows)
    if moved is None:
        raise IntegrityError("the head moved although it is locked")
    return moved
