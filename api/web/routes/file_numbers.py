"""For agencies: the agency's own file number of a case."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.http.parameters import CaseId
from api.node.node import Node
from api.services.agency_files import no_file_numbers
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, page
from api.web.routes.cases import own_case
from api.web.sent_form import form_values
from ledger.refusals import Refusal
from ledger.vault.file_numbers import MOST_CHARACTERS

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_TOLD_ON_THE_PAGE = ("file-number-form", "file-number-taken", "search-closed", "erased-case")


async def typed_number(request: Request) -> str:
    """Return the number of a form. It is in the body, so that no address or log has it."""
    form = await form_values(request)
    return form.get("number", [""])[0]


@router.get("/cases/{case_id}/file-number")
def show_file_number(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId
) -> Response:
    """Show the form that sets the agency's own file number."""
    if not node.agency_files.sees(caller.agency):
        raise no_file_numbers()
    numbers = node.agency_files.of_listed(caller.agency, [case_id]).get(case_id, ())
    own = next((one for one in numbers if one.agency == caller.agency.id), None)
    return _form(request, node, caller, case_id, (own and own.number) or "")


@router.post("/cases/{case_id}/file-number")
async def set_file_number(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    number: Annotated[str, Depends(typed_number)],
) -> Response:
    """Set, change or remove the agency's own file number, and lead back to the case."""

    def put() -> Response:
        try:
            if number.strip():
                node.agency_files.put(caller.agency, case_id, number)
            else:
                node.agency_files.remove(caller.agency, case_id)
        except Refusal as refusal:
            if refusal.rule not in _TOLD_ON_THE_PAGE:
                raise
            return _form(request, node, caller, case_id, number, refusal)
        return RedirectResponse(f"/cases/{case_id}", 303, dict(PAGE_HEADERS))

    return await run_in_threadpool(put)


def _form(
    request: Request,
    node: Node,
    caller: Caller,
    case_id: CaseId,
    number: str,
    refused: Refusal | None = None,
) -> Response:
    return page(
        request,
        "file_number.html",
        caller,
        case=own_case(node, caller, case_id),
        number=number,
        refused=refused,
        taken_by=node.agency_files.used_for(caller.agency, number) if refused else None,
        most=MOST_CHARACTERS,
    )
