"""Reads obligations: those that a viewer sees, and those between countries."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import tuple_row

from ledger.procedure.conditions import Standing
from ledger.system import clock
from projections.folds.obligation_terms import (
    ENDING_WITH_THEIR_DAY,
    ObligationKind,
    ObligationState,
)
from projections.folds.obligations import Obligation
from projections.reports.accountability import Debt
from projections.tables.live_rows import LiveRows

# A country sees the obligations of the cases that it has a view of, and no others.
OBLIGATIONS: LiteralString = """
SELECT o.document FROM views.obligations o
WHERE o.slot = views.live_slot('obligations')
  AND EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
        AND v.case_id = o.case_id)
  AND (%(case_id)s::uuid IS NULL OR o.case_id = %(case_id)s)
  AND (%(party)s::text IS NULL OR o.debtor = %(party)s)
  AND (%(creditor)s::text IS NULL OR %(creditor)s = ANY(o.creditors))
  AND (%(agencies)s::text[] IS NULL OR o.debtor_agency = ANY(%(agencies)s))
  AND (%(kind)s::text IS NULL OR o.kind = %(kind)s)
  AND (%(state)s::text IS NULL OR o.state = %(state)s)
  AND (o.state <> 'open' OR NOT o.document ->> 'action' = ANY(%(ending)s)
       OR coalesce(o.due, (o.document ->> 'expected_by')::timestamptz, 'infinity') >= %(now)s)
"""
"""An obligation that ended by itself is in no list (``obligation_terms.is_over``)."""

_NEWEST = (
    OBLIGATIONS
    + """
  AND (%(opened)s::bigint IS NULL OR (o.opened_position, o.id) < (%(opened)s, %(after)s))
ORDER BY o.opened_position DESC, o.id DESC LIMIT %(limit)s
"""
)

_OVERDUE = (
    OBLIGATIONS
    + """
  AND o.state = 'open' AND o.due < %(moment)s
  AND (%(due)s::timestamptz IS NULL OR (o.due, o.id) > (%(due)s, %(after)s))
ORDER BY o.due, o.id LIMIT %(limit)s
"""
)

_OVERDUE_THEN = (
    OBLIGATIONS
    + """
  AND o.outcome IS DISTINCT FROM 'annulled' AND o.due < %(moment)s AND o.opened_at <= %(moment)s
  AND (o.closed_at IS NULL OR o.closed_at > %(moment)s)
  AND (%(due)s::timestamptz IS NULL OR (o.due, o.id) > (%(due)s, %(after)s))
ORDER BY o.due, o.id LIMIT %(limit)s
"""
)

_OPEN_IN = (
    OBLIGATIONS
    + """
  AND o.case_id = ANY(%(cases)s)
ORDER BY o.case_id, o.due, o.id LIMIT %(limit)s
"""
)

_ONE_OBLIGATION = OBLIGATIONS + " AND o.id = %(after)s"

# Never owed is what stood on an annulled action.
_DEBTS: LiteralString = """
SELECT kind, debtor, debtor_agency, creditors, opened_at, due, closed_at, state, late,
       (document ->> 'expected_by')::timestamptz, document ->> 'standing', document ->> 'action'
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

_EVER = {"now": datetime.min.replace(tzinfo=UTC), "ending": [*ENDING_WITH_THEIR_DAY]}


def read_at(moment: datetime | None = None) -> Mapping[str, Any]:
    """Return the parameters of a list that is read at a moment; ``None``: now."""
    return {"now": moment or clock.now(), "ending": [*ENDING_WITH_THEIR_DAY]}


NO_FILTER = dict.fromkeys(("case_id", "party", "creditor", "agencies", "kind", "state"))


class ObligationQueries(LiveRows):
    """Reads the live slot of the obligations."""

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
        agencies: Sequence[str] | None = None,
        kind: ObligationKind | None = None,
        state: ObligationState | None = None,
    ) -> list[Obligation]:
        """Return obligations in the viewer's cases, the last opened first, after ``after``.

        With ``overdue_now``, only obligations that are open and were due before that time are
        returned, the longest overdue first. With ``overdue_then``, only obligations that were
        overdue at that earlier time are returned, judged by all that is recorded now. ``party`` and
        ``agencies`` owe, and ``creditor`` is owed.
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
            "agencies": None if agencies is None else [*agencies],
            "kind": kind,
            "state": state,
            **read_at(overdue_then),
        }
        statement = _NEWEST
        if overdue_then is not None or overdue_now is not None:
            statement = _OVERDUE if overdue_then is None else _OVERDUE_THEN
        rows = self._rows(statement, "obligations", filters)
        return self.documents.read(Obligation, "obligations", rows)

    def open_in(self, viewer: str, case_ids: Sequence[UUID]) -> list[Obligation]:
        """Return what is open in some of the viewer's cases, by case, the first due first."""
        asked = {
            **NO_FILTER,
            "viewer": viewer,
            "cases": [*case_ids],
            "state": ObligationState.OPEN,
            "limit": _AT_ONCE,
            **read_at(),
        }
        rows = self._rows(_OPEN_IN, "obligations", asked)
        return self.documents.read(Obligation, "obligations", rows)

    def obligation(self, viewer: str, obligation_id: UUID) -> Obligation | None:
        """Return an obligation by its id, or ``None`` if the viewer sees none with that id."""
        asked = {"viewer": viewer, "after": obligation_id, **NO_FILTER, **_EVER}
        rows = self._rows(_ONE_OBLIGATION, "obligations", asked)
        return self.documents.read_one(Obligation, "obligations", rows)

    def debts(self, viewer: str) -> Iterator[Debt]:
        """Yield the debts, open and closed, in the viewer's cases."""
        return self._debts(_DEBTS_OF_VIEWER, {"viewer": viewer})

    def debts_between(self, party: str | None) -> Iterator[Debt]:
        """Yield the debts, open and closed, between countries.

        ``party`` limits them to one country and the others; ``None`` means all countries.
        """
        return self._debts(_DEBTS_BETWEEN, {"party": party})

    def _debts(self, statement: LiteralString, params: Mapping[str, Any]) -> Iterator[Debt]:
        # By a cursor: the memory stays the same however many there are.
        with (
            self._database.transaction() as connection,
            connection.cursor("debts", row_factory=tuple_row) as cursor,
        ):
            cursor.itersize = _AT_ONCE
            cursor.execute(statement, params)
            for row in cursor:
                kind, debtor, agency, creditors, opened, due, closed, state, late, *rest = row
                expected_by, mark, action = rest
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
                    expected_by,
                    None if mark is None else Standing(mark),
                    action,
                )
