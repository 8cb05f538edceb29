"""Open obligations as one agency sees them: its own, its country's others, and what others owe.

Each list is one query along indexes, whatever number of cases there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.procedure.protocol import COORDINATOR, OVERSIGHT, Agency
from ledger.store.database import Database
from ledger.store.postgres_arrays import Uuids
from projections.folds.case_view import OVERSIGHT_VIEWER
from projections.folds.obligations import Obligation
from projections.tables.obligation_queries import read_at
from projections.tables.owed_lists import AT_MOST
from projections.tables.stored_documents import StoredDocuments


class Duties(StrEnum):
    """The side that owes the obligations of a list."""

    MINE = "mine"
    """The agency itself may discharge them."""
    COUNTRY = "country"
    """Other agencies of its country owe them: for coordinators."""
    OTHERS = "others"
    """Others owe them: to the agency, in a case that it leads, or, for a coordinator, to its
    country. For oversight: every country."""


@dataclass(frozen=True, slots=True)
class DutyList:
    """The first obligations of a list, the longest overdue first, and how many there are."""

    obligations: Sequence[Obligation]
    number: int
    """At most :data:`AT_MOST` + 1."""
    overdue: int


_ACTS: LiteralString = """coalesce(o.debtor_agency = %(agency)s
    OR o.debtor_agency IS NULL AND %(by_role)s
       AND o.roles @> ARRAY[%(role)s]
       AND (o.debtor = %(party)s OR o.debtor IS NULL), false)"""
# Right after an import the tables have no statistics, and a plan without them compared each
# obligation with each case: seconds at 5,560 cases. LATERAL with OFFSET 0 fixes the order of the
# join, so that each row of one table is looked up in the other by its key.
_OPEN: LiteralString = """
WHERE o.slot = views.live_slot('obligations') AND o.state = 'open'
  AND (NOT o.action = ANY(%(ending)s) OR coalesce(o.due, o.expected_by, 'infinity') >= %(now)s)
"""
_SEEN: LiteralString = """
  v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
  AND (NOT %(is_bound)s OR v.agencies @> ARRAY[%(agency)s])
"""
_FOUND: LiteralString = (
    """
