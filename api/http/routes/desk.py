"""An agency's own desk: duties, arrivals with marks of reading, notes, reminders and flags."""

from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response

from api.client.schemas import (
    ArrivalDocument,
    ArrivalPage,
    DutyPage,
    FlagPage,
    NewNote,
    NoteDocument,
    NotePage,
    ReadUpto,
)
from api.http.access import Caller, TheCaller, TheNode, viewer_of_case
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.desks import (
    add_note,
    bound,
    calendar_entries,
    check_case,
    dated_steps,
    desk_of,
    desk_viewer,
    notes_of,
    reminders,
)
from api.http.error_handlers import responses
from api.http.parameters import AtLeast, CaseId, wait_for
from api.node.node import Node
from api.paper.calendar_file import MEDIA_TYPE, calendar_file
from api.paper.languages.found import offered
from api.paper.subject_access.wording import Wording, wording
from api.runtime.readiness import check_may_record
from api.services.arrived import MOST, Arrived
from ledger.procedure.protocol import COORDINATOR
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.working_notes import WorkingNote
from projections.folds.arrivals import ArrivalSort
from projections.tables.duty_lists import Duties

router = APIRouter(prefix="/v1", tags=["desk"], route_class=DeclaredParametersRoute)
CALENDAR_BEFORE, CALENDAR_AFTER = timedelta(days=90), timedelta(days=400)
"""The days of a calendar, before today and from today on."""
NoteId = Annotated[UUID, Path(description="The note's or the reminder's id")]
ActionId = Annotated[UUID, Path(description="The action's id")]
_READ = responses(401, 403, 409, 422, 503)
_WRITE = responses(400, 401, 403, 404, 409, 413, 422, 503, 507)
_NO_BODY = responses(401, 403, 404, 409, 422, 503, 507)


@router.get("/duties", response_model=DutyPage, responses=_READ)
def list_duties(
    node: TheNode,
    caller: TheCaller,
    owed: Annotated[
        Duties,
        Query(description="By the agency itself; by its country's others; or by others to it"),
    ] = Duties.MINE,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    at_least: AtLeast = None,
) -> DutyPage:
    """List open obligations of one side, the longest overdue first.

    Those of the country's other agencies are for coordinators.
    """
    viewer = desk_viewer(caller)
    if owed is Duties.COUNTRY and caller.agency.role != COORDINATOR:
        raise Refusal(Ground.NOT_ALLOWED, "coordinators-only", "This is for coordinators.")
    wait_for(node, "obligations", at_least)
    found = node.views.duties.of(
        caller.agency, viewer, owed, clock.now(), limit=limit, is_bound=bound(caller)
    )
    return DutyPage(
        obligations=tuple(found.obligations), number=found.number, overdue=found.overdue
    )


@router.get("/arrivals", response_model=ArrivalPage, responses=_READ)
def list_arrivals(
    node: TheNode,
    caller: TheCaller,
    sort: Annotated[list[ArrivalSort] | None, Query(description="Only these sorts")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    at_least: AtLeast = None,
) -> ArrivalPage:
    """List what came to the agency from others and is unread, the newest first."""
    viewer = desk_viewer(caller)
    wait_for(node, "audit_trail", at_least)
    found = node.arrived.unread(
        desk_of(caller),
        caller.agency,
        viewer,
        sort or tuple(ArrivalSort),
        limit=limit,
        is_bound=bound(caller),
    )
    return ArrivalPage(arrivals=tuple(map(_arrival, found)))


@router.put("/cases/{case_id}/arrivals/{action_id}/read", status_code=204, responses=_NO_BODY)
def mark_read(node: TheNode, caller: TheCaller, case_id: CaseId, action_id: ActionId) -> Response:
    """Mark an action that came to the agency as read. Repeating it is harmless."""
    viewer = desk_viewer(caller)
    found = node.arrived.one(
        desk_of(caller), caller.agency, viewer, case_id, action_id, is_bound=bound(caller)
    )
    if found is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-arrival", "No such action of this case came to this agency."
        )
    node.arrived.mark(desk_of(caller), [action_id])
    return Response(status_code=204)


@router.put("/arrivals/read", status_code=204, responses=_WRITE)
def mark_all_read(node: TheNode, caller: TheCaller, read: Annotated[ReadUpto, Body()]) -> Response:
    """Mark all that came to the agency up to a position as read."""
    desk = desk_of(caller)
    if read.upto > node.ledger.head():
        raise Refusal(
            Ground.INVALID, "unknown-position", f"No event has position {read.upto} yet.", "upto"
        )
    node.arrived.mark_all(desk, read.upto)
    return Response(status_code=204)


@router.get("/cases/{case_id}/notes", response_model=NotePage, responses=_NO_BODY)
def list_notes(node: TheNode, caller: TheCaller, case_id: CaseId) -> NotePage:
    """List the agency's own notes and reminders on a case, the newest first."""
    notes = notes_of(node, caller)
    check_case(node, caller, case_id)
    return NotePage(notes=tuple(map(_note, notes.of_case(desk_of(caller), case_id))))


