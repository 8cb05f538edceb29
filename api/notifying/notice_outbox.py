"""Notices until they are sent, in the database: nothing is lost with a process."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from api.notifying.notices import Announced, Notice, OwedNotice
from ledger.procedure.case_state import AnnouncedErasure
from ledger.store.database import Database
from projections.folds.obligations import Obligation

_OWED = """
SELECT o.document, o.due, ARRAY(
    SELECT v.viewer FROM views.case_views v
    WHERE v.slot = views.live_slot('case_views') AND v.case_id = o.case_id) AS parties, ARRAY(
    SELECT DISTINCT unnest(v.agencies) FROM views.case_views v
    WHERE v.slot = views.live_slot('case_views') AND v.case_id = o.case_id) AS agencies
FROM views.obligations o
WHERE o.slot = views.live_slot('obligations') AND o.state = 'open'
  AND (o.due BETWEEN %(earliest)s AND %(latest)s
    OR o.due > %(latest)s AND (o.document ->> 'told_from')::timestamptz <= %(now)s)
ORDER BY o.due, o.id
"""

_ANNOUNCED = """
SELECT v.viewer, v.case_id, v.document -> 'retention' AS retention FROM views.case_views v
WHERE v.slot = views.live_slot('case_views') AND v.viewer = ANY(%(parties)s)
  AND v.retention_due IS NOT NULL AND v.document ->> 'retention' IS NOT NULL
  AND (v.document -> 'retention' ->> 'erase_from')::timestamptz > %(now)s
ORDER BY v.retention_due, v.case_id
"""

_PUT = """
INSERT INTO notifications.outbox (id, subscription, obligation_id, due, message)
VALUES (%(id)s, %(subscription)s, %(obligation)s, %(due)s, %(message)s)
ON CONFLICT (id) DO NOTHING
"""

_LONGEST = timedelta(hours=12)
"""Longer than any pause: what is put off further was put off by a clock that was ahead."""

# Put off before it is sent, in a transaction of its own: nobody else takes it meanwhile, and if
# this process dies it is sent again.
_TAKE = """
UPDATE notifications.outbox SET attempts = attempts + 1, next_attempt_at = now() + %(lease)s
WHERE id = (
    SELECT id FROM notifications.outbox
    WHERE sent_at IS NULL AND subscription = ANY(%(among)s)
        AND (next_attempt_at <= now() OR next_attempt_at > now() + %(longest)s)
    ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, subscription, message, attempts
"""

_DUE = """
SELECT DISTINCT subscription FROM notifications.outbox
WHERE sent_at IS NULL AND (next_attempt_at <= now() OR next_attempt_at > now() + %(longest)s)
"""

_SEEN = """
SELECT DISTINCT v.case_id FROM views.case_views v
WHERE v.slot = views.live_slot('case_views') AND v.case_id = ANY(%(cases)s)
  AND %(agency)s = ANY(v.agencies)
"""

# What is not owed any more, or by another time, or was to go where nobody is told any more.
_DROP = """
DELETE FROM notifications.outbox n
WHERE n.sent_at IS NULL AND (
    NOT n.subscription = ANY(%(known)s)
    OR n.obligation_id IS NULL AND NOT n.id = ANY(%(standing)s)
    OR n.obligation_id IS NOT NULL AND NOT n.subscription = ANY(%(told_each)s)
    OR n.obligation_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM views.obligations o
        WHERE o.slot = views.live_slot('obligations') AND o.id = n.obligation_id
          AND o.state = 'open' AND o.due = n.due))
"""

# One that is open still is kept: by it we know that it was told.
_FORGET = """
DELETE FROM notifications.outbox n
WHERE n.sent_at < now() - %(age)s AND (n.obligation_id IS NOT NULL OR n.due < now())
  AND NOT EXISTS (
    SELECT FROM views.obligations o
    WHERE o.slot = views.live_slot('obligations') AND o.id = n.obligation_id
      AND o.state = 'open')
"""


@dataclass(frozen=True, slots=True)
class TakenNotice:
    """A notice that is this process's to send."""

    id: UUID
    subscription: UUID
    message: dict[str, Any]
    attempts: int


