"""Countries that can seal to each other, and the wait for what one sends to arrive."""

from typing import TypeVar

from api.keys.country_keys import country_key
from ledger.procedure.protocol import COORDINATOR
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.agencies import PAST
from tests.support.serving import Server

T = TypeVar("T")


def register_country_keys(server: Server) -> None:
    """Every coordinator registers its country's key, as the server keeps it."""
    for agency in server.agencies.protocol.agencies:
        if agency.role == COORDINATOR:
            key = country_key(server.settings, agency.party).public
            with server.client(agency.id) as coordinator:
                coordinator.append_to_registry(CountryKeyRegistered(acted_at=PAST, key=str(key)))
