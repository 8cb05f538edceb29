"""Cases in order: overdue for an agency first, then for its country, then by date, by pages.

Each page goes along an index from where the last one ended, whatever is before or behind it; so
does each list of the cases that have a mark for the board.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, LiteralString
from uuid import UUID

from ledger.procedure.protocol import Agency
from ledger.store.database import Database
from ledger.store.postgres_arrays import Uuids
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView
from projections.folds.due_index import keys_of
from projections.tables.stored_documents import StoredDocuments

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITIONS = 2**63


class CaseListSection(IntEnum):
    """The parts of the list, in their order."""

    OWN_OVERDUE = 0
    """Something that the agency itself may do is overdue: the case longest overdue first."""
    OVERDUE = 1
    """Something is overdue that others of its country may do."""
    DUE = 2
    """By the date of what is next; then where that has no date, the newest case first."""
    NOTHING = 3
    """Nothing is the country's turn: the newest case first."""


@dataclass(frozen=True, slots=True)
class PageCursor:
    """The end of a page: the case after which the next page begins, and the moment of the list."""

    moment: datetime
    section: CaseListSection
    next_due: datetime | None
    opened_position: int

    def __str__(self) -> str:
        due = "" if self.next_due is None else _number(self.next_due)
        return f"{_number(self.moment)}.{self.section.value}.{due}.{self.opened_position}"

    @classmethod
    def parse(cls, text: str) -> "PageCursor":
        """Return the place that a text stands for.

        Raises ``ValueError`` if the text stands for none.
        """
        moment, section, due, position = text.split(".")
        opened_position = int(position)
        if not 0 <= opened_position < _POSITIONS:
            raise ValueError(text)
        try:
            return cls(
                _moment(moment),
                CaseListSection(int(section)),
                _moment(due) if due else None,
                opened_position,
            )
        except OverflowError as error:
            raise ValueError(text) from error


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(number: str) -> datetime:
    return _EPOCH + int(number) * _MICROSECOND


class CaseOrder(StrEnum):
    """An order of the list of cases, as its reader chooses it."""

    DUE = "due"
    """By the sections of :class:`CaseListSection`."""
    NEWEST = "newest"
    OLDEST = "oldest"
    LATEST = "latest"
    """By the newest recorded action."""


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Values that the listed cases have in common. ``None`` leaves a thing open."""

    status: str | None = None
    stage: str | None = None
    country: str | None = None
    """Another party of the case."""
    step: str | None = None
    """The kind of an action that the viewer's agencies are expected to take."""
    agency: str | None = None
    """The agency that leads the case."""
    age_group: str | None = None
    opened_from: datetime | None = None
    opened_before: datetime | None = None
    awaits_us: bool | None = None
    """True if some step is the viewer's."""
    among: tuple[UUID, ...] | None = None
    """Only these cases."""
    but: tuple[UUID, ...] | None = None
    """None of these cases."""
    seen_by: str | None = None
    """An agency that sees only the cases that it has to know of; ``None`` for every other."""


class BoardMark(StrEnum):
    """A mark of a case on the board."""

    REQUEST = "requests"
    """A request for information that waits for its answer, in a case of several countries."""
    BASIS = "bases"
    """A consent or a decision that names data, or consent to a return; of several countries."""
    DANGER = "danger"
    """An access in danger to life that is not reviewed by every party."""


