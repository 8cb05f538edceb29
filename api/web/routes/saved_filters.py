"""For agencies and oversight: the filters of the list of cases that an agency saved by name."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.node.node import Node
from api.web.case_filters import CHOICES, ListChoice
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS
from api.web.sent_form import form_values
from ledger.refusals import Ground, Refusal
from ledger.vault.saved_filters import SavedFilters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_SHOWN = ("due", "all")


@dataclass(frozen=True, slots=True)
class NamedChoice:
    """A choice of the list, and the name that a person typed for it."""

    name: str
    show: str
    choice: ListChoice


async def named_choice(request: Request) -> NamedChoice:
    """Return the choice of a form. It is in the body, so that no address or log has the name."""
    form = await form_values(request)
    typed = {name: form.get(name, [""])[0].strip() for name in CHOICES}
    show = form.get("show", [""])[0]
    return NamedChoice(form.get("name", [""])[0], show, ListChoice(**typed))


@router.post("/cases/filters")
async def save_filter(
    node: TheNode,
    caller: TheCaller,
    named: Annotated[NamedChoice, Depends(named_choice)],
) -> Response:
    """Save a choice of the list under a name, for all people of the agency."""

    def save() -> Response:
        if named.choice.wrong or named.show not in _SHOWN:
            raise Refusal(Ground.INVALID, "request", "A filter has no such value.", "show")
        query = f"show={named.show}"
        if named.choice.query:
            query = f"{query}&{named.choice.query}"
        saved_filters(node, caller).save(caller.agency.id, named.name, query)
        return RedirectResponse(f"/cases?{query}", 303, dict(PAGE_HEADERS))

    return await run_in_threadpool(save)


@router.post("/cases/filters/{filter_id}/remove")
def remove_filter(node: TheNode, caller: TheCaller, filter_id: UUID) -> Response:
    """Remove a saved filter of the agency."""
    saved_filters(node, caller).remove(caller.agency.id, filter_id)
    return RedirectResponse("/cases", 303, dict(PAGE_HEADERS))


def saved_filters(node: Node, caller: Caller) -> SavedFilters:
    """Return the filters of the caller's country.

    Raises ``Refusal`` if the caller has no list of cases (``named-cases-only``,
    ``nodes-copy-only``), or if this is no node of its country.
    """
    _ = caller.viewer
    return node.vaults.of(caller.agency.party).saved_filters