@router.post(
    "/cases/{case_id}/notes", status_code=201, response_model=NoteDocument, responses=_WRITE
)
def keep_note(
    node: TheNode, caller: TheCaller, case_id: CaseId, note: Annotated[NewNote, Body()]
) -> NoteDocument:
    """Keep a note of the agency on a case; with a day, a reminder of that day.

    It stays in the vault of the agency's country, for this agency alone, until it is removed or the
    person is erased.
    """
    return _note(add_note(node, caller, case_id, note.text, note.day))


@router.get("/reminders", response_model=NotePage, responses=_READ)
def list_reminders(
    node: TheNode,
    caller: TheCaller,
    first: Annotated[date | None, Query(description="Without it: from the earliest on")] = None,
    last: date = date.max,
) -> NotePage:
    """List the agency's open reminders of some days, the earliest first."""
    notes_of(node, caller)
    return NotePage(notes=tuple(map(_note, reminders(node, caller, first, last))))


@router.post("/notes/{note_id}/done", status_code=204, responses=_NO_BODY)
def finish_reminder(node: TheNode, caller: TheCaller, note_id: NoteId) -> Response:
    """Mark a reminder of the agency as done."""
    if not notes_of(node, caller).mark_done(desk_of(caller), note_id):
        raise _unknown_note("There is no open reminder of this agency with this id.")
    return Response(status_code=204)


@router.delete("/notes/{note_id}", status_code=204, responses=_NO_BODY)
def remove_note(node: TheNode, caller: TheCaller, note_id: NoteId) -> Response:
    """Remove a note or a reminder of the agency."""
    if not notes_of(node, caller).remove(desk_of(caller), note_id):
        raise _unknown_note("There is no note of this agency with this id.")
    return Response(status_code=204)


@router.get("/flags", response_model=FlagPage, responses=_READ)
def list_flags(node: TheNode, caller: TheCaller) -> FlagPage:
    """List the cases that the agency flagged, the last flagged first."""
    return FlagPage(cases=tuple(notes_of(node, caller).flagged(desk_of(caller))))


@router.put("/cases/{case_id}/flag", status_code=204, responses=_NO_BODY)
def flag_case(node: TheNode, caller: TheCaller, case_id: CaseId) -> Response:
    """Flag a case for the agency. Repeating it is harmless."""
    notes = notes_of(node, caller)
    check_case(node, caller, case_id)
    check_may_record(node.room.look())
    notes.flag(desk_of(caller), case_id)
    return Response(status_code=204)


@router.delete("/cases/{case_id}/flag", status_code=204, responses=_NO_BODY)
def unflag_case(node: TheNode, caller: TheCaller, case_id: CaseId) -> Response:
    """Take the agency's flag off a case. Repeating it is harmless."""
    viewer_of_case(node, caller, case_id)
    notes_of(node, caller).unflag(desk_of(caller), case_id)
    return Response(status_code=204)


@router.get(
    "/calendar.ics",
    response_class=Response,
    responses={**_READ, 200: {"content": {"text/calendar": {"schema": {"type": "string"}}}}},
)
def calendar(
    node: TheNode,
    caller: TheCaller,
    language: Annotated[
        str | None,
        Query(pattern="^[A-Za-z-]{2,16}$", description="Without it: that of the agency's country"),
    ] = None,
) -> Response:
    """Return what is due for the agency, and its reminders, as iCalendar.

    An entry has the case's reference, the kind of step and the day. It has no text of a reminder.
    """
    words = _words(caller, language)
    return Response(calendar_of(node, caller, words), media_type=MEDIA_TYPE)


def calendar_of(node: Node, caller: Caller, words: Wording) -> bytes:
    """Return the calendar file of the caller's agency."""
    now = clock.now()
    today = words.local_day(now)
    first, last = today - CALENDAR_BEFORE, today + CALENDAR_AFTER
    entries = calendar_entries(dated_steps(node, caller, first, last, now, words), words)
    name = words.text("calendar.name")
    mark = words.practice_mark
    return calendar_file(entries, name if mark is None else f"{mark}. {name}", now)


def _words(caller: Caller, language: str | None) -> Wording:
    protocol, party = caller.protocol, caller.agency.party
    known = [one.code for one in offered(protocol)]
    if language is not None and language not in known:
        raise Refusal(
            Ground.INVALID,
            "language",
            f"There are no texts in this language here. Choose one of {', '.join(known)}.",
            "language",
        )
    of_party = next((one.language for one in protocol.parties if one.code == party), None)
    chosen = language or (of_party if of_party in known else known[0])
    return wording(chosen, protocol, party)


def _note(note: WorkingNote) -> NoteDocument:
    return NoteDocument(
        id=note.id,
        case_id=note.case_id,
        day=note.day,
        text=note.text,
        written_at=note.written_at,
        done_at=note.done_at,
    )


def _arrival(one: Arrived) -> ArrivalDocument:
    return ArrivalDocument(
        case_id=one.case_id,
        action_id=one.action_id,
        position=one.position,
        sort=one.sort,
        kind=one.kind,
        agency=one.agency,
        country=one.party or None,
        recorded_at=one.recorded_at,
        form_number=one.form_number,
    )


def _unknown_note(why: str) -> Refusal:
    return Refusal(Ground.UNKNOWN, "unknown-note", why)
