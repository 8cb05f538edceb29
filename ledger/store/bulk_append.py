"""Records many new cases at once: their events by binary COPY, in the one order of the ledger.

The work that needs no lock is done before. Under the lock, events are stamped, hashed and sent, and
the server stores the first of them while the last are made.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.events import event_bytes
from ledger.log.merkle import Frontier, leaf_hash
from ledger.store.event_rows import CHANNEL, Guard, lock_head
from ledger.store.recorder import RegistryMovedError
from ledger.system import clock

_COPY = """
COPY ledger.events (notification_id, originator_id, originator_version, topic, state,
    action_id, recorded_at, leaf_hash) FROM STDIN (FORMAT binary)
"""
_MOVE = """
WITH completed AS (
    INSERT INTO ledger.tree (level, index, hash)
    SELECT * FROM unnest(%(levels)s::smallint[], %(indexes)s::bigint[], %(hashes)s::bytea[])
)
UPDATE ledger.head SET position = %(position)s, recorded_at = %(at)s, frontier = %(frontier)s
"""
_GUARD = """
SELECT COALESCE(max(originator_version), 0) AS version
FROM ledger.events WHERE originator_id = %s
"""
_RECORDED = """
SELECT originator_id FROM ledger.events WHERE originator_id = ANY(%s) AND originator_version = 1
"""

# PostgreSQL's COPY in binary: a signature, rows of length-prefixed fields, and an end.
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_FIRST = struct.Struct(">hiqi16siqi")  # position, case, version, and the length of the kind
_LENGTH = struct.Struct(">i")
_LAST = struct.Struct(">i16siqi32s")  # action, time, leaf
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_BLOCK = 64
"""Events that are sent to the server at once."""


class NewEvent(NamedTuple):
    """An event of a case that is not in the ledger yet, verified and decided."""

    case_id: UUID
    version: int
    kind: str
    action_id: UUID
    sd_jwt: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """The positions and the one time at which a bulk append recorded its events."""

    first: int
    last: int
    recorded_at: datetime


def record_new(
    connection: Connection[DictRow], events: Sequence[NewEvent], guard: Guard
) -> Stretch:
    """Record events of new cases, each case's in order, in the caller's transaction.

    They hold the lock of the one order until it ends. Raises ``RegistryMovedError`` if the
    registry's version is not the one in ``guard``, and ``psycopg.errors.UniqueViolation`` if a case
    or an action is recorded already; then the transaction is over, and nothing is recorded.
    """
    with connection.cursor() as cursor:
        head = lock_head(cursor)
        # In a statement of its own, after the lock: no revocation slips in between.
        cursor.execute(_GUARD, (guard.originator_id,), prepare=True)
        found = cursor.fetchone()
        if found is None or found["version"] != guard.version:
            raise RegistryMovedError("the registry changed meanwhile")
        recorded_at = max(clock.now(), head.recorded_at)
        leaves: list[bytes] = []
        with cursor.copy(_COPY) as copy:
            for block in _packed(events, head.position, recorded_at, leaves):
                copy.write(block)
        frontier, completed = Frontier.from_bytes(head.position, head.frontier).extend(leaves)
        last = head.position + len(events)
        cursor.execute(
            _MOVE,
            {
                "levels": [made.level for made in completed],
                "indexes": [made.index for made in completed],
                "hashes": [made.hash for made in completed],
                "position": last,
                "at": recorded_at,
                "frontier": frontier.to_bytes(),
            },
            prepare=True,
        )
        cursor.execute(SQL("NOTIFY {}").format(Identifier(CHANNEL)))
    return Stretch(head.position + 1, last, recorded_at)


def recorded_cases(connection: Connection[DictRow], case_ids: Sequence[UUID]) -> set[UUID]:
    """Return the ids among ``case_ids`` whose cases the ledger has."""
    rows = connection.execute(_RECORDED, (list(case_ids),), prepare=True).fetchall()
    return {row["originator_id"] for row in rows}


def _packed(
    events: Sequence[NewEvent], position: int, recorded_at: datetime, leaves: list[bytes]
) -> Iterator[bytes]:
    """Yield the rows block by block, as COPY reads them, and add the leaf hashes to ``leaves``."""
    before, after = event_bytes.around(recorded_at)
    moment = (recorded_at - _POSTGRES_EPOCH) // timedelta(microseconds=1)
    first, length, last = _FIRST.pack, _LENGTH.pack, _LAST.pack
    yield _HEADER
    remaining = iter(events)
    while block := list(islice(remaining, _BLOCK)):
        parts: list[bytes] = []
        for case_id, version, kind, action_id, sd_jwt in block:
            position += 1
            state = before + sd_jwt + after
            leaf = leaf_hash(state)
            leaves.append(leaf)
            topic = kind.encode()
            parts += (
                first(8, 8, position, 16, case_id.bytes, 8, version, len(topic)),
                topic,
                length(len(state)),
                state,
                last(16, action_id.bytes, 8, moment, 32, leaf),
            )
        yield b"".join(parts)
    yield _TRAILER
