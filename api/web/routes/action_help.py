"""Help for each action, from the texts of the protocol in force."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.http.access import TheCaller
from api.web.action_help import action_help, kinds_by_stage
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.refusals import Ground, Refusal

router = APIRouter(prefix="/help/actions", include_in_schema=False, route_class=PageRoute)


@router.get("")
def list_actions(request: Request, caller: TheCaller) -> Response:
    """List every action of the protocol, by the stage of the procedure."""
    protocol, role = caller.protocol, caller.agency.role
    return page(
        request,
        "action_helps.html",
        caller,
        stages=kinds_by_stage(protocol, Words.of(request).things),
        own={kind for kind, rule in protocol.actions.items() if role in rule.roles},
    )


@router.get("/{kind}")
def show_action(
    request: Request,
    caller: TheCaller,
    kind: Annotated[str, Path(pattern=r"^[a-z_]{1,60}$")],
) -> Response:
    """Show what an action is for, who takes it, what it needs, and what follows."""
    protocol = caller.protocol
    if kind not in protocol.actions:
        raise Refusal(Ground.UNKNOWN, "unknown-kind", "The protocol has no such action.", "kind")
    h = action_help(kind, protocol, Words.of(request).things)
    return page(request, "action_help.html", caller, h=h, version=protocol.version)
