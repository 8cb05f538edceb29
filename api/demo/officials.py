"""The invented officials of the demonstration: contact points with their cards, and case managers.

No person here exists. "Shembulli" and "Primjer" say "example", and all addresses are of the domain
that is reserved for examples. Names are in sealed fields alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Protocol as Interface
from uuid import UUID

from api.client import LedgerClient
from api.paper.languages.found import SOURCE, shipped
from api.paper.subject_access.wording import wording
from ledger.procedure.act_editions import EDITION_OF_ACT
from ledger.procedure.protocol import COORDINATOR, Agency, Protocol
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.registration import ContactCardGiven, ContactPointNamed, Office
from projections.folds.case_view import CaseView

_CONTACTS: Mapping[str, str] = {
    "XK": "Besa Shembulli",
    "ME": "Vesna Primjer",
    "AL": "Ilir Shembulli",
}
_MANAGERS: Mapping[str, str] = {"XK": "Drita Shembulli", "ME": "Marko Primjer"}
_ANY_CONTACT, _ANY_MANAGER = "Contact Exampleperson", "Manager Exampleperson"
_SPOKEN: Mapping[str, tuple[str, ...]] = {
    "XK": ("sqi", "eng"),
    "ME": ("cnr", "eng"),
    "AL": ("sqi", "eng"),
}
_TELEPHONE = "+000 000 000"
"""No country has this code."""


class ClientsByAgency(Interface):
    """One client for each agency."""

    def __getitem__(self, agency: str) -> LedgerClient: ...


def name_contact_points(players: ClientsByAgency, protocol: Protocol, at: datetime) -> None:
    """Name a contact point of each party, and give its card, as the party's coordinator.

    A text of an earlier edition has no contact points: nothing is recorded then.
    """
    if protocol.edition < EDITION_OF_ACT[ContactPointNamed.kind]:
        return
    for coordinator in _coordinators(protocol):
        client, party = players[coordinator.id], coordinator.party
        contact = client.append_to_registry(_contact_point(coordinator, at)).action_id
        client.append_to_registry(_card(party, contact, at))


def name_case_managers(
    players: ClientsByAgency, protocol: Protocol, case: CaseView, at: datetime
) -> tuple[int, int]:
    """Name a case manager of each country of a case, if the protocol has case managers.

    Returns the case's version and the position of its last event.
    """
    version, position = case.version, case.position
    for agency in _managing(case, protocol):
        named = _manager(agency, at)
        receipt = players[agency.id].append(named, case.case_id, version)
        version, position = receipt.case_version, receipt.position
    return version, position


def officials_of(protocol: Protocol) -> Iterable[str]:
    """Return the names that the demonstration's officials have under a protocol."""
    for party in protocol.parties:
        yield _CONTACTS.get(party.code, _ANY_CONTACT)
        yield _MANAGERS.get(party.code, _ANY_MANAGER)


def _coordinators(protocol: Protocol) -> Iterator[Agency]:
    for party in protocol.parties:
        own = [a for a in protocol.agencies if a.role == COORDINATOR and a.party == party.code]
        yield from own[:1]


def _managing(case: CaseView, protocol: Protocol) -> Iterator[Agency]:
    """Yield the agency of each country of the case that names a manager: its lead agency if it can.

    A coordinator does it only where no other agency of the country may.
    """
    rule = protocol.actions.get(CaseManagerNamed.kind)
    if rule is None:
        return
    for party in case.parties:
        able = [a for a in protocol.agencies if a.party == party and a.role in rule.roles]
        able.sort(key=lambda a: (a.id != case.lead_agency, a.role == COORDINATOR))
        yield from able[:1]


def _contact_point(coordinator: Agency, at: datetime) -> ContactPointNamed:
    others = [code for code in shipped() if code != SOURCE]
    return ContactPointNamed(
        acted_at=at,
        agency=coordinator.id,
        function=wording(SOURCE).field("contact"),
        functions={code: wording(code).field("contact") for code in others},
        languages=_SPOKEN.get(coordinator.party, ("eng",)),
        office=Office(email=_address("office", coordinator.party), telephone=_TELEPHONE),
    )


def _card(party: str, contact: UUID, at: datetime) -> ContactCardGiven:
    return ContactCardGiven(
        acted_at=at,
        contact=contact,
        full_name=_CONTACTS.get(party, _ANY_CONTACT),
        telephone_24h=_TELEPHONE,
        email=_address("contact", party),
    )


def _manager(agency: Agency, at: datetime) -> CaseManagerNamed:
    return CaseManagerNamed(
        acted_at=at,
        full_name=_MANAGERS.get(agency.party, _ANY_MANAGER),
        function="Case manager",
        institution=agency.name,
        telephone_24h=_TELEPHONE,
        email=_address("manager", agency.party),
        languages=_SPOKEN.get(agency.party, ("eng",)),
    )


def _address(mailbox: str, party: str) -> str:
    return f"{mailbox}.{party.lower()}@example.org"
