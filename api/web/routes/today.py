"""The start page, the calendar, and an agency's notes, reminders and flags."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from babel.dates import format_skeleton, get_day_names
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.http.assigning import NOBODY, Expected, assign, unassign
from api.http.desks import add_note, check_case, desk_of, notes_of
from api.http.parameters import AtLeast, CaseId, is_own_path, wait_for
from api.http.routes.desk import calendar_of
from api.node.node import Node
from api.notifying.mail_choices import Duties as ToldOf
from api.notifying.mail_choices import MailChoice
from api.paper.calendar_file import MEDIA_TYPE
from api.paper.languages.found import offered
from api.paper.subject_access.wording import Wording
from api.runtime.readiness import check_may_record
from api.services.search_text import read_day
from api.web.assignments import active_members, assigns
from api.web.case_text import names
from api.web.drafts import draft_lists
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.cases import own_case
from api.web.sent_form import form_values
from api.web.today import (
    SHOWN_ALONE,
    calendar_month,
    duty_section,
    every_arrival,
    is_flagged,
    today,
)
from ledger.procedure.protocol import COORDINATOR
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.working_notes import MOST_CHARACTERS
from projections.tables.duty_lists import Duties

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_MAX_FORM = 40_000
"""Bytes: a note of the most characters, encoded for a form."""
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_VIEWS = ("obligations", "audit_trail", "case_views")


_ASSIGNMENT_RULES = (
    "same-member",
    "unknown-member",
    "member-disabled",
    "assigns",
    "assigned-meanwhile",
)


@dataclass(frozen=True, slots=True)
class DeskForm:
    """The fields of a form of an agency's desk."""

    text: str = ""
    day: str = ""
    done: str = ""
    return_to: str = "/today"
    position: str = ""
    member: str = ""
    deputy: str = ""
    expected: str = ""


async def desk_form(request: Request) -> DeskForm:
    """Return the values of a form. A path that is not of this node becomes the start page."""
    sent = await form_values(request, _MAX_FORM)
    found = {name: values[0] for name, values in sent.items()}
    back = found.get("return_to", "/today")
    return DeskForm(
        found.get("text", ""),
        found.get("day", ""),
        found.get("do", ""),
        back if is_own_path(back) else "/today",
        found.get("position", ""),
        found.get("member", ""),
        found.get("deputy", ""),
        found.get("expected", ""),
    )


TheForm = Annotated[DeskForm, Depends(desk_form)]


@router.get("/today")
def show_today(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    show: Annotated[str | None, Query(pattern="^(mine|country|others|arrived)$")] = None,
    at_least: AtLeast = None,
) -> Response:
    """Show what is due, what came and is unread, reminders, flags and new cases.

    With ``show`` the page has one list alone.
    """
    for view in _VIEWS:
        wait_for(node, view, at_least)
    words, now = Words.of(request).things, clock.now()
    # Taken before the lists: what comes meanwhile is not marked as read unseen.
    position = min(node.views.position(view) for view in _VIEWS)
    alone: dict[str, object] = {}
    if show == "arrived":
        alone["arrived"] = every_arrival(node, caller)
    elif show is not None:
        duties = Duties(show)
        if duties is Duties.COUNTRY and caller.agency.role != COORDINATOR:
            raise Refusal(Ground.NOT_ALLOWED, "coordinators-only", "This is for coordinators.")
        alone["duties"] = duty_section(node, caller, duties, now, SHOWN_ALONE)
    return page(
        request,
        "today.html",
        caller,
        today=today(node, caller, now, words) if show is None else None,
        approvals=draft_lists(node, caller),
        show=show,
        alone=alone,
        kinds={kind: words.kind(kind) for kind in caller.protocol.actions},
        named=names(caller.protocol, (), words),
        position=position,
        day=words.local_day(now),
    )


