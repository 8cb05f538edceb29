"""The start page of an agency: what is due, what came, reminders, flags and new cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import psycopg
import structlog

from api.http.access import Caller
from api.http.desks import (
    DatedStep,
    bound,
    check_case,
    dated_steps,
    desk_of,
    desk_viewer,
    notes_of,
    reminders,
)
from api.node.node import Node
from api.paper.subject_access.wording import Wording
from api.services.arrived import Arrived
from api.web.case_text import Urgency, urgency
from ledger.procedure.protocol import COORDINATOR
from ledger.refusals import Refusal
from ledger.vault.working_notes import WorkingNote
from projections.folds.arrivals import ArrivalSort
from projections.folds.obligations import Obligation
from projections.tables.duty_lists import Duties
from projections.tables.owed_lists import AT_MOST

_log = structlog.get_logger(__name__)
SHOWN = 12
"""Items of a list on the start page."""
SHOWN_ALONE = 200
"""Items of a list that a page has alone."""
_NEW_WITHIN = timedelta(days=30)
_REMINDED_AHEAD = timedelta(days=7)
"""Reminders of so many days from today on are on the start page."""
_IN_THE_CASE = tuple(
    one for one in ArrivalSort if one not in (ArrivalSort.FORM, ArrivalSort.RELEASE)
)
"""The sorts that the page of the case shows. Forms and released fields have pages of their own."""
_ARRIVED = tuple(one for one in ArrivalSort if one is not ArrivalSort.CASE)


@dataclass(frozen=True, slots=True)
class DutyItem:
    """An open obligation, and how near its date is."""

    obligation: Obligation
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class DutySection:
    """A list of duties, and how many there are."""

    duties: Duties
    items: Sequence[DutyItem]
    number: int
    overdue: int

    @property
    def is_least(self) -> bool:
        """Return whether there are more than were counted."""
        return self.number > AT_MOST

    @property
    def has_more(self) -> bool:
        """Return whether the list does not show them all."""
        return self.number > len(self.items)


@dataclass(frozen=True, slots=True)
class ReminderItem:
    """A reminder, and whether its day is over, or today."""

    note: WorkingNote
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Today:
    """Everything of a start page."""

    duties: Sequence[DutySection]
    arrived: Sequence[Arrived]
    """The unread arrivals, without new cases."""
    has_more_arrived: bool
    reminders: Sequence[ReminderItem]
    flagged: Sequence[UUID]
    new_cases: Sequence[Arrived]
    """Of the last 30 days, read and unread."""


def today(node: Node, caller: Caller, now: datetime, words: Wording) -> Today:
    """Return the start page of the caller's agency. Raises ``Refusal`` for a node."""
    desk, agency, viewer = desk_of(caller), caller.agency, desk_viewer(caller)
    shown = [Duties.MINE, *((Duties.COUNTRY,) if agency.role == COORDINATOR else ()), Duties.OTHERS]
    arrived = node.arrived.unread(
        desk, agency, viewer, _ARRIVED, limit=SHOWN + 1, is_bound=bound(caller)
    )
    new = node.arrived.newest(
        desk,
        agency,
        viewer,
        (ArrivalSort.CASE,),
        now,
        within=_NEW_WITHIN,
        limit=SHOWN,
        is_bound=bound(caller),
    )
    has_vault = node.vaults.has(agency.party)
    return Today(
        duties=[duty_section(node, caller, one, now, SHOWN) for one in shown],
        arrived=arrived[:SHOWN],
        has_more_arrived=len(arrived) > SHOWN,
        reminders=reminder_items(node, caller, now, words),
        flagged=notes_of(node, caller).flagged(desk, SHOWN) if has_vault else (),
        new_cases=new,
    )


def duty_section(
    node: Node, caller: Caller, duties: Duties, now: datetime, limit: int
) -> DutySection:
    """Return the first items of a list of duties."""
    found = node.views.duties.of(
        caller.agency, desk_viewer(caller), duties, now, limit=limit, is_bound=bound(caller)
    )
    items = [DutyItem(one, urgency(one.due, now)) for one in found.obligations]
    return DutySection(duties, items, found.number, found.overdue)


def every_arrival(node: Node, caller: Caller) -> Sequence[Arrived]:
    """Return everything that came and is unread, without new cases."""
    return node.arrived.unread(
        desk_of(caller),
        caller.agency,
        desk_viewer(caller),
        _ARRIVED,
        limit=SHOWN_ALONE,
        is_bound=bound(caller),
    )


