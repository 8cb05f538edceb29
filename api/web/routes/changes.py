"""Acts that were recorded in a case since a version, for a form that is about an older one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.http.access import TheCaller, TheNode
from api.http.parameters import MAX_POSITION, CaseId
from api.http.routes.personal import trail_of
from api.web.case_text import rows
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from api.web.routes.acts import recorded_case
from api.web.routes.cases import own_case
from api.web.timeline import handovers
from ledger.vault.held_fields import HeldFields

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/cases/{case_id}/since")
def changes_since(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    case_id: CaseId,
    version: Annotated[int, Query(ge=0, le=MAX_POSITION)],
) -> Response:
    """List the actions of a case after a version, for the script of a form. It is no whole page."""
    own_case(node, caller, case_id)
    trail, words = trail_of(node, caller, case_id), Words.of(request).things
    told = rows(trail, HeldFields(), dict(handovers(trail)), caller.registry.agreement, words)
    return page(
        request,
        "since.html",
        caller,
        case_id=case_id,
        rows=[row for row in told if row.entry.version > version],
        version=recorded_case(node, case_id).version,
    )
