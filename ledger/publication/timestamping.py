"""Has published checkpoints timestamped by an authority outside, and keeps its answers."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from cryptography.x509 import Certificate

from ledger.log.note import Note
from ledger.log.timestamp import (
    StoredTimestamp,
    Timestamp,
    TimestampAuthority,
    TimestampError,
    is_before,
    obtain,
)
from ledger.store.database import Database
from ledger.system import clock

EVERY = timedelta(seconds=60)

_DUE = """
SELECT p.size, p.note, e.recorded_at
FROM (SELECT size, note FROM log.published ORDER BY size DESC LIMIT 1) p
JOIN ledger.events e ON e.notification_id = p.size
LEFT JOIN (
    SELECT size, received_at FROM log.timestamps WHERE authority = %(authority)s
    ORDER BY size DESC LIMIT 1
) t ON true
WHERE t.size IS NULL
   OR t.size < p.size AND t.received_at NOT BETWEEN %(now)s - %(every)s::interval AND %(now)s
"""
_EARLIEST = """
SELECT DISTINCT ON (t.size) t.size, t.authority, p.note, t.token, t.moment
FROM log.timestamps t JOIN log.published p USING (size)
WHERE t.size BETWEEN %(first)s AND %(last)s ORDER BY t.size, t.moment, t.authority
"""

_log = structlog.get_logger(__name__)


class Timestamping:
    """One authority's timestamps of one log, at most one ``every`` so often.

    A step is safe to repeat, and to run in several processes.
    """

    def __init__(
        self,
        database: Database,
        authority: TimestampAuthority,
        name: str,
        roots: Sequence[Certificate],
        every: timedelta = EVERY,
    ) -> None:
        self._database = database
        self._authority = authority
        self._name = name
        self._roots = roots
        self._every = every

    def step(self) -> Timestamp | None:
        """Have the last published checkpoint timestamped if that is due, and return the timestamp.

        The result is ``None`` if nothing is due, if the authority is away, or if its answer does
        not verify. Such an answer is logged, and the next step tries again.
        """
        with self._database.connection() as connection:
            due = connection.execute(
                _DUE,
                {"authority": self._name, "every": self._every, "now": clock.now()},
            ).fetchone()
        if due is None:
            return None
        try:
            made = obtain(self._authority, Note.parse(due["note"]).text, self._roots)
            if is_before(made.moment, due["recorded_at"]):
                raise TimestampError("its clock is behind the ledger's, or the ledger's ahead")
        except (ConnectionError, TimestampError) as error:
            _log.warning(
                "no timestamp", authority=self._name, error=type(error).__name__, why=str(error)
            )
            return None
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO log.timestamps (size, authority, token, moment, received_at)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (due["size"], self._name, made.token, made.moment, clock.now()),
            )
        return made


def earliest_timestamps(database: Database, first: int, last: int) -> list[StoredTimestamp]:
    """Return the earliest timestamp of each timestamped size from ``first`` to ``last``.

    The earliest timestamp proves most.
    """
    with database.connection() as connection:
        rows = connection.execute(_EARLIEST, {"first": first, "last": last}).fetchall()
    return [StoredTimestamp(**row) for row in rows]