def reminder_items(
    node: Node, caller: Caller, now: datetime, words: Wording
) -> Sequence[ReminderItem]:
    """Return the open reminders up to a week from today, the earliest first."""
    day = words.local_day(now)
    found = reminders(node, caller, None, day + _REMINDED_AHEAD)
    return [ReminderItem(one, _of_day(one.day or day, day)) for one in found]


def _of_day(day: date, today: date) -> Urgency:
    if day < today:
        return Urgency.LATE
    return Urgency.SOON if day == today else Urgency.LATER


def opened_case(node: Node, caller: Caller, case_id: UUID) -> None:
    """Mark as read what the page of a case shows of what came in the case."""
    _opened(node, caller, case_id, _IN_THE_CASE)


def opened_released(node: Node, caller: Caller, case_id: UUID) -> None:
    """Mark the releases of a case as read: the page of its personal fields was opened."""
    _opened(node, caller, case_id, (ArrivalSort.RELEASE,))


def opened_form(node: Node, caller: Caller, case_id: UUID, action: UUID) -> None:
    """Mark a form as read, if it came to the caller's agency."""
    viewer, is_bound = desk_viewer(caller), bound(caller)
    found = node.arrived.one(
        desk_of(caller), caller.agency, viewer, case_id, action, is_bound=is_bound
    )
    if found is not None and found.is_unread:
        _mark(node, caller, [action])


def is_flagged(node: Node, caller: Caller, case_id: UUID) -> bool:
    """Return whether the caller's agency flagged the case."""
    return case_id in notes_of(node, caller).flagged(desk_of(caller))


def keeps_notes(node: Node, caller: Caller, case_id: UUID) -> bool:
    """Return whether the caller's agency may keep notes on the case here."""
    if not node.vaults.has(caller.agency.party):
        return False
    try:
        check_case(node, caller, case_id)
    except Refusal:
        return False
    return True


def _opened(node: Node, caller: Caller, case_id: UUID, sorts: Sequence[ArrivalSort]) -> None:
    desk = desk_of(caller)
    found = node.arrived.unread(
        desk,
        caller.agency,
        desk_viewer(caller),
        tuple(ArrivalSort),
        case_id=case_id,
        is_bound=bound(caller),
    )
    _mark(node, caller, [one.action_id for one in found if one.sort in sorts])


def _mark(node: Node, caller: Caller, actions: Sequence[UUID]) -> None:
    """Mark actions as read. A page is shown too where nothing can be stored, as on a full disk."""
    try:
        node.arrived.mark(desk_of(caller), actions)
    except psycopg.Error as error:
        _log.warning("a mark of reading is not stored", error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day of the calendar, with its first steps."""

    day: date
    is_of_month: bool
    steps: Sequence[DatedStep]
    further: int
    """How many more steps the day has."""


@dataclass(frozen=True, slots=True)
class CalendarMonth:
    """A month as weeks that begin on Monday."""

    first: date
    weeks: Sequence[Sequence[CalendarDay]]
    number: int
    """The steps of the month."""

    @property
    def before(self) -> date:
        """Return the first day of the month before."""
        return (self.first - timedelta(days=1)).replace(day=1)

    @property
    def after(self) -> date:
        """Return the first day of the following month."""
        return (self.first + timedelta(days=32)).replace(day=1)


_OF_A_DAY = 6


def calendar_month(
    node: Node, caller: Caller, first: date, now: datetime, words: Wording, *, most: int = _OF_A_DAY
) -> CalendarMonth:
    """Return the month that begins on ``first``: what is due for the agency, and its reminders."""
    begin = first - timedelta(days=first.weekday())
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    days = (last + timedelta(days=6 - last.weekday()) - begin).days + 1
    steps: dict[date, list[DatedStep]] = {}
    for one in dated_steps(node, caller, begin, begin + timedelta(days=days - 1), now, words):
        steps.setdefault(one.day, []).append(one)

    def of_day(number: int) -> CalendarDay:
        day = begin + timedelta(days=number)
        found = steps.get(day, [])
        return CalendarDay(day, day.month == first.month, found[:most], len(found[most:]))

    weeks = [[of_day(week + day) for day in range(7)] for week in range(0, days, 7)]
    in_month = sum(len(found) for day, found in steps.items() if day.month == first.month)
    return CalendarMonth(first, weeks, in_month)