_LIST: LiteralString = """
SELECT next_due, opened_position, case_id FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s
"""
_DUE_ONLY: LiteralString = " AND awaits_us"
_FILTERS: dict[str, LiteralString] = {
    "status": " AND status = %(status)s",
    "stage": " AND stage = %(stage)s",
    "country": " AND parties @> ARRAY[%(country)s]",
    "step": " AND our_steps @> ARRAY[%(step)s]",
    "agency": " AND lead_agency = %(agency)s",
    "age_group": " AND age_group = %(age_group)s",
    "opened_from": " AND opened_at >= %(opened_from)s",
    "opened_before": " AND opened_at < %(opened_before)s",
    "awaits_us": " AND awaits_us = %(awaits_us)s",
    "among": " AND case_id = ANY(%(among)s)",
    "but": " AND case_id <> ALL(%(but)s)",
    "seen_by": " AND agencies @> ARRAY[%(seen_by)s]",
}
_ORDERED: dict[CaseOrder, tuple[LiteralString, LiteralString]] = {
    CaseOrder.NEWEST: (
        " AND opened_position < %(place)s",
        " ORDER BY opened_position DESC LIMIT %(limit)s",
    ),
    CaseOrder.OLDEST: (
        " AND opened_position > %(place)s",
        " ORDER BY opened_position LIMIT %(limit)s",
    ),
    CaseOrder.LATEST: (" AND position < %(place)s", " ORDER BY position DESC LIMIT %(limit)s"),
}
"""The condition that a page begins behind a place, and the order."""
# Cheap first: only of a case that waits for the agency at all is it asked until when.
_OWN: LiteralString = """ AND waits_for && %(keys)s AND EXISTS (
      SELECT FROM unnest(waits_for, waits_until) AS waits (key, until)
      WHERE key = ANY(%(keys)s) AND until < %(moment)s)
"""
_NOT_OWN: LiteralString = """ AND NOT (waits_for && %(keys)s AND EXISTS (
      SELECT FROM unnest(waits_for, waits_until) AS waits (key, until)
      WHERE key = ANY(%(keys)s) AND until < %(moment)s))
"""
_BEHIND: LiteralString = """ AND (next_due, -opened_position) > (%(due)s, -%(opened)s::bigint)
"""
_IN_ORDER: LiteralString = """
ORDER BY next_due, -opened_position LIMIT %(limit)s
"""
_ALL_OVERDUE: LiteralString = _LIST + " AND next_due < %(moment)s"
_OF_SECTION: dict[CaseListSection, LiteralString] = {
    CaseListSection.OWN_OVERDUE: _ALL_OVERDUE + _OWN,
    CaseListSection.OVERDUE: _ALL_OVERDUE + _NOT_OWN,
    CaseListSection.DUE: _LIST + " AND next_due >= %(moment)s",
    CaseListSection.NOTHING: _LIST + " AND next_due IS NULL",
}
_NOTHING_BEHIND: LiteralString = """ AND -opened_position > -%(opened)s::bigint
"""
_DOCUMENTS: LiteralString = """
SELECT case_id, document FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s AND case_id = ANY(%(cases)s)
"""
_NEWEST: LiteralString = """
SELECT document FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s
"""
_MARKED: dict[BoardMark, LiteralString] = {
    BoardMark.REQUEST: " AND has_request AND cardinality(parties) > 1",
    BoardMark.BASIS: " AND has_basis AND cardinality(parties) > 1",
    BoardMark.DANGER: " AND has_danger",
}
_RETAINED = """
SELECT retention_due, case_id, document FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s
  AND retention_due <= %(upto)s AND (retention_due, case_id) > (%(after)s, %(case)s)
ORDER BY retention_due, case_id LIMIT %(limit)s
"""
_EVERY = """
SELECT case_id FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s AND case_id > %(after)s
ORDER BY case_id LIMIT %(limit)s
"""
_EXPECTED = """
SELECT DISTINCT unnest(our_steps) AS kind FROM (
    SELECT our_steps FROM views.case_views
    WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s
      AND (%(seen_by)s::text IS NULL OR agencies @> ARRAY[%(seen_by)s])
    ORDER BY opened_position DESC LIMIT %(limit)s) AS newest
"""
_OPENED_BY = """
SELECT case_id, document->>'agency' AS agency FROM views.audit_trail
WHERE slot = views.live_slot('audit_trail') AND case_id = ANY(%(cases)s) AND version = 1
"""
_NEWEST_CASES = 5_000
_NOBODY = UUID(int=0)
_NUMBER = """
SELECT count(*) AS number FROM views.case_views
WHERE slot = views.live_slot('case_views') AND viewer = %(viewer)s
  AND (%(seen_by)s::text IS NULL OR agencies @> ARRAY[%(seen_by)s::text])
"""
_EVERY_CASE = CaseFilter()
_NEWEST_FIRST: LiteralString = " ORDER BY opened_position DESC LIMIT %(limit)s"


@dataclass(frozen=True, slots=True)
class CaseListPage:
    """Some cases in order; ``following`` is where the next page begins, if there is more."""

    cases: Sequence[CaseView]
    following: PageCursor | None


