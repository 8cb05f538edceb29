"""The agencies of all parties with their history, and the parties' contact points."""

import json
from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request, Response

from api.client.schemas import ContactPointDocument
from api.http.access import Caller, TheCaller, TheNode
from api.http.contact_documents import contact_documents
from api.http.documents import agency_document, agency_proposal_document
from api.web.case_text import names
from api.web.errors import PageRoute
from api.web.forms import language_options
from api.web.rendering import Words, page
from ledger.procedure.act_editions import EDITION_OF_ACT
from ledger.procedure.contact_points import may_see_cards
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT
from ledger.vocabulary.action import Action
from ledger.vocabulary.registration import (
    ContactCardEnded,
    ContactCardGiven,
    ContactPointEnded,
    ContactPointNamed,
)
from ledger.vocabulary.upcasting import upcasters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_ACTS = ("agency_registered", "agency_invited", "agency_renamed", "agency_retired")
_CONTACT_ACTS: tuple[type[Action], ...] = (
    ContactPointNamed,
    ContactCardGiven,
    ContactCardEnded,
    ContactPointEnded,
)


@router.get("/agencies")
def agencies(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show every agency and contact point; to a coordinator, the forms that change its own."""
    protocol, registry = caller.protocol, caller.registry
    words = Words.of(request).things
    coordinates = caller.agency.role == COORDINATOR
    known = [(one, agency_document(one, registry, protocol)) for one in protocol.agencies]
    own = [
        one
        for one in protocol.working_agencies
        if one.party == caller.agency.party and one.role not in (COORDINATOR, NODE)
    ]
    contacts = contact_documents(node, caller)[::-1]
    own_contacts = _own_contacts(contacts, caller) if coordinates else []
    return page(
        request,
        "agencies.html",
        caller,
        parties=[
            (party, [told for told in known if told[0].party == party.code])
            for party in protocol.parties
        ],
        contacts=contacts,
        own_contacts=own_contacts,
        carded_contacts=[(one, values) for one, values in own_contacts if one.card is not None],
        contact_acts=_contact_acts(caller) if coordinates else [],
        contact_agencies=[
            one
            for one in protocol.working_agencies
            if one.party == caller.agency.party and one.role != NODE
        ],
        spoken=language_options(words) if coordinates else (),
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


def _contact_acts(caller: Caller) -> Sequence[tuple[str, int, int]]:
    """Return the acts on contact points that the edition in force has.

    Each has its kind, the version of its schema and its number of digests.
    """
    edition = caller.protocol.edition
    return [
        (one.kind, upcasters().version(one.kind), len(one.disclosable_fields()))
        for one in _CONTACT_ACTS
        if EDITION_OF_ACT[one.kind] <= edition
    ]


def _own_contacts(
    contacts: Sequence[ContactPointDocument], caller: Caller
) -> Sequence[tuple[ContactPointDocument, str]]:
    """Return the contact points of the caller's country, each with its values for the form.

    The values are a JSON object by the names of the form's controls.
    """
    return [
        (one, json.dumps(_values(one)))
        for one in contacts
        if one.party == caller.agency.party and one.ended_at is None
    ]


def _values(contact: ContactPointDocument) -> Mapping[str, object]:
    office, card = contact.office, contact.card
    return {
        "agency": contact.agency,
        "function": contact.function,
        **{f"functions.{code}": text for code, text in contact.functions.items()},
        "deputy": contact.deputy,
        "languages": list(contact.languages),
        "office.email": office.email or "",
        "office.telephone": office.telephone or "",
        "office.address": office.address or "",
        "full_name": (card.full_name if card else None) or "",
        "telephone_24h": (card.telephone_24h if card else None) or "",
        "email": (card.email if card else None) or "",
    }
