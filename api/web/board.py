"""The board: a page of each list, with the place where its next page begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.web.case_text import Urgency, urgency
from projections.folds.case_view import CaseView
from projections.folds.obligations import Obligation
from projections.tables.case_lists import BoardMark
from projections.tables.owed_lists import AT_MOST, Counted
from projections.tables.view_queries import ViewReader

PAGE = 50
"""Obligations, or cases, of a list on a page."""


@dataclass(frozen=True, slots=True)
class BoardObligation:
    """One open obligation, and how near its date is."""

    obligation: Obligation
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """The obligations of one country, or of any party if it is ``None``."""

    party: str | None
    owed: Sequence[BoardObligation]
    counted: Counted
    following: UUID | None
    """The obligation behind which the next page begins, if there is more."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Cases that have something for the board, the newest first."""

    mark: BoardMark
    cases: Sequence[CaseView]
    following: int | None
    """The opening position below which the next page begins, if there is more."""


@dataclass(frozen=True, slots=True)
class Total:
    """The number of overdue obligations in all columns; a lower bound if not all were counted."""

    overdue: int
    is_least: bool


def column(
    views: ViewReader, viewer: str, party: str | None, now: datetime, after: UUID | None = None
) -> BoardColumn:
    """Return a page of a country's obligations, the longest overdue first."""
    behind = None if after is None else views.obligation(viewer, after)
    found = views.owed.of(viewer, party, limit=PAGE + 1, after=behind)
    shown = found[:PAGE]
    return BoardColumn(
        party,
        [BoardObligation(one, urgency(one.due, now)) for one in shown],
        views.owed.count(viewer, party, now),
        shown[-1].id if len(found) > PAGE else None,
    )


def marked(views: ViewReader, viewer: str, mark: BoardMark, before: int | None = None) -> Marked:
    """Return a page of the cases that have a mark of the board."""
    found = views.lists.marked(viewer, mark, limit=PAGE + 1, before=before)
    shown = found[:PAGE]
    return Marked(mark, shown, shown[-1].opened_position if len(found) > PAGE else None)


def total(columns: Sequence[BoardColumn]) -> Total:
    """Return the sum of what is overdue, as far as it was counted."""
    return Total(
        sum(min(one.counted.overdue, AT_MOST) for one in columns),
        any(one.counted.overdue > AT_MOST for one in columns),
    )
