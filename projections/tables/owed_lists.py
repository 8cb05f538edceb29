"""Open obligations of one debtor to other countries: by date, a page at a time, and how many.

A viewer sees those of its cases. What is owed within one country alone is in no list here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from ledger.store.database import Database
from projections.folds.obligations import Obligation
from projections.tables.obligation_queries import read_at
from projections.tables.stored_documents import StoredDocuments

AT_MOST = 500
"""Counting ends here: whoever owes more than that need not be told how much more."""

# In the order of the index, and each case is looked up by its key: a page ends the search.
_OPEN: LiteralString = """
FROM views.obligations o
WHERE o.slot = views.live_slot('obligations') AND o.state = 'open'
  AND EXISTS (
      SELECT FROM views.case_views v
      WHERE v.slot = views.live_slot('case_views') AND v.viewer = %(viewer)s
        AND v.case_id = o.case_id
        AND (cardinality(o.creditors) > 0 OR o.debtor IS NULL AND cardinality(v.parties) > 1))
  AND (NOT o.document ->> 'action' = ANY(%(ending)s)
       OR coalesce(o.due, (o.document ->> 'expected_by')::timestamptz, 'infinity') >= %(now)s)
"""
_DOCUMENTS: LiteralString = "SELECT o.document" + _OPEN
_IN_ORDER: LiteralString = " ORDER BY o.due, o.id LIMIT %(limit)s"
_FOUND: LiteralString = "WITH found AS (SELECT o.id" + _OPEN
_HOW_MANY: LiteralString = " LIMIT %(limit)s) SELECT count(*) AS number FROM found"


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of open obligations and of overdue ones; at most :data:`AT_MOST` + 1."""

    open: int
    overdue: int


class OwedLists:
    """Reads open obligations by debtor; ``None`` stands for any party to the case."""

    def __init__(self, database: Database, documents: StoredDocuments | None = None) -> None:
        self._database = database
        self._documents = documents or StoredDocuments()

    def of(
        self, viewer: str, debtor: str | None, *, limit: int, after: Obligation | None = None
    ) -> list[Obligation]:
        """Return a debtor's open obligations, the longest overdue first, after ``after``."""
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"viewer": viewer, "debtor": debtor, **read_at()}
        if after is not None:
            asked |= {"due": after.due, "after": after.id}
        with self._database.connection() as connection:
            for statement in _pages(debtor, after):
                found += connection.execute(
                    statement, asked | {"limit": limit - len(found)}, prepare=True
                ).fetchall()
                if len(found) >= limit:
                    break
        return self._documents.read(Obligation, "obligations", found)

    def count(self, viewer: str, debtor: str | None, now: datetime) -> Counted:
        """Return how many obligations of a debtor are open, and how many of these are overdue."""
        asked = {"viewer": viewer, "debtor": debtor, "limit": AT_MOST + 1, **read_at(now)}
        every = _FOUND + _debtor(debtor)
        with self._database.connection() as connection:
            is_open, overdue = (
                connection.execute(statement + _HOW_MANY, asked, prepare=True).fetchall()[0][
                    "number"
                ]
                for statement in (every, every + " AND o.due < %(now)s")
            )
        return Counted(is_open, overdue)


def _debtor(debtor: str | None) -> LiteralString:
    return " AND o.debtor IS NULL" if debtor is None else " AND o.debtor = %(debtor)s"


def _pages(debtor: str | None, after: Obligation | None) -> Iterator[LiteralString]:
    """Yield the queries of a page: first dated obligations in order, then undated ones.

    Each query reads a range of the index.
    """
    of_debtor = _DOCUMENTS + _debtor(debtor)
    if after is None:
        yield of_debtor + " AND o.due IS NOT NULL" + _IN_ORDER
    elif after.due is not None:
        yield of_debtor + " AND (o.due, o.id) > (%(due)s, %(after)s)" + _IN_ORDER
    undated = of_debtor + " AND o.due IS NULL"
    if after is not None and after.due is None:
        undated += " AND o.id > %(after)s"
    yield undated + _IN_ORDER
