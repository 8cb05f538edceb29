"""Reads the data of a meeting of two countries' teams: their shared cases, and the agenda."""

from collections.abc import Collection, Mapping
from uuid import UUID

from ledger.procedure.agreement import Agreement
from ledger.vocabulary.picklists import Priority
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.obligations import Obligation
from projections.tables.live_rows import LiveRows
from projections.tables.meeting import MEETING, RECORDED, Meeting, SharedCase, agenda
from projections.tables.obligation_queries import NO_FILTER, OBLIGATIONS, read_at

# Open cases that were not met on since, the most urgent of them; and all that were, closed or not,
# also with a country that is no party to them any more. The agenda keeps those that the two met on.
_SHARED = """
WITH chosen AS MATERIALIZED (
    (SELECT case_id FROM views.case_views
    WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s AND shares_with <> '{}'
      AND %(other)s = ANY(shares_with) AND (met_at IS NULL OR met_at < %(since)s)
    ORDER BY array_position(%(priorities)s::text[], priority) DESC, next_due, opened_position
    LIMIT %(limit)s)
    UNION
    SELECT case_id FROM views.case_views
    WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
      AND met_at >= %(since)s
    UNION
    SELECT case_id FROM views.case_views
    WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
      AND case_id = %(also)s AND %(other)s = ANY(shares_with))
SELECT v.document FROM chosen c JOIN views.case_views v ON v.case_id = c.case_id
WHERE v.slot = views.live_slot(%(projection)s) AND v.viewer = %(viewer)s
"""

_SHARED_WITH = """
SELECT party, (
    SELECT count(*) FROM (
        SELECT FROM views.case_views
        WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
          AND shares_with <> '{}' AND party = ANY(shares_with)
        LIMIT %(limit)s) counted) AS cases
FROM unnest(%(others)s::text[]) party ORDER BY cases DESC, party
"""

_OF_SITTING = """
SELECT document FROM views.audit_trail
WHERE slot = views.live_slot(%(projection)s) AND case_id = ANY(%(cases)s)
  AND (document ->> 'kind' = %(meeting)s OR document #>> '{fields,effect}' = 'annulled'
      OR (document ->> 'kind' = ANY(%(kinds)s)
          AND (document ->> 'acted_at')::timestamptz >= %(since)s))
ORDER BY position
"""

_OWED_BETWEEN = (
    OBLIGATIONS
    + """
  AND o.case_id = ANY(%(cases)s) AND o.state = 'open' AND (
      (o.debtor = %(viewer)s AND %(other)s = ANY(o.creditors))
      OR (o.debtor = %(other)s AND %(viewer)s = ANY(o.creditors)))
ORDER BY o.due NULLS LAST, o.id
"""
)


class MeetingQueries(LiveRows):
    """Reads the cases that two countries share."""

    def shared_with(self, viewer: str, others: Collection[str], *, limit: int) -> Mapping[str, int]:
        """Return how many open cases the viewer's country shares with each other, most first.

        Counting ends at ``limit``. A country that shares no case is left out.
        """
        asked = {"viewer": viewer, "others": sorted(others), "limit": limit}
        rows = self._rows(_SHARED_WITH, "case_views", asked)
        return {row["party"]: row["cases"] for row in rows if row["cases"]}

    def sitting(
        self, sitting: Meeting, agreement: Agreement, *, limit: int, also: UUID | None = None
    ) -> tuple[SharedCase, ...]:
        """Return the agenda of a sitting, with three queries for any number of cases.

        ``limit`` is the most cases that the two countries did not meet on in the sitting. The
        agenda has the most urgent of these, and the case ``also`` in any case.
        """
        asked = {"viewer": sitting.own, "other": sitting.other, "since": sitting.since}
        urgency = {
            "priorities": [priority.value for priority in Priority],
            "limit": limit,
            "also": also,
        }
        found = self._rows(_SHARED, "case_views", asked | urgency)
        cases = self.documents.read(CaseView, "case_views", found)
        of_cases = {"cases": [view.case_id for view in cases]}
        between = {**asked, **NO_FILTER, **of_cases, **read_at()}
        owed = self._rows(_OWED_BETWEEN, "obligations", between)
        told = self._rows(
            _OF_SITTING,
            "audit_trail",
            {
                "meeting": MEETING,
                "kinds": list(RECORDED),
                "since": sitting.since,
                **of_cases,
            },
        )
        return agenda(
            sitting,
            cases,
            self.documents.read(Obligation, "obligations", owed),
            self.documents.read(TrailEntry, "audit_trail", told),
            agreement,
        )
