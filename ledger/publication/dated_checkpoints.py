"""Keeps published checkpoints for the times of their cosignatures, about one an hour."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.log.cosigned_times import CosignedTimes, DatedCheckpoint
from ledger.log.note import Note, NoteError
from ledger.log.policy import Policy
from ledger.store.database import Database

_AHEAD = timedelta(minutes=1)
KEPT_APART = timedelta(hours=1)
"""A checkpoint is kept if some witness's time differs by so much from the last one kept."""
_AT_MOST_SECONDS = 600
"""Where no quorum's times differ, a checkpoint is kept at most once in so many seconds.

Otherwise one witness with a wrong clock could fill the table, and what is read of it would no
longer reach back for the days of grace: nothing would be erased any more."""
KEPT_AN_HOUR = 1 + 3600 // _AT_MOST_SECONDS
"""At most so many checkpoints are kept in an hour, whatever one witness does."""
_STATEMENT_BYTES = 8 + 64

_LATEST = """
SELECT size, note FROM log.dated_checkpoints ORDER BY id DESC LIMIT %s
"""
_IS_RECENT = """
SELECT kept_at BETWEEN now() - %s * interval '1 second' AND now() AS is_recent
FROM log.dated_checkpoints ORDER BY id DESC LIMIT 1
"""
_LAST_OF_SIZE = """
SELECT note FROM log.dated_checkpoints WHERE size = %s ORDER BY id DESC LIMIT 1
"""


def keep_dated(connection: Connection[DictRow], size: int, note: Note, policy: Policy) -> bool:
    """Keep a published checkpoint for its times, and return whether it was kept.

    It is kept unless the last one kept has nearly the same times. The caller has checked the note
    by ``policy``.
    """
    times, last = _stated(note), _last(connection)
    if last is not None and not _differ(times, last):
        return False
    if last is not None and not _quorum_differs(times, last, policy):
        recent = connection.execute(_IS_RECENT, (_AT_MOST_SECONDS,)).fetchone()
        if recent is not None and recent["is_recent"]:
            return False
    connection.execute(
        "INSERT INTO log.dated_checkpoints (size, note) VALUES (%s, %s)", (size, str(note))
    )
    return True


def is_stale(database: Database, now: datetime, oldest: timedelta) -> bool:
    """Return whether no kept checkpoint has times that are all recent.

    Times are recent from ``oldest`` before ``now`` up to ``now``. A time after ``now`` came from a
    clock that was wrong then.
    """
    with database.connection() as connection:
        last = _last(connection)
    if not last:
        return True
    ages = [now.timestamp() - time for time in last.values()]
    return any(age >= oldest.total_seconds() or age <= -_AHEAD.total_seconds() for age in ages)


def freshest(database: Database, size: int) -> Note | None:
    """Return the checkpoint of a size that was cosigned last, if one was kept."""
    with database.connection() as connection:
        row = connection.execute(_LAST_OF_SIZE, (size,), prepare=True).fetchone()
    return None if row is None else Note.parse(row["note"])


def cosigned_times(
    database: Database,
    policy_at: Callable[[int], Policy],
    own: Iterable[str] = (),
    *,
    latest: int,
) -> CosignedTimes:
    """Read the ``latest`` checkpoints that were kept, each checked by the policy at its size.

    ``own`` names the witnesses that run in this node.
    """
    with database.connection() as connection:
        rows = connection.execute(_LATEST, (latest,)).fetchall()
    checkpoints = []
    for row in reversed(rows):
        try:
            _, times = policy_at(row["size"]).check(Note.parse(row["note"]))
        except NoteError:
            continue  # Its policy was replaced, or the row was tampered with: it proves no time.
        checkpoints.append(DatedCheckpoint(row["size"], times))
    size = checkpoints[-1].size if checkpoints else 0
    return CosignedTimes(checkpoints, policy_at(size), frozenset(own))


def _last(connection: Connection[DictRow]) -> Mapping[tuple[str, bytes], int] | None:
    row = connection.execute(_LATEST, (1,), prepare=True).fetchone()
    return None if row is None else _stated(Note.parse(row["note"]))


def _stated(note: Note) -> Mapping[tuple[str, bytes], int]:
    """Return the times that cosignatures state, in seconds since 1970, by name and key."""
    return {
        (one.name, one.key_id): int.from_bytes(one.signature[:8])
        for one in note.signatures
        if len(one.signature) == _STATEMENT_BYTES
    }


def _quorum_differs(
    new: Mapping[tuple[str, bytes], int], old: Mapping[tuple[str, bytes], int], policy: Policy
) -> bool:
    """Return whether enough witnesses state times that differ from their own earlier ones.

    A witness counts if the same key states both times and they are ``KEPT_APART`` or more apart.
    """
    keys = {name: (one.key.name, one.key.key_id) for name, one in policy.witnesses.items()}
    apart = KEPT_APART.total_seconds()
    return policy.is_met(
        {
            name: None
            for name, key in keys.items()
            if key in new and key in old and abs(new[key] - old[key]) >= apart
        }
    )


def _differ(new: Mapping[tuple[str, bytes], int], old: Mapping[tuple[str, bytes], int]) -> bool:
    apart = KEPT_APART.total_seconds()
    return any(key not in old or abs(time - old[key]) >= apart for key, time in new.items())