SELECT o.id, o.due FROM views.obligations o
CROSS JOIN LATERAL (SELECT v.shares_with FROM views.case_views v WHERE"""  # noqa: S608
    + _SEEN
    + " AND v.case_id = o.case_id OFFSET 0) v"
    + _OPEN
)
_OF: Mapping[Duties, LiteralString] = {
    Duties.MINE: " AND " + _ACTS,
    Duties.COUNTRY: " AND o.debtor = %(party)s AND NOT " + _ACTS,
}
_DUE_FROM: LiteralString = " AND o.due >= %(first)s AND o.due < %(before)s"
_IN_ORDER: LiteralString = " ORDER BY o.due, o.id LIMIT %(limit)s"
_OTHERS: LiteralString = _FOUND + " AND NOT " + _ACTS
_OWED_TO_AGENCY: LiteralString = _OTHERS + " AND o.creditor_agency = %(agency)s"
_IN_LED_CASE: LiteralString = (
    """
SELECT o.id, o.due FROM (SELECT v.case_id FROM views.case_views v WHERE"""  # noqa: S608
    + _SEEN
    + """ AND v.lead_agency = %(agency)s OFFSET 0) v
CROSS JOIN LATERAL (SELECT o.id, o.due, o.debtor, o.debtor_agency, o.roles
  FROM views.obligations o"""
    + _OPEN
    + " AND o.case_id = v.case_id OFFSET 0) o WHERE NOT "
    + _ACTS
)
_OWED_TO_COUNTRY: LiteralString = (
    _OTHERS + " AND o.debtor IS DISTINCT FROM %(party)s AND %(party)s = ANY(o.creditors)"
)
_OWED_BY_ANY_PARTY: LiteralString = _OTHERS + " AND o.debtor IS NULL AND v.shares_with <> '{}'"
# One condition over both tables would look up the case of every open obligation. Each of these
# has an index, or is decided by the row of the obligation before its case is looked up.
_OF_AGENCY: LiteralString = (
    "SELECT id, due FROM (("  # noqa: S608
    + _OWED_TO_AGENCY
    + _IN_ORDER
    + ") UNION ("
    + _IN_LED_CASE
    + _IN_ORDER
    + ")) o"
    + _IN_ORDER
)
_OF_COORDINATOR: LiteralString = (
    "SELECT id, due FROM (("  # noqa: S608
    + _OWED_TO_AGENCY
    + _IN_ORDER
    + ") UNION ("
    + _IN_LED_CASE
    + _IN_ORDER
    + ") UNION ("
    + _OWED_TO_COUNTRY
    + _IN_ORDER
    + ") UNION ("
    + _OWED_BY_ANY_PARTY
    + _IN_ORDER
    + ")) o"
    + _IN_ORDER
)
_DOCUMENTS: LiteralString = """
SELECT o.id, o.document FROM views.obligations o
WHERE o.slot = views.live_slot('obligations') AND o.id = ANY(%(ids)s)
"""


class DutyLists:
    """Reads the live slots of obligations and case views."""

    def __init__(self, database: Database, documents: StoredDocuments | None = None) -> None:
        self._database = database
        self._documents = documents or StoredDocuments()

    def of(
        self,
        agency: Agency,
        viewer: str,
        duties: Duties,
        now: datetime,
        *,
        limit: int,
        is_bound: bool = False,
    ) -> DutyList:
        """Return the first obligations of a list, and their number.

        ``is_bound``: whether the agency sees only cases that it has to know of. Obligations of
        other cases are left out.
        """
        asked = _asked(agency, viewer, now, is_bound=is_bound) | {"limit": AT_MOST + 1}
        with self._database.connection() as connection:
            found = connection.execute(_statement(agency, duties), asked).fetchall()
            shown = self._documents_of(connection, [row["id"] for row in found[:limit]])
        overdue = sum(row["due"] is not None and row["due"] < now for row in found)
        return DutyList(shown, len(found), overdue)

    def between(
        self,
        agency: Agency,
        viewer: str,
        first: datetime,
        before: datetime,
        now: datetime,
        limit: int,
        *,
        is_bound: bool = False,
    ) -> Sequence[Obligation]:
        """Return the agency's own obligations that are due in a range of time."""
        asked = _asked(agency, viewer, now, is_bound=is_bound) | {
            "limit": limit,
            "first": first,
            "before": before,
        }
        statement: LiteralString = _FOUND + _OF[Duties.MINE] + _DUE_FROM + _IN_ORDER
        with self._database.connection() as connection:
            found = connection.execute(statement, asked).fetchall()
            return self._documents_of(connection, [row["id"] for row in found])

    def _documents_of(
        self, connection: Connection[DictRow], ids: Sequence[UUID]
    ) -> Sequence[Obligation]:
        rows = connection.execute(_DOCUMENTS, {"ids": Uuids(ids)}).fetchall()
        by_id = {row["id"]: row for row in rows}
        in_order = [by_id[one] for one in ids if one in by_id]
        return self._documents.read(Obligation, "obligations", in_order)


def viewer_of(agency: Agency) -> str:
    """Return whose view of cases the lists of an agency are joined with."""
    return OVERSIGHT_VIEWER if agency.role == OVERSIGHT else agency.party


def _statement(agency: Agency, duties: Duties) -> LiteralString:
    """Return the query of a list, by the agency's role."""
    if duties is not Duties.OTHERS:
        return _FOUND + _OF[duties] + _IN_ORDER
    if agency.role == OVERSIGHT:
        return _OTHERS + _IN_ORDER
    return _OF_COORDINATOR if agency.role == COORDINATOR else _OF_AGENCY


def _asked(agency: Agency, viewer: str, now: datetime, *, is_bound: bool) -> dict[str, Any]:
    return {
        "agency": agency.id,
        "role": agency.role,
        "party": agency.party,
        "viewer": viewer,
        "by_role": not agency.international,
        "is_bound": is_bound,
        **read_at(now),
    }
