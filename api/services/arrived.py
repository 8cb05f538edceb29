"""Actions that came to an agency from others, read and unread.

An agency reads something by opening the page that shows it, or by a mark. Everything before a
position may be marked at once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from ledger.procedure.protocol import Agency
from ledger.store.database import Database
from ledger.store.postgres_arrays import Texts
from ledger.vault.working_notes import Desk
from projections.folds.arrivals import ArrivalSort, receiving_keys, sort_of
from projections.folds.audit_trail import TrailEntry
from projections.tables.stored_documents import StoredDocuments

MOST = 200
"""Unread arrivals that one list has."""

# A mark of everything holds while the ledger has the event that it names at its position.
_READ_FROM: LiteralString = """greatest((SELECT position FROM desk.start), coalesce((
    SELECT u.position FROM desk.read_upto u JOIN ledger.events e
        ON e.notification_id = u.position AND e.action_id = u.action_id
    WHERE u.agency = %(agency)s AND u.member = %(member)s), 0))"""
_IS_MARKED: LiteralString = """EXISTS (SELECT FROM desk.read_marks m
    WHERE m.agency = %(agency)s AND m.member = %(member)s AND m.action_id = t.action_id)"""
# The rows that are sought are found along the index alone: documents are long.
_SOUGHT: LiteralString = """
WITH sought AS MATERIALIZED (
    SELECT t.position FROM views.audit_trail t
    WHERE t.slot = views.live_slot('audit_trail') AND t.arrives <> '{}'
      AND t.arrives && %(keys)b::text[]
      AND (NOT %(is_bound)s OR EXISTS (SELECT FROM views.case_views c
          WHERE c.slot = views.live_slot('case_views') AND c.viewer = %(viewer)s
            AND c.case_id = t.case_id AND c.agencies @> ARRAY[%(agency)s]))
"""
_UNREAD: LiteralString = " AND t.position > " + _READ_FROM + " AND NOT " + _IS_MARKED
_AFTER: LiteralString = " AND t.position > %(after)s"
_FIRST: LiteralString = " ORDER BY t.position DESC LIMIT 100"
"""Old ones are not wanted: their documents are not read."""
_OF_CASE: LiteralString = " AND t.case_id = %(case)s"
_OF_ACTION: LiteralString = " AND t.case_id = %(case)s AND t.action_id = %(action)s"
_READ: LiteralString = ") SELECT t.arrives, t.document, NOT "
_FROM_SOUGHT: LiteralString = """ AS is_unread
FROM sought s JOIN views.audit_trail t ON t.position = s.position AND t.arrives <> '{}'
WHERE t.slot = views.live_slot('audit_trail') AND t.document ->> 'agency' <> %(agency)s
  AND EXISTS (SELECT FROM views.case_views v WHERE v.slot = views.live_slot('case_views')
      AND v.viewer = %(viewer)s AND v.case_id = t.case_id)
"""
_ARRIVED: LiteralString = _READ + _IS_MARKED + " AND t.position > " + _READ_FROM + _FROM_SOUGHT
_SINCE: LiteralString = " AND (t.document ->> 'recorded_at')::timestamptz >= %(since)s"
_NEWEST: LiteralString = " ORDER BY s.position DESC LIMIT %(limit)s"
_MARK = """
INSERT INTO desk.read_marks (agency, member, action_id)
SELECT %(agency)s, %(member)s, unnest(%(actions)s::uuid[]) ON CONFLICT DO NOTHING
"""
_MARK_ALL = """
INSERT INTO desk.read_upto AS u (agency, member, position, action_id)
SELECT %(agency)s, %(member)s, e.notification_id, e.action_id FROM ledger.events e
WHERE e.notification_id <= %(upto)s ORDER BY e.notification_id DESC LIMIT 1
ON CONFLICT (agency, member) DO UPDATE
SET position = EXCLUDED.position, action_id = EXCLUDED.action_id
WHERE u.position < EXCLUDED.position OR NOT EXISTS (
    SELECT FROM ledger.events e
    WHERE e.notification_id = u.position AND e.action_id = u.action_id)
"""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One action of another agency that came to the reader's agency."""

    action_id: UUID
    case_id: UUID
    position: int
    sort: ArrivalSort
    kind: str
    agency: str
    party: str
    recorded_at: datetime
    is_unread: bool
    form_number: int | None = None


class ArrivedLists:
    """Reads what came to an agency, and keeps the marks of what it read."""

    def __init__(self, database: Database, documents: StoredDocuments) -> None:
        self._database = database
        self._documents = documents

    def unread(
        self,
        desk: Desk,
        agency: Agency,
        viewer: str,
        sorts: Collection[ArrivalSort] = tuple(ArrivalSort),
        *,
        limit: int = MOST,
        case_id: UUID | None = None,
        is_bound: bool = False,
    ) -> Sequence[Arrived]:
        """Return what came and is unread, the newest first.

        ``is_bound``: whether the agency sees only cases that it has to know of.
        """
        of_case: LiteralString = _OF_CASE if case_id is not None else ""
        statement: LiteralString = _SOUGHT + _UNREAD + of_case + _ARRIVED + _NEWEST
        asked = {"case": case_id, "limit": limit, "is_bound": is_bound}
        return self._read(statement, desk, agency, viewer, sorts, asked)

    def newest(
        self,
        desk: Desk,
        agency: Agency,
        viewer: str,
        sorts: Collection[ArrivalSort],
        now: datetime,
        *,
        within: timedelta,
        limit: int,
        is_bound: bool = False,
    ) -> Sequence[Arrived]:
        """Return what came within a time, read and unread, the newest first."""
        asked = {"since": now - within, "limit": limit, "is_bound": is_bound}
        return self._read(
            _SOUGHT + _FIRST + _ARRIVED + _SINCE + _NEWEST, desk, agency, viewer, sorts, asked
        )

    def after(
        self,
        agency: Agency,
        viewer: str,
        sorts: Collection[ArrivalSort],
        position: int,
        since: datetime,
        limit: int,
        *,
        is_bound: bool = False,
    ) -> Sequence[Arrived]:
        """Return what came behind a position and since a time, the newest first."""
        asked = {"after": position, "since": since, "limit": limit, "is_bound": is_bound}
        statement: LiteralString = _SOUGHT + _AFTER + _ARRIVED + _SINCE + _NEWEST
        return self._read(statement, Desk(agency.id), agency, viewer, sorts, asked)

    def one(
        self,
        desk: Desk,
        agency: Agency,
        viewer: str,
        case_id: UUID,
        action_id: UUID,
        *,
        is_bound: bool = False,
    ) -> Arrived | None:
        """Return an arrival by its action, or ``None`` if that did not come to the agency."""
        asked = {"case": case_id, "action": action_id, "limit": 1, "is_bound": is_bound}
        every = tuple(ArrivalSort)
        statement: LiteralString = _SOUGHT + _OF_ACTION + _ARRIVED + _NEWEST
        found = self._read(statement, desk, agency, viewer, every, asked)
        return found[0] if found else None

    def mark(self, desk: Desk, actions: Sequence[UUID]) -> None:
        """Mark actions as read."""
        if not actions:
            return
        asked = {"agency": desk.agency, "member": desk.member, "actions": list(actions)}
        with self._database.connection() as connection:
            connection.execute(_MARK, asked)

    def mark_all(self, desk: Desk, upto: int) -> None:
        """Mark all that came up to a position as read."""
        asked = {"agency": desk.agency, "member": desk.member, "upto": upto}
        with self._database.connection() as connection:
            connection.execute(_MARK_ALL, asked)

    def _read(
        self,
        statement: LiteralString,
        desk: Desk,
        agency: Agency,
        viewer: str,
        sorts: Collection[ArrivalSort],
        asked: dict[str, Any],
    ) -> Sequence[Arrived]:
        asked = asked | {
            "agency": agency.id,
            "member": desk.member,
            "viewer": viewer,
            "keys": Texts(receiving_keys(agency, sorts)),
        }
        with self._database.connection() as connection:
            rows = connection.execute(statement, asked).fetchall()
        found = []
        for row in rows:
            sort = sort_of(row["arrives"], agency)
            for entry in self._documents.read(TrailEntry, "audit_trail", [row]):
                if sort is not None:
                    found.append(_arrived(entry, sort, is_unread=row["is_unread"]))
        return found


def _arrived(entry: TrailEntry, sort: ArrivalSort, *, is_unread: bool) -> Arrived:
    number = entry.fields.get("form_number")
    return Arrived(
        entry.action_id,
        entry.case_id,
        entry.position,
        sort,
        entry.kind,
        entry.agency,
        entry.party,
        entry.recorded_at,
        is_unread,
        number if isinstance(number, int) else None,
    )
