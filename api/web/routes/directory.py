"""The directory: whom to call. Cards are for those who see them by the API."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.http.access import TheCaller, TheNode
from api.http.contact_documents import contact_documents
from api.web.case_text import names
from api.web.directory import MOST_CHARACTERS, DirectoryChoice, directory
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.procedure.contact_points import may_see_cards

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Choice = Annotated[str, Query(max_length=MOST_CHARACTERS)]


@router.get("/directory")
def show_directory(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    text: Choice = "",
    country: Choice = "",
    role: Choice = "",
    city: Choice = "",
    language: Choice = "",
) -> Response:
    """Show the contact points and agencies of all parties that a search leaves."""
    words, protocol = Words.of(request).things, caller.protocol
    choice = DirectoryChoice(text.strip(), country, role, city, language)
    return page(
        request,
        "directory.html",
        caller,
        choice=choice,
        found=directory(protocol, contact_documents(node, caller), choice, words),
        parties=[one.code for one in protocol.parties],
        sees_cards=may_see_cards(caller.agency, caller.registry.contacts, protocol),
        named=names(protocol, (), words),
    )
