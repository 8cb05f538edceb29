"""Reads views, as the application's role may: indexed queries on the live slot."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.store.database import Database
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.caseload_indicators import Figures, figures
from projections.folds.indicator_key import tally
from projections.tables.case_lists import CaseLists
from projections.tables.duty_lists import DutyLists
from projections.tables.meeting_queries import MeetingQueries
from projections.tables.obligation_queries import ObligationQueries
from projections.tables.owed_lists import OwedLists
from projections.tables.stored_documents import DamagedViewError
from projections.time.ledger_at import COUNTED, LedgerMoment, moment_of

_ONE_CASE = """
SELECT document FROM views.case_views
WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s AND case_id = %(case_id)s
"""

_CASES = """
SELECT document FROM views.case_views
WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
  AND (%(before)s::bigint IS NULL OR opened_position < %(before)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(stage)s::text IS NULL OR stage = %(stage)s)
  AND (%(priority)s::text IS NULL OR priority = %(priority)s)
  AND (%(lead_agencies)s::text[] IS NULL OR lead_agency = ANY(%(lead_agencies)s))
  AND (%(awaits_us)s::boolean IS NULL OR awaits_us = %(awaits_us)s)
  AND (%(reference)s::text IS NULL OR reference = %(reference)s)
  AND (%(seen_by)s::text IS NULL OR agencies @> ARRAY[%(seen_by)s])
ORDER BY opened_position DESC LIMIT %(limit)s
"""

_TRAIL = """
SELECT version, document FROM views.audit_trail
WHERE slot = views.live_slot(%(projection)s) AND case_id = %(case_id)s AND version > %(after)s
ORDER BY version LIMIT %(limit)s
"""

_POSITION = """
SELECT notification_id FROM views.tracking
WHERE projection = %(projection)s AND slot = views.live_slot(%(projection)s)
  AND application_name = %(application)s
"""

# One snapshot: the rows are the view as it stands at that position.
_VIEWERS = """
SELECT stands.upto, v.case_id, v.viewer
FROM (SELECT COALESCE((
    SELECT notification_id FROM views.tracking
    WHERE projection = %(projection)s AND slot = views.live_slot(%(projection)s)
      AND application_name = %(application)s), 0) AS upto) stands
LEFT JOIN views.case_views v ON v.slot = views.live_slot(%(projection)s)
  AND v.viewer = ANY(%(viewers)s) AND v.case_id = ANY(%(cases)s)
"""

_KNOWN = """
SELECT FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s AND case_id = %(case)s
  AND agencies @> ARRAY[%(agency)s]
"""

_EVENTS_OF_VIEWER = """
SELECT e.notification_id FROM ledger.events e
WHERE e.notification_id > %(after)s AND e.notification_id <= %(upto)s
  AND (e.originator_id = %(ledger_id)s OR EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot(%(projection)s) AND v.viewer = %(viewer)s
        AND v.case_id = e.originator_id
        AND (%(seen_by)s::text IS NULL OR v.agencies @> ARRAY[%(seen_by)s])))
ORDER BY e.notification_id LIMIT %(limit)s
"""

_SIGNED_WITH = """
SELECT document FROM views.audit_trail
WHERE slot = views.live_slot('audit_trail') AND key_id = ANY(%(keys)s)
  AND (document ->> 'recorded_at')::timestamptz >= %(since)s
  AND (document ->> 'recorded_at')::timestamptz < %(until)s
