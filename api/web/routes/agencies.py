"""The agencies of all parties with their history, and the parties' contact points."""

from fastapi import APIRouter, Request, Response

from api.http.access import TheCaller, TheNode
from api.http.contact_documents import contact_documents
from api.http.documents import agency_document, agency_proposal_document
from api.web.case_text import names
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.procedure.contact_points import may_see_cards
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT
from ledger.vocabulary.upcasting import upcasters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_ACTS = ("agency_registered", "agency_invited", "agency_renamed", "agency_retired")


@router.get("/agencies")
def agencies(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show every agency and contact point; to a coordinator, the form that changes its own."""
    protocol, registry = caller.protocol, caller.registry
    words = Words.of(request).things
    coordinates = caller.agency.role == COORDINATOR
    known = [(one, agency_document(one, registry, protocol)) for one in protocol.agencies]
    own = [
        one
        for one in protocol.working_agencies
        if one.party == caller.agency.party and one.role not in (COORDINATOR, NODE)
    ]
    return page(
        request,
        "agencies.html",
        caller,
        parties=[
            (party, [told for told in known if told[0].party == party.code])
            for party in protocol.parties
        ],
        contacts=contact_documents(node, caller)[::-1],
        sees_cards=may_see_cards(caller.agency, registry.contacts, protocol),
        proposals=[
            agency_proposal_document(one, caller.agency)
            for one in registry.proposed_agencies.values()
        ],
        coordinates=coordinates,
        own=own if coordinates else [],
        roles=[role for role in protocol.roles if role not in (COORDINATOR, NODE)],
        oversight=OVERSIGHT,
        versions={kind: upcasters().version(kind) for kind in _ACTS},
        named=names(protocol, (), words),
        protocol=protocol.id,
    )
