"""Reads views, as the application's role may: indexed queries on the live slot."""

from asyncio import Future
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import tuple_row

from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.database import Database
from ledger.vocabulary.picklists import Priority
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.caseload_indicators import Figures, figures
from projections.folds.expected_steps import ObligationKind
from projections.folds.indicator_key import tally
from projections.folds.obligations import Obligation, ObligationState
from projections.reports.accountability import Debt
from projections.tables.case_lists import CaseLists
from projections.tables.meeting import MEETING, RECORDED, SharedCase, Sitting, agenda
from projections.tables.owed_lists import OwedLists
from projections.tables.stored_documents import DamagedViewError, StoredDocuments
from projections.time.ledger_at import COUNTED, LedgerMoment, moment_of

_ONE_CASE = """
SELECT document FROM views.case_views
WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s AND case_id = %(case_id)s
"""

_CASES_TOGETHER = """
SELECT t.viewer, t.case_id, v.version, v.position, v.document::text AS document
FROM unnest(%(viewers)s::text[], %(cases)s::uuid[]) AS t (viewer, case_id)
JOIN views.case_views v ON v.viewer = t.viewer AND v.case_id = t.case_id
  AND v.slot = (SELECT live_slot FROM views.projections WHERE name = %(projection)s)
"""

_RECORDED = """
SELECT action_id, notification_id FROM ledger.events WHERE action_id = ANY(%s)
"""

_CASES = """
SELECT document FROM views.case_views
WHERE slot = views.live_slot(%(projection)s) AND viewer = %(viewer)s
  AND (%(before)s::bigint IS NULL OR opened_position < %(before)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(stage)s::text IS NULL OR stage = %(stage)s)
  AND (%(priority)s::text IS NULL OR priority = %(priority)s)
  AND (%(lead_agency)s::text IS NULL OR lead_agency = %(lead_agency)s)
  AND (%(awaits_us)s::boolean IS NULL OR awaits_us = %(awaits_us)s)
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

_EVENTS_OF_VIEWER = """
SELECT e.notification_id FROM ledger.events e
WHERE e.notification_id > %(after)s AND e.notification_id <= %(upto)s
  AND (e.originator_id = %(ledger_id)s OR EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot(%(projection)s) AND v.viewer = %(viewer)s
        AND v.case_id = e.originator_id))
ORDER BY e.notification_id LIMIT %(limit)s
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
# Open cases that were not met on since, the most urgent of them; and all that were, closed or not.
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
      AND met_at >= %(since)s AND document -> 'parties' ? %(other)s
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
_RECORDED_AT = "SELECT recorded_at FROM ledger.events WHERE notification_id = %(position)s"
# A country sees the obligations of the cases that it has a view of, and no others.
_OBLIGATIONS: LiteralString = """
SELECT o.document FROM views.obligations o
WHERE o.slot = views.live_slot('obligations')
  AND EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
        AND v.case_id = o.case_id)
  AND (%(case_id)s::uuid IS NULL OR o.case_id = %(case_id)s)
  AND (%(party)s::text IS NULL OR o.debtor = %(party)s)
  AND (%(creditor)s::text IS NULL OR %(creditor)s = ANY(o.creditors))
  AND (%(agency)s::text IS NULL OR o.debtor_agency = %(agency)s)
  AND (%(kind)s::text IS NULL OR o.kind = %(kind)s)
  AND (%(state)s::text IS NULL OR o.state = %(state)s)
"""

_NEWEST = (
    _OBLIGATIONS
    + """
  AND (%(opened)s::bigint IS NULL OR (o.opened_position, o.id) < (%(opened)s, %(after)s))
ORDER BY o.opened_position DESC, o.id DESC LIMIT %(limit)s
"""
)

_OVERDUE = (
    _OBLIGATIONS
    + """
  AND o.state = 'open' AND o.due < %(moment)s
  AND (%(due)s::timestamptz IS NULL OR (o.due, o.id) > (%(due)s, %(after)s))
ORDER BY o.due, o.id LIMIT %(limit)s
"""
)

_OVERDUE_THEN = (
    _OBLIGATIONS
    + """
  AND o.outcome IS DISTINCT FROM 'annulled' AND o.due < %(moment)s AND o.opened_at <= %(moment)s
  AND (o.closed_at IS NULL OR o.closed_at > %(moment)s)
  AND (%(due)s::timestamptz IS NULL OR (o.due, o.id) > (%(due)s, %(after)s))
ORDER BY o.due, o.id LIMIT %(limit)s
"""
)

_OWED_BETWEEN = (
    _OBLIGATIONS
    + """
  AND o.case_id = ANY(%(cases)s) AND o.state = 'open' AND (
      (o.debtor = %(viewer)s AND %(other)s = ANY(o.creditors))
      OR (o.debtor = %(other)s AND %(viewer)s = ANY(o.creditors)))
ORDER BY o.due NULLS LAST, o.id
"""
)

