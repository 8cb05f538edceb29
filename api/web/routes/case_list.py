"""The list of cases: filtered, in an order, a page at a time, and as a file for a spreadsheet."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.http.access import Caller, TheCaller, TheNode
from api.http.parameters import AtLeast, wait_for
from api.node.node import Node
from api.web.assignments import active_members, assigned, assigns, with_assignment
from api.web.case_filters import CHOICES, MOST_CHARACTERS, ListChoice, as_text
from api.web.case_table import MOST_ROWS, ListedCase, as_csv, as_xlsx, case_table
from api.web.case_text import dues
from api.web.date_entry import EARLIEST, LATEST, TypedDate
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.cases import PURPOSES
from api.web.sent_form import form_values
from ledger.procedure.protocol import NODE, Operation
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.saved_filters import MOST_CHARACTERS as MOST_CHARACTERS_OF_NAME
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import AgeGroup, CaseStatus, Purpose, Stage
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView
from projections.tables.case_lists import CaseFilter, CaseOrder, PageCursor

router = APIRouter(include_in_schema=False, route_class=PageRoute)
PAGE = 50
"""Cases on a page."""
_STEP = 500
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Choice = Annotated[str, Query(max_length=MOST_CHARACTERS)]
Show = Annotated[str, Query(pattern="^(due|all)$")]
Place = Annotated[str | None, Query(max_length=100, pattern=r"^[0-9.-]+$")]


def _choice(
    order: Choice = "",
    status: Choice = "",
    stage: Choice = "",
    country: Choice = "",
    step: Choice = "",
    agency: Choice = "",
    age_group: Choice = "",
    assigned_to: Annotated[str, Query(alias="assigned", max_length=MOST_CHARACTERS)] = "",
    opened_from: Choice = "",
    opened_from_day: Choice = "",
    opened_from_month: Choice = "",
    opened_from_year: Choice = "",
    opened_to: Choice = "",
    opened_to_day: Choice = "",
    opened_to_month: Choice = "",
    opened_to_year: Choice = "",
) -> ListChoice:
    """Return what a reader chose, without spaces around it.

    A date is in three fields, as the form has it, or in one, as links have it.
    """
    first = TypedDate(opened_from_day, opened_from_month, opened_from_year)
    last = TypedDate(opened_to_day, opened_to_month, opened_to_year)
    days = (as_text(first, opened_from), as_text(last, opened_to))
    chosen = (order, status, stage, country, step, agency, age_group, assigned_to, *days)
    return ListChoice(**dict(zip(CHOICES, map(str.strip, chosen), strict=True)))


TheChoice = Annotated[ListChoice, Depends(_choice)]


async def chosen_purpose(request: Request) -> Purpose:
    """Return the purpose of a form. Raises ``Refusal``."""
    form = await form_values(request)
    try:
        return Purpose(form.get("purpose", [""])[0])
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "Choose a purpose.", "purpose") from None


@router.get("/cases")
def list_cases(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    choice: TheChoice,
    after: Place = None,
    show: Show = "due",
    at_least: AtLeast = None,
) -> Response:
    """List the cases of the caller's country: those in which something is due, or all.

    ``at_least``: the position of a later event, which a page asks for when a stream announces it.
    """
    wait_for(node, "case_views", at_least)
    return _list(request, node, caller, choice, after, show)


@router.post("/cases")
async def list_with_names(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    choice: TheChoice,
    purpose: Annotated[Purpose, Depends(chosen_purpose)],
    after: Place = None,
    show: Show = "due",
) -> Response:
    """List the same cases with the names that the caller may read. Each is written down."""
    return await run_in_threadpool(_list, request, node, caller, choice, after, show, purpose)


def _list(
    request: Request,
    node: Node,
    caller: Caller,
    choice: ListChoice,
    after: str | None,
    show: str,
    purpose: Purpose | None = None,
) -> Response:
    viewer, now, protocol = caller.viewer, clock.now(), caller.protocol
    words = Words.of(request).things
    due_only = show == "due" and viewer != OVERSIGHT_VIEWER
    position = node.views.position("case_views")
    cases: list[CaseView] = []
    following: str | None = None
    if not choice.wrong:
        only = choice.case_filter(words.zone())
        cases, following = _page(node, caller, choice, only, after, due_only=due_only, limit=PAGE)
    ids = [view.case_id for view in cases]
    names, refused = None, None
    if purpose is not None:
        try:
            names = node.finding.names(caller.reader, ids, purpose)
        except Refusal as refusal:
            if refusal.rule != "access-matrix":
                raise
            refused = refusal.rule
    has_vault = node.vaults.has(caller.agency.party)
    saved = node.vaults.of(caller.agency.party).saved_filters if has_vault else None
    return page(
        request, "cases.html", caller, show="due" if due_only else "all", position=position,
        cases=[(view, dues(view, caller.agency, protocol, now)) for view in cases],
        after=after, following=following, choice=choice, orders=list(CaseOrder),
        statuses=list(CaseStatus), stages=list(Stage), age_groups=list(AgeGroup),
        kinds=sorted(
            (words.owed(one), one)
            for one in node.views.lists.expected_kinds(viewer, seen_by=caller.bound_to)
        ),
        agencies=sorted(
            (words.agency(one), one.id)
            for one in protocol.agencies
            if one.role != NODE and not one.international
        ),
        members=[
            (one.details.name if one.details is not None else str(one.id)[:8], str(one.id))
            for one in active_members(node, caller)
        ]
        if assigns(node, caller)
        else None,
        assigned=assigned(node, caller, ids),
        countries=sorted((words.country(one.code), one.code) for one in protocol.parties),
        bounds=(EARLIEST.isoformat(), LATEST.isoformat()),
        can_filter_steps=viewer != OVERSIGHT_VIEWER,
        numbers=node.agency_files.of_listed(caller.agency, ids),
        opened_by=node.views.lists.opened_by(ids),
        names=names, refused=refused, purpose=purpose, purposes=PURPOSES,
        may_name=has_vault and viewer != OVERSIGHT_VIEWER
        and protocol.allows(caller.agency.role, Operation.READ, FieldGroup.IDENTITY),
        saved=saved.of_agency(caller.agency.id) if saved else None,
        most_in_name=MOST_CHARACTERS_OF_NAME,
    )  # fmt: skip


@router.get("/cases/list.csv")
def download_csv(
    request: Request, node: TheNode, caller: TheCaller, choice: TheChoice, show: Show = "due"
) -> Response:
    """Save the listed cases as CSV, as a spreadsheet of the page's language opens it."""
    words = Words.of(request)
    table = case_table(_every(request, node, caller, choice, show), words.things, words.texts)
    lines = as_csv(table, words.things.locale_name)
    return StreamingResponse(lines, 200, _saved("csv"), "text/csv; charset=utf-8")