class NoticeOutbox:
    """Notices, each sent at least once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def owed(self, earliest: datetime, latest: datetime, now: datetime) -> list[OwedNotice]:
        """Return the open obligations that are due between two moments.

        Those are returned too of which the debtor is told from a time on that is over.
        """
        moments = {"earliest": earliest, "latest": latest, "now": now}
        with self._database.connection() as connection:
            rows = connection.execute(_OWED, moments).fetchall()
        return [
            OwedNotice(
                Obligation.model_validate(row["document"]),
                row["due"],
                row["parties"],
                frozenset(row["agencies"]),
            )
            for row in rows
        ]

    def announced(self, parties: Collection[str], now: datetime) -> list[Announced]:
        """Return announced erasures of ``parties`` that are still to come."""
        with self._database.connection() as connection:
            rows = connection.execute(_ANNOUNCED, {"parties": list(parties), "now": now}).fetchall()
        return [
            Announced(
                row["viewer"], row["case_id"], AnnouncedErasure.model_validate(row["retention"])
            )
            for row in rows
        ]

    def put(self, notices: Iterable[Notice]) -> int:
        """Put in the notices that are not in, and return how many."""
        rows = [
            {
                "id": notice.id,
                "subscription": notice.subscription,
                "obligation": notice.obligation,
                "due": notice.due,
                "message": Jsonb(dict(notice.message)),
            }
            for notice in notices
        ]
        with self._database.transaction() as connection, connection.cursor() as cursor:
            if rows:
                cursor.executemany(_PUT, rows)
            return max(cursor.rowcount, 0)

    def known(self, ids: Collection[UUID]) -> set[UUID]:
        """Return those of ``ids`` that are here, sent or not."""
        select = "SELECT id FROM notifications.outbox WHERE id = ANY(%s)"
        with self._database.connection() as connection:
            return {row["id"] for row in connection.execute(select, (list(ids),)).fetchall()}

    def due(self) -> set[UUID]:
        """Return the subscriptions that have a notice to be sent now."""
        with self._database.connection() as connection:
            rows = connection.execute(_DUE, {"longest": _LONGEST}).fetchall()
        return {row["subscription"] for row in rows}

    def take(self, lease: timedelta, among: Collection[UUID]) -> TakenNotice | None:
        """Take the next notice of these subscriptions, which no other process takes for ``lease``.

        Returns ``None`` if none is due.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                _TAKE, {"lease": lease, "longest": _LONGEST, "among": list(among)}
            ).fetchone()
        return None if row is None else TakenNotice(**row)

    def seen_by(self, agency: str, case_ids: Collection[UUID]) -> set[UUID]:
        """Return those of some cases that an agency has to know of now."""
        asked = {"agency": agency, "cases": list(case_ids)}
        with self._database.connection() as connection:
            return {row["case_id"] for row in connection.execute(_SEEN, asked).fetchall()}

    def remove(self, notice_id: UUID) -> None:
        """Remove a notice that must not be sent."""
        with self._database.connection() as connection:
            connection.execute("DELETE FROM notifications.outbox WHERE id = %s", (notice_id,))

    def mark_sent(self, notice_id: UUID) -> None:
        """Mark a notice as received."""
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE notifications.outbox SET sent_at = now() WHERE id = %s", (notice_id,)
            )

    def put_off(self, notice_id: UUID, pause: timedelta) -> None:
        """Put off a notice that was not received, to try again after ``pause``."""
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE notifications.outbox SET next_attempt_at = now() + %s WHERE id = %s",
                (pause, notice_id),
            )

    def drop(
        self,
        known: Collection[UUID],
        standing: Collection[UUID] = (),
        told_each: Collection[UUID] | None = None,
    ) -> int:
        """Remove the notices that must not be sent any more, and return how many.

        ``known`` are the subscriptions that there are, ``standing`` the notices of no obligation
        that still hold: of keys, of announced erasures, of dangers, and of today's digests.
        ``told_each`` are the subscriptions that get a notice of each obligation; without it, all.
        """
        with self._database.connection() as connection:
            wanted = {
                "known": list(known),
                "standing": list(standing),
                "told_each": list(known if told_each is None else told_each),
            }
            return connection.execute(_DROP, wanted).rowcount

    def forget(self, age: timedelta) -> int:
        """Remove notices that were sent longer ago than ``age`` and are not owed any more.

        Returns how many.
        """
        with self._database.connection() as connection:
            return connection.execute(_FORGET, {"age": age}).rowcount