@router.post("/today/read")
def mark_all_read(node: TheNode, caller: TheCaller, sent: TheForm) -> Response:
    """Mark all that came up to the position of the page as read."""
    if not sent.position.isdecimal() or not 0 <= int(sent.position) <= node.ledger.head():
        raise Refusal(Ground.INVALID, "request", "There is no such position.", "position")
    node.arrived.mark_all(desk_of(caller), int(sent.position))
    return _back(sent.return_to)


@router.get("/today/calendar")
def show_calendar(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    month: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}$")] = None,
) -> Response:
    """Show a month: what is due for the agency, and its reminders."""
    words, now = Words.of(request).things, clock.now()
    first = _month(month) if month is not None else words.local_day(now).replace(day=1)
    return page(
        request,
        "calendar.html",
        caller,
        month=calendar_month(node, caller, first, now, words),
        title=format_skeleton("yMMMM", first, locale=words.locale_name),
        weekdays=_weekdays(words),
        day=words.local_day(now),
    )


@router.get("/today/calendar.ics")
def save_calendar(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Save what is due for the agency, and its reminders, as a calendar file."""
    made = calendar_of(node, caller, Words.of(request).things)
    headers = {**PAGE_HEADERS, "Content-Disposition": 'attachment; filename="case-ledger.ics"'}
    return Response(made, headers=headers, media_type=MEDIA_TYPE)


@router.get("/today/mail")
def show_mail(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show the e-mails that the agency chose."""
    agency = desk_of(caller).agency
    return page(
        request,
        "mail.html",
        caller,
        choice=node.mail_choices.every().get(agency) or MailChoice(ToldOf.DIGEST, urgent=True),
        has_address=agency in node.mailed,
        ways=list(ToldOf),
        hour=f"{node.settings.digest_hour}:00",
    )


@router.post("/today/mail")
async def choose_mail(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Keep the e-mails that the agency chose."""
    sent = await form_values(request, _MAX_FORM)
    desk = desk_of(caller)
    language = sent.get("in_language", [""])[0]
    if language and language not in {one.code for one in offered(caller.protocol)}:
        raise Refusal(Ground.INVALID, "request", "There is no such language here.", "in_language")
    try:
        duties = ToldOf(sent.get("duties", [""])[0])
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "Choose one of the ways.", "duties") from None
    choice = MailChoice(duties, "urgent" in sent, language or None)
    await run_in_threadpool(node.mail_choices.choose, desk.agency, choice)
    return _back("/today/mail")


@router.get("/cases/{case_id}/notes")
def show_notes(request: Request, node: TheNode, caller: TheCaller, case_id: CaseId) -> Response:
    """Show the agency's notes and reminders on a case, and the forms to keep more."""
    return _notes(request, node, caller, case_id)


@router.post("/cases/{case_id}/notes")
async def keep_note(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, sent: TheForm
) -> Response:
    """Keep a note, or the reminder of a day. A refusal keeps what was typed."""
    return await run_in_threadpool(_keep, request, node, caller, case_id, sent)


@router.post("/cases/{case_id}/notes/{note_id}")
def change_note(
    node: TheNode, caller: TheCaller, case_id: CaseId, note_id: UUID, sent: TheForm
) -> Response:
    """Mark a reminder as done, or remove a note. One that is gone already is as it should be."""
    check_case(node, caller, case_id)
    notes, desk = notes_of(node, caller), desk_of(caller)
    if sent.done == "done":
        notes.mark_done(desk, note_id)
    elif sent.done == "remove":
        notes.remove(desk, note_id)
    else:
        raise Refusal(Ground.INVALID, "request", "Choose what to do with the note.", "do")
    return _back(sent.return_to)


@router.post("/cases/{case_id}/assignment")
def change_assignment(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, sent: TheForm
) -> Response:
    """Assign a case to a member, or to nobody. A refusal is said on the page."""
    try:
        if sent.member:
            deputy = _deputy(sent.deputy)
            assign(node, caller, case_id, _member(sent.member), deputy, _expected(sent.expected))
        else:
            unassign(node, caller, case_id, _expected(sent.expected))
    except Refusal as refusal:
        if refusal.rule not in _ASSIGNMENT_RULES:
            raise
        return _notes(request, node, caller, case_id, refused=refusal.rule)
    return _back(f"/cases/{case_id}/notes")


def _member(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "There is no such member.", "member") from None


def _deputy(text: str) -> UUID | None:
    return _member(text) if text else None


def _expected(text: str) -> Expected | None:
    return NOBODY if text == NOBODY else _deputy(text)


@router.post("/cases/{case_id}/flag")
def change_flag(node: TheNode, caller: TheCaller, case_id: CaseId, sent: TheForm) -> Response:
    """Flag a case for the agency, or take the flag off."""
    check_case(node, caller, case_id)
    notes, desk = notes_of(node, caller), desk_of(caller)
    if sent.done == "flag":
        check_may_record(node.room.look())
        notes.flag(desk, case_id)
    elif sent.done == "unflag":
        notes.unflag(desk, case_id)
    else:
        raise Refusal(Ground.INVALID, "request", "Choose what to do with the flag.", "do")
    return _back(sent.return_to)


def _keep(request: Request, node: Node, caller: Caller, case_id: UUID, sent: DeskForm) -> Response:
    """Keep a note, or a reminder if a day was typed, and lead back; or show the fault."""
    day: date | None = None
    if sent.day.strip():
        day = read_day(sent.day)
        if day is None:
            return _notes(request, node, caller, case_id, wrong="day", sent=sent)
    if not sent.text.strip() or len(sent.text.strip()) > MOST_CHARACTERS:
        return _notes(request, node, caller, case_id, wrong="text", sent=sent)
    add_note(node, caller, case_id, sent.text, day)
    return _back(f"/cases/{case_id}/notes")


def _notes(
    request: Request,
    node: Node,
    caller: Caller,
    case_id: UUID,
    *,
    wrong: str | None = None,
    refused: str | None = None,
    sent: DeskForm | None = None,
) -> Response:
    view = own_case(node, caller, case_id)
    notes = notes_of(node, caller)
    check_case(node, caller, case_id)
    found = notes.of_case(desk_of(caller), case_id)
    return page(
        request,
        "notes.html",
        caller,
        status=_status(wrong, refused),
        case=view,
        notes=[one for one in found if one.day is None],
        reminders=sorted(
            (one for one in found if one.day is not None),
            key=lambda one: (one.done_at is not None, one.day),
        ),
        flagged=is_flagged(node, caller, case_id),
        members=[
            (one.details.name if one.details is not None else str(one.id)[:8], str(one.id))
            for one in (active_members(node, caller) if assigns(node, caller) else ())
        ],
        refused=refused,
        wrong=wrong,
        sent=sent or DeskForm(),
        most=MOST_CHARACTERS,
        day=Words.of(request).things.local_day(clock.now()),
    )


def _status(wrong: str | None, refused: str | None) -> int:
    if refused == "assigned-meanwhile":
        return 409
    return 200 if wrong is None and refused is None else 422


def _back(path: str) -> Response:
    return RedirectResponse(path, 303, dict(PAGE_HEADERS))


def _month(text: str) -> date:
    found = _MONTH.fullmatch(text)
    year, month = (int(found[1]), int(found[2])) if found else (0, 0)
    if not _FIRST_YEAR <= year <= _LAST_YEAR or not 1 <= month <= 12:
        raise Refusal(Ground.INVALID, "request", "There is no such month here.", "month")
    return date(year, month, 1)


def _weekdays(words: Wording) -> Sequence[tuple[str, str]]:
    """Return the short and the long names of the days of a week, from Monday on."""
    short = get_day_names("abbreviated", "stand-alone", locale=words.locale_name)
    long = get_day_names("wide", "stand-alone", locale=words.locale_name)
    return [(str(short[day]), str(long[day])) for day in range(7)]