@router.get("/cases/list.xlsx")
def download_xlsx(
    request: Request, node: TheNode, caller: TheCaller, choice: TheChoice, show: Show = "due"
) -> Response:
    """Save the listed cases as an Office Open XML workbook."""
    words = Words.of(request)
    table = case_table(_every(request, node, caller, choice, show), words.things, words.texts)
    return Response(as_xlsx(table), 200, _saved("xlsx"), XLSX)


def _saved(suffix: str) -> dict[str, str]:
    name = f"cases-{clock.now():%Y-%m-%d}.{suffix}"
    return {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}


def _every(
    request: Request, node: Node, caller: Caller, choice: ListChoice, show: str
) -> Iterator[ListedCase]:
    """Return all listed cases with their steps, at most ``MOST_ROWS``. Raises ``Refusal``."""
    if choice.wrong:
        raise Refusal(Ground.INVALID, "request", "A filter has no such value.", choice.wrong[0])
    only = choice.case_filter(Words.of(request).things.zone())
    due_only = show == "due" and caller.viewer != OVERSIGHT_VIEWER
    return _pages(node, caller, choice, only, due_only=due_only)


def _pages(
    node: Node, caller: Caller, choice: ListChoice, only: CaseFilter, *, due_only: bool
) -> Iterator[ListedCase]:
    after: str | None = None
    now, protocol = clock.now(), caller.protocol
    for _ in range(MOST_ROWS // _STEP):
        cases, after = _page(node, caller, choice, only, after, due_only=due_only, limit=_STEP)
        ids = [view.case_id for view in cases]
        numbers = node.agency_files.of_listed(caller.agency, ids)
        openers = node.views.lists.opened_by(ids)
        for view in cases:
            own = [n for n in numbers.get(view.case_id, ()) if n.agency == caller.agency.id]
            number = own[0].number or "" if own else ""
            steps = dues(view, caller.agency, protocol, now)
            yield ListedCase(view, steps, number, openers.get(view.case_id))
        if after is None:
            return


def _page(
    node: Node,
    caller: Caller,
    choice: ListChoice,
    only: CaseFilter,
    after: str | None,
    *,
    due_only: bool,
    limit: int,
) -> tuple[list[CaseView], str | None]:
    """Return some cases and the place behind them. Raises ``Refusal`` if ``after`` is no place."""
    lists, viewer = node.views.lists, caller.viewer
    only = replace(with_assignment(node, caller, choice, only), seen_by=caller.bound_to)
    order = choice.case_order
    try:
        if order is CaseOrder.DUE:
            place = None if after is None else PageCursor.parse(after)
            found = lists.by_due(
                viewer, caller.agency, clock.now(), limit=limit, after=place, due_only=due_only,
                only=only,
            )  # fmt: skip
            return list(found.cases), None if found.following is None else str(found.following)
        number = None if after is None else _position(after)
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "This is no place in the list.", "after") from None
    only = replace(only, awaits_us=True if due_only else None)
    cases, following = lists.in_order(viewer, order, limit=limit, place=number, only=only)
    return cases, None if following is None else str(following)


def _position(text: str) -> int:
    """Return a position of the ledger. Raises ``ValueError``."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number