_ONE_OBLIGATION = _OBLIGATIONS + " AND o.id = %(after)s"

# Never owed is what stood on an annulled action.
_DEBTS: LiteralString = """
SELECT kind, debtor, debtor_agency, creditors, opened_at, due, closed_at, state, late
FROM views.obligations o
WHERE slot = views.live_slot('obligations') AND outcome IS DISTINCT FROM 'annulled'
"""

_DEBTS_OF_VIEWER = (
    _DEBTS
    + """
  AND EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
        AND v.case_id = o.case_id)
"""
)

_DEBTS_BETWEEN = (
    _DEBTS
    + """
  AND cardinality(creditors) > 0
  AND (%(party)s::text IS NULL OR debtor = %(party)s OR %(party)s = ANY(creditors))
"""
)
_AT_ONCE = 5_000
_NO_FILTER = dict.fromkeys(("case_id", "party", "creditor", "agency", "kind", "state"))


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A case view as its projection wrote it: JSON that needs no second validation."""

    version: int
    position: int
    document: str


class CaseReader:
    """Reads the current views of cases for an event loop, concurrent ones in one statement."""

    def __init__(self, lane: SharedConnection) -> None:
        self._lane = lane
        self._cases = AsyncBatcher(self._read_cases)
        self._recorded = AsyncBatcher(self._read_recorded)

    def case(self, viewer: str, case_id: UUID) -> Future[StoredCase | None]:
        """The current view, or ``None`` where the viewer has none of this case."""
        return self._cases.ask((viewer, case_id))

    def recorded(self, action_ids: Set[UUID]) -> Future[Mapping[UUID, int]]:
        """The positions of those of these actions that were recorded."""
        return self._recorded.ask(action_ids)

    async def _read_cases(self, asked: Sequence[tuple[str, UUID]]) -> Sequence[StoredCase | None]:
        distinct = set(asked)
        params = {
            "projection": "case_views",
            "viewers": [viewer for viewer, _ in distinct],
            "cases": [case_id for _, case_id in distinct],
        }
        async with self._lane.connection() as connection:
            cursor = await connection.execute(_CASES_TOGETHER, params, prepare=True)
            found = {
                (row["viewer"], row["case_id"]): StoredCase(
                    row["version"], row["position"], row["document"]
                )
                for row in await cursor.fetchall()
            }
        return [found.get(one) for one in asked]

    async def _read_recorded(self, asked: Sequence[Set[UUID]]) -> Sequence[Mapping[UUID, int]]:
        every = {action_id for action_ids in asked for action_id in action_ids}
        async with self._lane.connection() as connection:
            cursor = await connection.execute(_RECORDED, (list(every),), prepare=True)
            found = {r["action_id"]: r["notification_id"] for r in await cursor.fetchall()}
        return [{a: found[a] for a in action_ids if a in found} for action_ids in asked]


class ViewReader:
    """Reads the live slot of each view."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.documents = StoredDocuments()
        self.lists = CaseLists(database, self.documents)
        self.owed = OwedLists(database, self.documents)
        self._figures: dict[str, tuple[int, Figures]] = {}

    def case(self, viewer: str, case_id: UUID) -> CaseView | None:
        """The current view, or ``None`` where the viewer has none of this case."""
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
        lead_agency: str | None = None,
        awaits_us: bool | None = None,
    ) -> list[CaseView]:
        """The viewer's cases, newest first, beginning below the opening position ``before``."""
        filters = {
            "viewer": viewer,
            "limit": limit,
            "before": before,
            "status": status,
            "stage": stage,
            "priority": priority,
            "lead_agency": lead_agency,
            "awaits_us": awaits_us,
        }
        rows = self._rows(_CASES, "case_views", filters)
        return self.documents.read(CaseView, "case_views", rows)

    def trail(self, case_id: UUID, *, after: int = 0, limit: int = 1000) -> list[TrailEntry]:
        """Entries of a case's trail, beginning after version ``after``."""
        page = {"case_id": case_id, "after": after, "limit": limit}
        rows = self._rows(_TRAIL, "audit_trail", page)
        # Pages go on from the version of the last entry: it must be the row's.
        return self.documents.read(
            TrailEntry,
            "audit_trail",
            rows,
            is_of_row=lambda entry, row: entry.version == row["version"],
        )

    def obligations(
        self,
        viewer: str,
        *,
        limit: int,
        after: Obligation | None = None,
        overdue_now: datetime | None = None,
        overdue_then: datetime | None = None,
        case_id: UUID | None = None,
        party: str | None = None,
        creditor: str | None = None,
        agency: str | None = None,
        kind: ObligationKind | None = None,
        state: ObligationState | None = None,
    ) -> list[Obligation]:
        """Obligations in the viewer's cases, the last opened first, beginning behind ``after``.

        With ``overdue_now``, those that are open and were due before: the longest overdue first.
        With ``overdue_then``, those that were so at an earlier moment, by what is known now.
        ``party`` and ``agency`` owe, ``creditor`` is owed.
        """
        filters = {
            "viewer": viewer,
            "limit": limit,
            "after": after and after.id,
            "opened": after and after.opened.position,
            "due": after and after.due,
            "moment": overdue_then or overdue_now,
            "case_id": case_id,
            "party": party,
            "creditor": creditor,
            "agency": agency,
            "kind": kind,
            "state": state,
        }
        statement = _NEWEST
        if overdue_then is not None or overdue_now is not None:
            statement = _OVERDUE if overdue_then is None else _OVERDUE_THEN
        rows = self._rows(statement, "obligations", filters)
        return self.documents.read(Obligation, "obligations", rows)

    def obligation(self, viewer: str, obligation_id: UUID) -> Obligation | None:
        """An obligation by its id; ``None`` where the viewer sees none."""
        asked = {"viewer": viewer, "after": obligation_id, **_NO_FILTER}
        rows = self._rows(_ONE_OBLIGATION, "obligations", asked)
        return self.documents.read_one(Obligation, "obligations", rows)

    def debts(self, viewer: str) -> Iterator[Debt]:
        """What is or was owed in the viewer's cases."""
        return self._debts(_DEBTS_OF_VIEWER, {"viewer": viewer})

    def debts_between(self, party: str | None) -> Iterator[Debt]:
        """What countries owe or owed each other: of one country and the others, or all."""
        return self._debts(_DEBTS_BETWEEN, {"party": party})

    def _debts(self, statement: LiteralString, params: Mapping[str, Any]) -> Iterator[Debt]:
        # By a cursor: the memory stays the same however many there are.
        with (
            self._database.transaction() as connection,
            connection.cursor("debts", row_factory=tuple_row) as cursor,
        ):
            cursor.itersize = _AT_ONCE
            cursor.execute(statement, params)
            for kind, debtor, agency, creditors, opened, due, closed, state, late in cursor:
                yield Debt(
                    ObligationKind(kind),
                    debtor,
                    agency,
                    creditors,
                    opened,
                    due,
                    closed,
                    ObligationState(state),
                    late,
                )

    def position(self, projection: str) -> int:
        """The position that a view stands at."""
        rows = self._rows(_POSITION, projection, {"application": Ledger.name})
        return int(rows[0]["notification_id"]) if rows else 0

    def positions_seen_by(
        self, viewer: str, ledger_id: UUID, *, after: int, upto: int, limit: int
    ) -> list[int]:
        """Positions of the events that a country sees: of its cases, and of the protocol."""
        page = {
            "viewer": viewer,
            "ledger_id": ledger_id,
            "after": after,
            "upto": upto,
            "limit": limit,
        }
        rows = self._rows(_EVENTS_OF_VIEWER, "case_views", page)
        return [int(row["notification_id"]) for row in rows]

    def ledger_moment(self, position: int, protocol: Protocol) -> LedgerMoment:
        """The whole ledger at a position that the trail has reached, in numbers."""
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
        """Caseload, flow and time to return of the cases that the viewer sees, as they stand.

        They are counted anew once the view has moved on.
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

    def shared_with(self, viewer: str, others: Collection[str], *, limit: int) -> Mapping[str, int]:
        """How many open cases the viewer's country shares with each other, the most first.

        Counting ends at ``limit``; with whom none is shared is left out.
        """
        asked = {"viewer": viewer, "others": sorted(others), "limit": limit}
        rows = self._rows(_SHARED_WITH, "case_views", asked)
        return {row["party"]: row["cases"] for row in rows if row["cases"]}

    def sitting(
        self, sitting: Sitting, protocol: Protocol, *, limit: int, also: UUID | None = None
    ) -> tuple[SharedCase, ...]:
        """The agenda of a sitting, in three statements whatever the number of cases.

        ``limit`` is how many cases there are at most that were not met on in it: the most urgent,
        and ``also`` wherever it would stand.
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
        owed = self._rows(_OWED_BETWEEN, "obligations", asked | _NO_FILTER | of_cases)
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
            protocol,
        )

    def viewers_of(
        self, cases: Collection[UUID], viewers: Collection[str]
    ) -> tuple[int, Mapping[UUID, Sequence[str]]]:
        """Which of ``viewers`` see each of these cases, and at what position that is so."""
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

    def _rows(
        self, statement: LiteralString, projection: str, params: Mapping[str, Any]
    ) -> Sequence[dict[str, Any]]:
        with self._database.connection() as connection:
            return connection.execute(
                statement,
                {"projection": projection, **params},
                prepare=True,
            ).fetchall()
