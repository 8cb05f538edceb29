"""The API of this node for people, who need not sign in: operations, actions, deprecations."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.http.deprecation import EARLIER_ADDRESSES
from api.web import api_reference
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.refusals import Ground, Refusal

router = APIRouter(prefix="/docs", include_in_schema=False, route_class=PageRoute)


@router.get("")
def overview(request: Request) -> Response:
    """List the groups of operations, the kinds of actions, and what is deprecated."""
    return page(
        request,
        "api.html",
        None,
        groups=api_reference.operation_groups(request.app.openapi()),
        stages=api_reference.kinds_by_stage(Words.of(request).things),
        earlier=EARLIER_ADDRESSES,
    )


@router.get("/operations/{group}")
def show_operations(
    request: Request, group: Annotated[str, Path(pattern="^[a-z-]{1,40}$")]
) -> Response:
    """Show the operations of a group with their parameters and answers."""
    document = request.app.openapi()
    found = {one[0]: one for one in api_reference.operation_groups(document)}
    if group not in found:
        raise Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such page.")
    lines = api_reference.operation_lines(document, group)
    return page(request, "api_operations.html", None, group=found[group], lines=lines)


@router.get("/actions/{kind}")
def show_action(request: Request, kind: Annotated[str, Path(pattern="^[a-z_]{1,60}$")]) -> Response:
    """Show the fields of a kind of action with their levels and values, and an example."""
    try:
        shown = api_reference.action_page(kind, Words.of(request).things)
    except KeyError:
        raise Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such page.") from None
    return page(request, "api_action.html", None, a=shown)
