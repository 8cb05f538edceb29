"""The meeting of two countries' teams: its agenda, each case in turn, and what was recorded."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from api.http.access import Caller, TheCaller, TheNode
from api.http.costly import Costly
from api.http.parameters import AtLeast, CaseId, wait_for
from api.http.routes.personal import trail_of
from api.node.node import Node
from api.paper.subject_access.wording import Wording
from api.web.case_text import names, rows, urgency
from api.web.document_form import files_of_form, own_document
from api.web.drafts import drafts_in
from api.web.errors import PageRoute
from api.web.forms import is_long
from api.web.meeting import CARRIED, address, draft, owing, recorded, recordings
from api.web.minutes import may_sign, minutes
from api.web.printing_meeting import print_sitting
from api.web.rendering import Words, page, printed
from api.web.routes.acts import recorded_case
from api.web.routes.cases import case_fields
from api.web.timeline import handovers
from ledger.procedure.available_actions import offers
from ledger.procedure.parties_of_time import parties_between
from ledger.procedure.time_zones import beginning_of_day, zone_of
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.types import Country, UtcDatetime
from projections.tables.meeting import Meeting, SharedCase, next_case

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Since = Annotated[UtcDatetime | None, Query()]
_AT_MOST = 50
"""Open cases that a page has, of those that were not discussed yet."""
_COUNTED = 500
"""Counting the cases that are shared ends here."""
_LAST = 6
"""How many of a case's actions its page tells of."""


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The countries in a meeting's address, and the person who asks."""

    node: Node
    caller: Caller
    sitting: Meeting
    at_least: int | None

    def agenda(self, also: UUID | None = None) -> tuple[tuple[SharedCase, ...], int]:
        """Return the agenda, and the position up to which it is certain."""
        views = ("case_views", "obligations", "audit_trail")
        for view in views:
            wait_for(self.node, view, self.at_least)
        position = min(self.node.views.position(view) for view in views)
        agreement = self.caller.registry.agreement
        found = self.node.views.sitting(self.sitting, agreement, limit=_AT_MOST, also=also)
        return found, position


def the_meeting(
    node: TheNode,
    caller: TheCaller,
    country: Country,
    since: Since = None,
    at_least: AtLeast = None,
) -> _Meeting:
    """Return the sitting with a country: since a moment, or since the day began at local time.

    Raises ``Refusal`` if the caller is no coordinator, or if the country is no other country of the
    protocol.
    """
    own, begun = caller.agency.party, since or _day_of(_now(), caller)
    if country == own or country not in parties_between(
        caller.registry.agreement, begun, max(begun, _now())
    ):
        raise Refusal(
            Ground.UNKNOWN,
            "no-such-resource",
            "This is no other country of the protocol, at the time of the sitting or since.",
        )
    return _Meeting(node, caller, Meeting(own, country, begun), at_least)


TheMeeting = Annotated[_Meeting, Depends(the_meeting)]