ORDER BY position LIMIT %(limit)s
"""

# What each part of each case's state was last changed to, by the trail.
_MOMENT = """
WITH told AS (
    SELECT DISTINCT ON (t.case_id, change->>'path')
        change->>'path' AS path, change->'after' AS value
    FROM views.audit_trail t, jsonb_array_elements(t.document->'changes') change
    WHERE t.slot = views.live_slot(%(projection)s) AND t.position <= %(position)s
      AND t.case_id <> %(ledger_id)s AND change->>'path' = ANY(%(paths)s)
    ORDER BY t.case_id, change->>'path', t.position DESC
)
SELECT path, value, count(*) AS cases FROM told GROUP BY path, value
"""

_KINDS = """
SELECT topic, count(*) AS events FROM ledger.events
WHERE notification_id <= %(position)s GROUP BY topic
"""

# One statement, so that all figures are of one moment, and along an index alone.
_TALLIES = """
SELECT counted_as, count(*) AS cases FROM views.case_views
WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
GROUP BY counted_as
"""

_RECORDED_AT = "SELECT recorded_at FROM ledger.events WHERE notification_id = %(position)s"


class ViewReader(ObligationQueries, MeetingQueries):
    """Reads the live slot of each view."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.lists = CaseLists(database, self.documents)
        self.owed = OwedLists(database, self.documents)
        self.duties = DutyLists(database, self.documents)
        self._figures: dict[str, tuple[int, Figures]] = {}

    def case(self, viewer: str, case_id: UUID) -> CaseView | None:
        """Return the current view, or ``None`` if the viewer has no view of this case."""
        rows = self._rows(_ONE_CASE, "case_views", {"viewer": viewer, "case_id": case_id})
        view = self.documents.read_one(CaseView, "case_views", rows)
        if view is not None and (view.viewer, view.case_id) != (viewer, case_id):
            # The document of another row: somebody exchanged them.
            raise DamagedViewError("case_views")
        return view

    def cases(
        self,
        viewer: str,
        *,
        limit: int,
        before: int | None = None,
        status: str | None = None,
        stage: str | None = None,
        priority: str | None = None,
        lead_agencies: Sequence[str] | None = None,
        awaits_us: bool | None = None,
        reference: str | None = None,
        seen_by: str | None = None,
    ) -> list[CaseView]:
        """Return the viewer's cases, newest first, below the opening position ``before``.

        ``seen_by`` is an agency that sees only the cases that it has to know of.
        """
        filters = {
            "viewer": viewer,
            "limit": limit,
            "before": before,
            "status": status,
            "stage": stage,
            "priority": priority,
            "lead_agencies": None if lead_agencies is None else [*lead_agencies],
            "awaits_us": awaits_us,
            "reference": reference,
            "seen_by": seen_by,
        }
        rows = self._rows(_CASES, "case_views", filters)
        return self.documents.read(CaseView, "case_views", rows)

    def signed_with(
        self, key_ids: Sequence[str], since: datetime, until: datetime, *, limit: int
    ) -> list[TrailEntry]:
        """Return the events that keys signed and that were recorded in a span, in their order."""
        asked = {"keys": [*key_ids], "since": since, "until": until, "limit": limit}
        rows = self._rows(_SIGNED_WITH, "audit_trail", asked)
        return self.documents.read(TrailEntry, "audit_trail", rows)

    def trail(self, case_id: UUID, *, after: int = 0, limit: int = 1000) -> list[TrailEntry]:
        """Return entries of a case's trail, beginning after version ``after``."""
        page = {"case_id": case_id, "after": after, "limit": limit}
        rows = self._rows(_TRAIL, "audit_trail", page)
        # Pages go on from the version of the last entry: it must be the row's.
        return self.documents.read(
            TrailEntry,
            "audit_trail",
            rows,
            is_of_row=lambda entry, row: entry.version == row["version"],
        )

    def position(self, projection: str) -> int:
        """Return the position that a view stands at."""
        rows = self._rows(_POSITION, projection, {"application": Ledger.name})
        return int(rows[0]["notification_id"]) if rows else 0

    def positions_seen_by(
        self,
        viewer: str,
        ledger_id: UUID,
        *,
        after: int,
        upto: int,
        limit: int,
        seen_by: str | None = None,
    ) -> list[int]:
        """Return the positions of the events that a country sees: its cases' and the protocol's.

        ``seen_by`` is an agency of the country that sees only the cases that it has to know of.
        """
        page = {
            "viewer": viewer,
            "seen_by": seen_by,
            "ledger_id": ledger_id,
            "after": after,
            "upto": upto,
            "limit": limit,
        }
        rows = self._rows(_EVENTS_OF_VIEWER, "case_views", page)
        return [int(row["notification_id"]) for row in rows]

    def ledger_moment(self, position: int, protocol: Protocol) -> LedgerMoment:
        """Return the figures of the whole ledger at a position that the trail has reached."""
        asked = {
            "position": position,
            "ledger_id": protocol.ledger_id,
            "paths": [f"/{name}" for name in (*COUNTED, "parties", "lead_agency")],
        }
        recorded = self._rows(_RECORDED_AT, "audit_trail", asked)
        kinds = self._rows(_KINDS, "audit_trail", asked)
        return moment_of(
            position,
            recorded[0]["recorded_at"] if recorded else None,
            [
                (row["path"][1:], row["value"], row["cases"])
                for row in self._rows(_MOMENT, "audit_trail", asked)
            ],
            {row["topic"]: row["events"] for row in kinds},
            protocol,
        )

    def figures(self, viewer: str, protocol: Protocol) -> Figures:
        """Return caseload, flow and time to return of the cases that the viewer sees now.

        The figures are counted again when the view has reached another position.
        """
        position = self.position("case_views")
        known = self._figures.get(viewer)
        if known is not None and known[0] == position:
            return known[1]
        rows = self._rows(_TALLIES, "case_views", {"viewer": viewer})
        counted = figures((tally(row["counted_as"], row["cases"]) for row in rows), protocol)
        if self.position("case_views") == position:
            self._figures[viewer] = (position, counted)
        return counted

    def has_to_know(self, viewer: str, agency: str, case_id: UUID) -> bool:
        """Return whether an agency acted in a case, was named in it or was admitted to it."""
        asked = {"viewer": viewer, "agency": agency, "case": case_id}
        return bool(self._rows(_KNOWN, "case_views", asked))

    def viewers_of(
        self, cases: Collection[UUID], viewers: Collection[str]
    ) -> tuple[int, Mapping[UUID, Sequence[str]]]:
        """Return the position of the case views, and which of ``viewers`` see each case there."""
        asked = {
            "application": Ledger.name,
            "cases": list(cases),
            "viewers": list(viewers),
        }
        rows = self._rows(_VIEWERS, "case_views", asked)
        seen: dict[UUID, list[str]] = {}
        for row in rows:
            if row["case_id"] is not None:
                seen.setdefault(row["case_id"], []).append(row["viewer"])
        return int(rows[0]["upto"]), seen
