"""The rows of the events table, and the head of the ledger that new rows follow.

One SQL statement inserts rows with their part of the RFC 6962 tree, and advances the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from psycopg import Connection, Cursor
from psycopg.pq.abc import PGresult
from psycopg.rows import DictRow

from ledger.events.event import ActionRecorded, recorded
from ledger.log.merkle import Frontier
from ledger.store.postgres_arrays import (
    bigint_array,
    bytea_array,
    smallint_array,
    text_array,
    timestamptz_array,
    uuid_array,
)
from ledger.store.postgres_values import bigint, moment, read_bigint, read_moment
from ledger.store.prepared import BEGIN, Call, Prepared, Value, roll_back, run

CHANNEL = "ledger_events"
"""PostgreSQL notifies this channel of every append."""

_LOCK_HEAD = "SELECT position, recorded_at, frontier FROM ledger.head FOR UPDATE"
_LOCKED_HEAD = Prepared(b"cl_lock_head", _LOCK_HEAD.encode())
_HEAD = Prepared(b"cl_head", b"SELECT position, recorded_at, frontier FROM ledger.head")

# One statement, and so one round trip: what moves the head appends, and it moves only from where
# it is known to stand. Whoever waits for the head's lock here finds it elsewhere, and does nothing.
_APPEND = """
WITH moved AS (
    UPDATE ledger.head
    SET position = $2::bigint, recorded_at = $3::timestamptz, frontier = $4::bytea
    WHERE position = $1::bigint
      AND ($5::uuid IS NULL OR $6::bigint = COALESCE((
          SELECT max(originator_version) FROM ledger.events WHERE originator_id = $5), 0))
    RETURNING position
), inserted AS (
    INSERT INTO ledger.events (
        notification_id, originator_id, originator_version, topic, state,
        action_id, recorded_at, leaf_hash)
    SELECT $1 + t.place, t.originator, t.version, t.topic, t.state, t.action, {times}, t.leaf
    FROM unnest(
        $7::uuid[], $8::bigint[], $9::text[], $10::bytea[], $11::uuid[], $12::bytea[])
        WITH ORDINALITY AS t (originator, version, topic, state, action, leaf, place)
    WHERE EXISTS (SELECT FROM moved)
){completed}
{answer}
"""
_AT_ONE_TIME = "$3"
_AT_TIMES = "($13::timestamptz[])[t.place]"
_COMPLETED = """, completed AS (
    INSERT INTO ledger.tree (level, index, hash)
    SELECT t.* FROM unnest(
        ${0}::smallint[], ${1}::bigint[], ${2}::bytea[]) AS t
    WHERE EXISTS (SELECT FROM moved)
)"""
_TELLS = "SELECT position, pg_notify('{channel}', '') FROM moved"
# Where nothing moved, the division fails, and so does the transaction with all that is in it.
_FAILS = "SELECT 1 / count(*), pg_notify('{channel}', '') FROM moved"


def _append_statement(*, one_time: bool, has_tiles: bool, fails: bool) -> Prepared:
    first = 13 if one_time else 14
    sql = _APPEND.format(
        times=_AT_ONE_TIME if one_time else _AT_TIMES,
        completed=_COMPLETED.format(first, first + 1, first + 2) if has_tiles else "",
        answer=(_FAILS if fails else _TELLS).format(channel=CHANNEL),
    )
    return Prepared(f"cl_append_{one_time:d}{has_tiles:d}{fails:d}".encode(), sql.encode())


_STATEMENTS = {
    (one_time, has_tiles, fails): _append_statement(
        one_time=one_time, has_tiles=has_tiles, fails=fails
    )
    for one_time in (True, False)
    for has_tiles in (True, False)
    for fails in (True, False)
}


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only while this aggregate still has this version."""

    originator_id: UUID
    version: int


COLUMNS: LiteralString = (
    "notification_id, originator_id, originator_version, topic, state, action_id, recorded_at,"
    " leaf_hash"
)
"""The columns of a row of the events table, in the order of the fields of ``RecordedRow``."""


class RecordedRow(NamedTuple):
    """One row of the events table: the receipt that an action is recorded durably.

    It is a tuple because millions of them are read one after another.
    """

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
        raise _no_head()
    return Head(head["position"], head["recorded_at"], head["frontier"])


def begin_at_head(connection: Connection[Any]) -> Head:
    """Begin a transaction and take the lock of the one order, in one round trip.

    The caller ends the transaction.
    """
    _, found = run(connection, (BEGIN, Call(_LOCKED_HEAD)))
    try:
        return _read_head(found)
    except IntegrityError:
        roll_back(connection)
        raise


def read_head(connection: Connection[Any]) -> Head:
    """Return where the ledger ends, without the lock of the one order."""
    (found,) = run(connection, (Call(_HEAD),))
    return _read_head(found)


def _read_head(found: PGresult) -> Head:
    if not found.ntuples:
        raise _no_head()
    return Head(
        read_bigint(found.get_value(0, 0)),
        read_moment(found.get_value(0, 1)),
        found.get_value(0, 2) or b"",
    )


def _no_head() -> IntegrityError:
    return IntegrityError("the ledger has no head; run the migrations")


@dataclass(frozen=True, slots=True)
class RowsCall:
    """The call that inserts rows after a head, and the head that they leave."""

    call: Call
    moved: Head


def rows_call(
    head: Head, rows: Sequence[RecordedRow], guard: Guard | None = None, *, fails: bool = False
) -> RowsCall:
    """Return the call that inserts rows that follow ``head``, with their tree, and moves the head.

    Its result has no row, and nothing is written, if the ledger does not stand at ``head`` or the
    guard does not hold. With ``fails``, it raises ``psycopg.errors.DivisionByZero`` then.
    """
    frontier, completed = Frontier.from_bytes(head.position, head.frontier).extend(
        row.leaf_hash for row in rows
    )
    first, last = rows[0], rows[-1]
    moved = Head(head.position + len(rows), last.recorded_at, frontier.to_bytes())
    one_time = first.recorded_at == last.recorded_at  # times never go back
    values: list[Value] = [
        bigint(head.position),
        bigint(moved.position),
        moment(moved.recorded_at),
        moved.frontier,
        guard.originator_id.bytes if guard else None,
        bigint(guard.version) if guard else None,
        uuid_array(row.originator_id for row in rows),
        bigint_array(row.version for row in rows),
        text_array(row.kind for row in rows),
        bytea_array(row.state for row in rows),
        uuid_array(row.action_id for row in rows),
        bytea_array(row.leaf_hash for row in rows),
    ]
    if not one_time:
        values.append(timestamptz_array(row.recorded_at for row in rows))
    if completed:
        values += (
            smallint_array(made.level for made in completed),
            bigint_array(made.index for made in completed),
            bytea_array(made.hash for made in completed),
        )
    return RowsCall(Call(_STATEMENTS[one_time, bool(completed), fails], values), moved)


def insert_locked(connection: Connection[Any], head: Head, rows: Sequence[RecordedRow]) -> Head:
    """Insert rows after a head whose lock the caller's transaction holds; return the new head.

    The ledger stands at that head, because of the lock.
    """
    made = rows_call(head, rows)
    (result,) = run(connection, (made.call,), keep=False)
    if not result.ntuples:
        raise IntegrityError("the head moved although it is locked")
    return made.moved