@router.get("/meeting")
def choose_country(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show the countries to meet with: those with which open cases are shared."""
    own, now = caller.agency.party, _now()
    others = caller.protocol.party_codes - {own}
    shared = node.views.shared_with(own, others, limit=_COUNTED + 1)
    return page(
        request,
        "meeting.html",
        caller,
        countries=[
            (address(Meeting(own, other, _day_of(now, caller))), other, cases)
            for other, cases in shared.items()
        ],
        counted=_COUNTED,
    )


@router.get("/meeting/{country}")
def show_agenda(request: Request, meeting: TheMeeting) -> Response:
    """Show the open cases that both countries are party to, in the order to go through them."""
    caller, sitting = meeting.caller, meeting.sitting
    cases, position = meeting.agenda()
    now, words = _now(), Words.of(request)
    left = [one for one in cases if one.is_open and not one.discussed]
    return page(
        request,
        "meeting_agenda.html",
        caller,
        sitting=sitting,
        at=partial(address, sitting),
        cases=[
            (one, [owing(party, one.owed_by(party), now) for party in (sitting.own, sitting.other)])
            for one in cases
        ],
        discussed=sum(one.discussed for one in cases),
        left=len(left),
        first=left[0] if left else None,
        named=names(caller.protocol, (), words.things),
        urgency=urgency,
        end_of=partial(_end_of, Words.of(request).things),
        position=position,
        full=len(left) >= _AT_MOST,
    )


@router.get("/meeting/{country}/summary")
def show_summary(request: Request, meeting: TheMeeting) -> Response:
    """Show the actions on each case in the sitting, and the cases that were not reached."""
    caller, sitting = meeting.caller, meeting.sitting
    cases, position = meeting.agenda()
    words = Words.of(request).things
    named = names(caller.protocol, (), words)
    return page(
        request,
        "meeting_summary.html",
        caller,
        sitting=sitting,
        at=partial(address, sitting),
        discussed=[(one, recorded(one.recorded, named, words)) for one in cases if one.discussed],
        left=[one for one in cases if not one.discussed],
        position=position,
    )


@router.get("/meeting/{country}/summary.pdf")
async def print_summary(request: Request, meeting: TheMeeting) -> Response:
    """Print the summary of the sitting."""
    costly: Costly = request.app.state.costly
    return await costly.run(meeting.caller.agency.id, _printed_summary, request, meeting)


def _printed_summary(request: Request, meeting: _Meeting) -> Response:
    caller, sitting = meeting.caller, meeting.sitting
    cases, position = meeting.agenda()
    content = print_sitting(caller, sitting, cases, position, Words.of(request), _now())
    return printed(content, "meeting-summary")


@router.get("/meeting/{country}/{case_id}")
def show_case(request: Request, meeting: TheMeeting, case_id: CaseId) -> Response:
    """Show one case: all that the teams need to discuss it, and the forms for their agreements."""
    node, caller, sitting = meeting.node, meeting.caller, meeting.sitting
    cases, position = meeting.agenda(case_id)
    shared = _shared(cases, case_id)
    protocol, words, now = caller.protocol, Words.of(request), _now()
    case, trail = recorded_case(node, case_id), trail_of(node, caller, case_id)
    held = case_fields(node, caller, case_id)
    told = rows(
        trail,
        held,
        dict(handovers(trail)),
        caller.registry.agreement,
        words.things,
    )
    offered = offers(case.state, case.history, caller.agency, protocol, now, caller.key_id or "")
    named = names(protocol, trail, words.things)
    return page(
        request,
        "meeting_case.html",
        caller,
        sitting=sitting,
        at=partial(address, sitting),
        shared=shared,
        case=shared.view,
        number=cases.index(shared) + 1,
        total=len(cases),
        next_one=next_case(cases, case_id),
        owed=[(party, shared.owed_by(party)) for party in (sitting.own, sitting.other)],
        recorded=recorded(shared.recorded, named, words.things),
        case_drafts=drafts_in(node, caller, case_id),
        rows=told[: -_LAST - 1 : -1],
        forms=recordings(sitting, offered, shared.discussed, protocol, words),
        case_id=case_id,
        version=shared.view.version,
        protocol=protocol.id,
        is_long=is_long,
        draft=draft(sitting, caller.agency.id),
        carried=" ".join(CARRIED),
        minutes=minutes(node, caller, case_id, held),
        files=files_of_form(node, caller, case, words),
        own_document=own_document,
        may_sign=partial(may_sign, caller),
        named=named,
        urgency=urgency,
        end_of=partial(_end_of, Words.of(request).things),
        position=position,
    )


def _shared(cases: tuple[SharedCase, ...], case_id: UUID) -> SharedCase:
    found = next((one for one in cases if one.view.case_id == case_id), None)
    if found is None:
        raise Refusal(Ground.UNKNOWN, "unknown-case", "The two countries share no such open case.")
    return found


def _now() -> datetime:
    return clock.now()


def _day_of(moment: datetime, caller: Caller) -> datetime:
    """Return when the day of a moment began, at the local time of the caller's country."""
    return beginning_of_day(moment, zone_of(caller.protocol, caller.agency.party))


def _end_of(words: Wording, day: str | None) -> datetime | None:
    """Return the end of a day on which something is due, for the reader's country."""
    return None if day is None else words.end_of_due_day(date.fromisoformat(day))