@dataclass(frozen=True, slots=True)
class Retained:
    """A closed case, and when its period of retention ends."""

    due: datetime
    case: CaseView


class CaseLists:
    """Reads lists of cases, a page at a time."""

    def __init__(self, database: Database, documents: StoredDocuments | None = None) -> None:
        self._database = database
        self._documents = documents or StoredDocuments()

    def by_due(
        self,
        viewer: str,
        agency: Agency,
        now: datetime,
        *,
        limit: int,
        after: PageCursor | None = None,
        due_only: bool = False,
        only: CaseFilter = _EVERY_CASE,
    ) -> CaseListPage:
        """Return the viewer's cases after ``after``, in the order that concerns ``agency``.

        Cases in which a step of the agency is overdue come first.

        With ``due_only``, the list has only cases in which some step is the viewer's, and with
        ``only`` those that the filter lets through. There is at
        most one query for each section, and one for the documents.
        """
        moment = now if after is None else after.moment
        conditions, filtered = _conditions(only)
        asked = filtered | {
            "viewer": viewer,
            "keys": list(keys_of(agency)),
            "moment": moment,
        }
        places: list[tuple[PageCursor, Any]] = []
        with self._database.transaction() as connection:
            for section, statement, behind in _statements(
                after, conditions, due_only=due_only, acts=viewer != OVERSIGHT_VIEWER
            ):
                found = connection.execute(
                    statement, asked | behind | {"limit": limit + 1 - len(places)}, prepare=True
                ).fetchall()
                places += [
                    (PageCursor(moment, section, r["next_due"], r["opened_position"]), r["case_id"])
                    for r in found
                ]
                if len(places) > limit:
                    break
            shown = places[:limit]
            rows = connection.execute(
                _DOCUMENTS, {"viewer": viewer, "cases": [c for _, c in shown]}, prepare=True
            ).fetchall()
        by_id = {
            row["case_id"]: view
            for row in rows
            for view in self._documents.read(CaseView, "case_views", [row])
        }
        return CaseListPage(
            [by_id[case_id] for _, case_id in shown if case_id in by_id],
            shown[-1][0] if len(places) > limit else None,
        )

    def of_cases(
        self, viewer: str, case_ids: Collection[UUID], *, seen_by: str | None = None
    ) -> list[CaseView]:
        """Return the views of some cases in the order of ``case_ids``, without unseen cases.

        ``seen_by`` is an agency that sees only the cases that it has to know of.
        """
        if not case_ids:
            return []
        conditions, filtered = _conditions(CaseFilter(seen_by=seen_by))
        asked = filtered | {"viewer": viewer, "cases": Uuids(case_ids)}
        with self._database.transaction() as connection:
            rows = connection.execute(_DOCUMENTS + conditions, asked, prepare=True).fetchall()
        by_id = {
            row["case_id"]: view
            for row in rows
            for view in self._documents.read(CaseView, "case_views", [row])
        }
        return [by_id[case_id] for case_id in case_ids if case_id in by_id]

    def opened_by(self, case_ids: Collection[UUID]) -> Mapping[UUID, str]:
        """Return the agency that opened each case.

        A case that the trail does not have yet is left out.
        """
        if not case_ids:
            return {}
        asked = {"cases": Uuids(case_ids)}
        with self._database.transaction() as connection:
            rows = connection.execute(_OPENED_BY, asked, prepare=True).fetchall()
        return {row["case_id"]: row["agency"] for row in rows}

    def in_order(
        self,
        viewer: str,
        order: CaseOrder,
        *,
        limit: int,
        place: int | None = None,
        only: CaseFilter = _EVERY_CASE,
    ) -> tuple[list[CaseView], int | None]:
        """Return the viewer's cases in an order other than by what is due, behind a place.

        Returns the place after which the next page begins too, or ``None`` if there is no more.
        """
        conditions, asked = _conditions(only)
        behind, ordered = _ORDERED[order]
        statement = _NEWEST + conditions + (behind if place is not None else "") + ordered
        asked |= {"viewer": viewer, "place": place, "limit": limit + 1}
        with self._database.connection() as connection:
            rows = connection.execute(statement, asked).fetchall()
        views = self._documents.read(CaseView, "case_views", rows[:limit])
        if len(rows) <= limit or not views:
            return views, None
        last = views[-1]
        return views, last.position if order is CaseOrder.LATEST else last.opened_position

    def expected_kinds(self, viewer: str, *, seen_by: str | None = None) -> Sequence[str]:
        """Return the kinds of actions that the viewer's agencies are expected to take.

        It looks at the newest ``_NEWEST_CASES`` cases.
        """
        asked = {"viewer": viewer, "limit": _NEWEST_CASES, "seen_by": seen_by}
        with self._database.connection() as connection:
            return [row["kind"] for row in connection.execute(_EXPECTED, asked).fetchall()]

    def retained(
        self,
        viewer: str,
        upto: datetime,
        *,
        limit: int,
        after: tuple[datetime, UUID] = (datetime.min.replace(tzinfo=UTC), _NOBODY),
    ) -> list[Retained]:
        """Return closed cases whose period of retention ends by ``upto``, the earliest first.

        Cases that have a hold are among them. Cases whose erasure the viewer owes or has
        confirmed are not. The page begins behind ``after``: the end of a period and a case.
        """
        due, case = after
        asked = {"viewer": viewer, "upto": upto, "after": due, "case": case, "limit": limit}
        with self._database.connection() as connection:
            rows = connection.execute(_RETAINED, asked, prepare=True).fetchall()
        return [
            Retained(row["retention_due"], view)
            for row in rows
            for view in self._documents.read(CaseView, "case_views", [row])
        ]

    def number(self, viewer: str, *, seen_by: str | None = None) -> int:
        """Return how many cases a viewer has; with ``seen_by``, those that this agency sees."""
        with self._database.connection() as connection:
            asked = {"viewer": viewer, "seen_by": seen_by}
            row = connection.execute(_NUMBER, asked).fetchone()
        return row["number"] if row is not None else 0

    def every(self, viewer: str, *, limit: int, after: UUID = _NOBODY) -> list[UUID]:
        """Return the ids of all the viewer's cases, in the order of the ids, behind ``after``."""
        asked = {"viewer": viewer, "after": after, "limit": limit}
        with self._database.connection() as connection:
            return [row["case_id"] for row in connection.execute(_EVERY, asked).fetchall()]

    def marked(
        self, viewer: str, mark: BoardMark, *, limit: int, before: int | None = None
    ) -> list[CaseView]:
        """Return the viewer's cases with a mark, newest first, below an opening position."""
        below: LiteralString = "" if before is None else " AND opened_position < %(before)s"
        statement = _NEWEST + _MARKED[mark] + below + _NEWEST_FIRST
        asked = {"viewer": viewer, "before": before, "limit": limit}
        with self._database.connection() as connection:
            rows = connection.execute(statement, asked, prepare=True).fetchall()
        return self._documents.read(CaseView, "case_views", rows)


