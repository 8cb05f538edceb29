"""The positions that webhooks for cases have reached, in the database, and what comes next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ledger.store.database import Database

PAGE_POSITIONS = 500
"""Positions of the ledger that one page covers."""

_BEGIN = """
INSERT INTO notifications.case_hooks (subscription, agency, position)
SELECT %(subscription)s, %(agency)s, coalesce(max(notification_id), 0) FROM ledger.events
ON CONFLICT (subscription) DO NOTHING
"""
_END = "DELETE FROM notifications.case_hooks WHERE NOT subscription = ANY(%(known)s)"
_DUE = """
SELECT subscription FROM notifications.case_hooks
WHERE disabled_at IS NULL AND (next_attempt_at <= now() OR next_attempt_at > now() + %(longest)s)
  AND position < (SELECT coalesce(max(notification_id), 0) FROM ledger.events)
"""
# Put off before anything is sent: no other process sends meanwhile, and a crash only delays.
_TAKE = """
UPDATE notifications.case_hooks SET next_attempt_at = now() + %(lease)s
WHERE subscription = %(subscription)s AND disabled_at IS NULL
  AND (next_attempt_at <= now() OR next_attempt_at > now() + %(longest)s)
RETURNING position, attempts
"""
# Only from the position that was read: a replay in between sets another, which stays.
_ADVANCE = """
UPDATE notifications.case_hooks SET position = %(to)s, attempts = 0, failing_since = NULL
WHERE subscription = %(subscription)s AND position = %(from)s AND disabled_at IS NULL
"""
_RELEASE = "UPDATE notifications.case_hooks SET next_attempt_at = now() WHERE subscription = %s"
_FAILED = """
UPDATE notifications.case_hooks SET attempts = attempts + 1, next_attempt_at = now() + %(pause)s,
    failing_since = coalesce(failing_since, now()),
    disabled_at = CASE WHEN %(is_gone)s OR failing_since < now() - %(patience)s THEN now() END
WHERE subscription = %(subscription)s AND position = %(from)s
RETURNING disabled_at IS NOT NULL AS is_disabled
"""
_OF_AGENCY = "SELECT * FROM notifications.case_hooks WHERE agency = %s ORDER BY subscription"
_REPLAY = """
UPDATE notifications.case_hooks SET position = %(after)s, attempts = 0, next_attempt_at = now(),
    failing_since = NULL, disabled_at = NULL
WHERE subscription = %(subscription)s AND agency = %(agency)s
RETURNING *
"""
# As far as the views of the trail and of the cases have both come: need-to-know is asked of them. A
# view that was emptied stands nowhere until its first event is folded again.
_UPTO = """
SELECT CASE WHEN count(*) = 2 THEN least(%(after)s + %(page)s, min(t.notification_id))
    ELSE %(after)s END AS upto
FROM views.tracking t
WHERE t.projection IN ('audit_trail', 'case_views') AND t.slot = views.live_slot(t.projection)
"""
_NEXT = f"""
WITH bounds AS ({_UPTO})
SELECT e.notification_id AS position, e.originator_id AS case_id, e.originator_version AS version,
    e.action_id, e.topic AS kind, e.recorded_at, t.document ->> 'agency' AS agency,
    t.document ->> 'party' AS party
FROM bounds b JOIN ledger.events e
    ON e.notification_id > %(after)s AND e.notification_id <= b.upto
JOIN views.audit_trail t ON t.slot = views.live_slot('audit_trail')
    AND t.case_id = e.originator_id AND t.version = e.originator_version
WHERE EXISTS (
    SELECT FROM views.case_views v
    WHERE v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
      AND v.case_id = e.originator_id
      AND (%(bound_to)s::text IS NULL OR v.agencies @> ARRAY[%(bound_to)s::text]))
ORDER BY e.notification_id
"""  # noqa: S608  # of constants alone
_LONGEST = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class CaseHook:
    """One webhook for cases, without its address."""

    subscription: UUID
    agency: str
    position: int
    attempts: int
    next_attempt_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class HookedEvent:
    """An event of a case that an agency sees, as far as its message tells of it."""

    position: int
    case_id: UUID
    version: int
    action_id: UUID
    kind: str
    recorded_at: datetime
    agency: str
    party: str


class CaseHookRows:
    """Reads and keeps the positions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, known: Iterable[tuple[UUID, str]]) -> None:
        """Note new webhooks, from the ledger's end on, and drop those that are gone."""
        rows = [{"subscription": one, "agency": agency} for one, agency in known]
        with self._database.transaction() as connection, connection.cursor() as cursor:
            if rows:
                cursor.executemany(_BEGIN, rows)
            cursor.execute(_END, {"known": [row["subscription"] for row in rows]})

    def due(self) -> set[UUID]:
        """Return the webhooks that may have something to be sent now."""
        with self._database.connection() as connection:
            rows = connection.execute(_DUE, {"longest": _LONGEST}).fetchall()
        return {row["subscription"] for row in rows}

    def take(self, subscription: UUID, lease: timedelta) -> tuple[int, int] | None:
        """Take a webhook for ``lease``, and return its position and how often it failed.

        Returns ``None`` if it is not due, or if another process has it.
        """
        asked = {"subscription": subscription, "lease": lease, "longest": _LONGEST}
        with self._database.connection() as connection:
            row = connection.execute(_TAKE, asked).fetchone()
        return None if row is None else (row["position"], row["attempts"])

    def next_events(
        self, after: int, viewer: str, bound_to: str | None
    ) -> tuple[Sequence[HookedEvent], int]:
        """Return the events of the next page that an agency sees now, and the page's end."""
        asked = {"after": after, "page": PAGE_POSITIONS, "viewer": viewer, "bound_to": bound_to}
        with self._database.transaction() as connection:
            # One snapshot: an event that is folded in between belongs to the next page.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            upto = connection.execute(_UPTO, asked).fetchone()
            rows = connection.execute(_NEXT, asked).fetchall()
        return [HookedEvent(**row) for row in rows], upto["upto"] if upto is not None else after

    def advance(self, subscription: UUID, position: int, to: int) -> bool:
        """Note what was received. Return whether nobody set another position meanwhile."""
        asked = {"subscription": subscription, "from": position, "to": to}
        with self._database.connection() as connection:
            return connection.execute(_ADVANCE, asked).rowcount == 1

    def release(self, subscription: UUID) -> None:
        """Let the next step take a webhook at once."""
        with self._database.connection() as connection:
            connection.execute(_RELEASE, (subscription,))

    def failed(
        self,
        subscription: UUID,
        position: int,
        pause: timedelta,
        patience: timedelta,
        *,
        gone: bool,
    ) -> bool:
        """Note a message that was not received. Return whether the webhook is disabled by that."""
        asked = {
            "subscription": subscription,
            "from": position,
            "pause": pause,
            "patience": patience,
            "is_gone": gone,
        }
        with self._database.connection() as connection:
            row = connection.execute(_FAILED, asked).fetchone()
        return row is not None and bool(row["is_disabled"])

    def of_agency(self, agency: str) -> list[CaseHook]:
        """Return an agency's webhooks for cases."""
        with self._database.connection() as connection:
            rows = connection.execute(_OF_AGENCY, (agency,)).fetchall()
        return [CaseHook(**row) for row in rows]

    def replay(self, subscription: UUID, agency: str, after: int) -> CaseHook | None:
        """Set the position of an agency's webhook, and enable it. Return it, if there is one."""
        asked = {"subscription": subscription, "agency": agency, "after": after}
        with self._database.connection() as connection:
            row = connection.execute(_REPLAY, asked).fetchone()
        return None if row is None else CaseHook(**row)
