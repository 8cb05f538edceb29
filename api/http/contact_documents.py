"""The contact points with the cards that the caller may read."""

from collections.abc import Mapping
from uuid import UUID

from api.client.schemas import ContactPointDocument
from api.exchange import contact_cards
from api.http.access import Caller
from api.http.documents import contact_document
from api.node.node import Node
from ledger.procedure.contact_points import cards_in_force, may_see_cards


def contact_documents(node: Node, caller: Caller) -> list[ContactPointDocument]:
    """Return every contact point as the caller may read it, in the order of their naming."""
    registry, protocol = caller.registry, caller.protocol
    cards: Mapping[UUID, Mapping[str, str]] = {}
    party = caller.agency.party
    sees = may_see_cards(caller.agency, registry.contacts, protocol)
    if sees:
        in_force = cards_in_force(registry.contacts, protocol)
        held: Mapping[UUID, Mapping[str, str]] = {}
        if node.vaults.has(party):
            held = contact_cards.read(node.vaults.of(party), registry.ledger_id, in_force)
        cards = {card: held.get(card, {}) for card in in_force}
    return [contact_document(one, cards) for one in registry.contacts]