def _conditions(only: CaseFilter) -> tuple[LiteralString, dict[str, Any]]:
    """Return the conditions of a filter, and their values."""
    asked = {
        name: Uuids(value) if isinstance(value, tuple) else value
        for name, value in asdict(only).items()
        if value is not None
    }
    conditions: LiteralString = ""
    for name, condition in _FILTERS.items():
        if name in asked:
            conditions += condition
    return conditions, asked


def _statements(
    after: PageCursor | None, conditions: LiteralString, *, due_only: bool, acts: bool
) -> Iterator[tuple[CaseListSection, LiteralString, dict[str, Any]]]:
    """Yield the query of each section from a place on.

    ``acts``: whether any step can be the viewer's own.
    """
    order = (_DUE_ONLY if due_only else "") + conditions + _IN_ORDER
    for section in CaseListSection:
        statement = _OF_SECTION[section]
        if not acts and section is CaseListSection.OWN_OVERDUE:
            continue
        if not acts and section is CaseListSection.OVERDUE:
            statement = _ALL_OVERDUE
        if after is None or section > after.section:
            yield section, statement + order, {}
        elif section is after.section:
            behind = _NOTHING_BEHIND if after.next_due is None else _BEHIND
            place = {"due": after.next_due, "opened": after.opened_position}
            yield section, statement + behind + order, place
