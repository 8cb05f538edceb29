"""For all agencies: the search box, by which a case is found by reference, day, name or number."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.node.node import Node
from api.services.case_search import SearchAnswer
from api.services.search_text import SoughtCase, read_sought
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.cases import PURPOSES, own_case
from api.web.sent_form import form_values
from ledger.procedure.protocol import Operation
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose

router = APIRouter(include_in_schema=False, route_class=PageRoute)
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
    form = await form_values(request)
    purpose = form.get("purpose", [""])[0]
    try:
        return Question(form.get("q", [""])[0], Purpose(purpose) if purpose else None)
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "Choose a purpose.", "purpose") from None


@router.get("/find")
def show_search(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show the search, without an answer."""
    return _answer(request, node, caller, Question("", None), SearchAnswer(None))


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
    zone = Words.of(request).things.zone()
    try:
        answer = _searched(node, caller, asked, zone)
    except Refusal as refusal:
        if refusal.rule not in _TOLD_ON_THE_PAGE:
            raise
        sought = read_sought(asked.text)
        return _answer(request, node, caller, asked, SearchAnswer(sought), refused=refusal.rule)
    if answer.certain is not None:
        return RedirectResponse(f"/cases/{answer.certain}", 303, dict(PAGE_HEADERS))
    return _answer(request, node, caller, asked, answer)


def _searched(node: Node, caller: Caller, asked: Question, zone: str) -> SearchAnswer:
    """Return the answer to a question.

    An international body finds the cases that name it, by their ids alone. Raises ``Refusal``.
    """
    sought = read_sought(asked.text)
    if caller.agency.international and isinstance(sought, SoughtCase):
        try:
            return SearchAnswer(sought, [own_case(node, caller, sought.case_id)])
        except Refusal as refusal:
            if refusal.rule != "unknown-case":
                raise
            return SearchAnswer(sought)
    return node.case_search.find(
        caller.reader, caller.viewer, asked.text, asked.purpose, zone, seen_by=caller.bound_to
    )


def _answer(
    request: Request,
    node: Node,
    caller: Caller,
    asked: Question,
    answer: SearchAnswer,
    *,
    refused: str | None = None,
) -> Response:
    cases = [view.case_id for view in answer.cases]
    return page(
        request,
        "find.html",
        caller,
        typed=asked.text,
        kind=type(answer.sought).__name__,
        sought=answer.sought,
        cases=answer.cases,
        by_number=answer.by_number,
        numbers=node.agency_files.of_listed(caller.agency, cases),
        opened_by=node.views.lists.opened_by(cases),
        persons={one.case_id: one for one in answer.persons},
        searched=answer.searched,
        has_more=answer.has_more,
        purpose=asked.purpose,
        purposes=PURPOSES,
        refused=refused,
        may_search=caller.protocol.allows(caller.agency.role, Operation.READ, FieldGroup.IDENTITY),
    )
