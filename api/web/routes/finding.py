"""For all agencies: the search box, by which a case is found by reference, day, name or number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.node.node import Node
from api.services.person_search import FoundPersons
from api.web.case_filters import start_of
from api.web.errors import PageRoute
from api.web.finding import (
    Sought,
    SoughtCase,
    SoughtDay,
    SoughtPerson,
    SoughtReference,
    read_sought,
)
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.cases import MAX_FORM, PURPOSES, own_case
from ledger.procedure.protocol import Operation
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from projections.folds.case_view import CaseView
from projections.tables.case_lists import CaseFilter, CaseOrder

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_MOST_CASES = 100
"""Cases of one day, or of one reference, that a page shows."""
_TOLD_ON_THE_PAGE = ("access-matrix", "search-too-short", "search-closed")


@dataclass(frozen=True, slots=True)
class Question:
    """The text that a person typed, and the purpose that the person chose."""

    text: str
    purpose: Purpose | None


async def question(request: Request) -> Question:
    """Return the question of a form. It is in the body, so that no address or log has a name.

    Raises ``Refusal``.
    """
    form = parse_qs((await request.body())[:MAX_FORM].decode("ascii", "replace"))
    purpose = form.get("purpose", [""])[0]
    try:
        return Question(form.get("q", [""])[0], Purpose(purpose) if purpose else None)
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "Choose a purpose.", "purpose") from None


@router.get("/find")
def show_search(request: Request, caller: TheCaller) -> Response:
    """Show the search, without an answer."""
    return _answer(request, caller, "", None)


@router.post("/find")
async def find(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[Question, Depends(question)],
) -> Response:
    """Lead to the case that was named, or list the cases of a day or of a person."""
    return await run_in_threadpool(_find, request, node, caller, asked)


def _find(request: Request, node: Node, caller: Caller, asked: Question) -> Response:
    sought = read_sought(asked.text)
    if isinstance(sought, SoughtCase):
        return _case(request, node, caller, asked.text, sought.case_id)
    if isinstance(sought, SoughtReference):
        views = node.views.cases(caller.viewer, limit=_MOST_CASES, reference=sought.reference)
        if len(views) == 1:
            return _redirect(views[0].case_id)
        if views or not sought.may_be_name:
            return _answer(request, caller, asked.text, sought, cases=views)
        sought = SoughtPerson(asked.text)
    if isinstance(sought, SoughtDay):
        zone = Words.of(request).things.zone()
        only = CaseFilter(
            opened_from=start_of(sought.day, zone),
            opened_before=start_of(sought.day + timedelta(days=1), zone),
        )
        views, following = node.views.lists.in_order(
            caller.viewer, CaseOrder.NEWEST, limit=_MOST_CASES, only=only
        )
        return _answer(
            request, caller, asked.text, sought, cases=views, has_more=following is not None
        )
    if isinstance(sought, SoughtPerson) and asked.purpose is not None:
        return _person(request, node, caller, sought, asked.purpose)
    return _answer(request, caller, asked.text, sought)


def _case(request: Request, node: Node, caller: Caller, typed: str, case_id: UUID) -> Response:
    try:
        own_case(node, caller, case_id)
    except Refusal as refusal:
        if refusal.rule != "unknown-case":
            raise
        return _answer(request, caller, typed, SoughtCase(case_id))
    return _redirect(case_id)


def _redirect(case_id: UUID) -> Response:
    return RedirectResponse(f"/cases/{case_id}", 303, dict(PAGE_HEADERS))


def _person(
    request: Request, node: Node, caller: Caller, sought: SoughtPerson, purpose: Purpose
) -> Response:
    viewer = caller.viewer
    try:
        found = node.finding.find(caller.reader, sought.text, purpose)
    except Refusal as refusal:
        if refusal.rule not in _TOLD_ON_THE_PAGE:
            raise
        return _answer(request, caller, sought.text, sought, purpose=purpose, refused=refusal.rule)
    views = {one.case_id: node.views.case(viewer, one.case_id) for one in found.persons}
    return _answer(
        request,
        caller,
        sought.text,
        sought,
        purpose=purpose,
        found=found,
        cases=[view for view in views.values() if view is not None],
    )


def _answer(
    request: Request,
    caller: Caller,
    typed: str,
    sought: Sought | None,
    *,
    cases: Sequence[CaseView] = (),
    found: FoundPersons | None = None,
    has_more: bool = False,
    purpose: Purpose | None = None,
    refused: str | None = None,
) -> Response:
    persons = {one.case_id: one for one in found.persons} if found is not None else {}
    return page(
        request,
        "find.html",
        caller,
        typed=typed,
        kind=type(sought).__name__,
        sought=sought,
        cases=cases,
        persons=persons,
        searched=found is not None,
        has_more=has_more or (found is not None and found.has_more),
        purpose=purpose,
        purposes=PURPOSES,
        refused=refused,
        may_search=caller.protocol.allows(caller.agency.role, Operation.READ, FieldGroup.IDENTITY),
    )
