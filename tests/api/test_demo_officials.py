"""The demonstration names a contact point of each party; persons are in sealed fields alone."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from api.demo.officials import name_case_managers, name_contact_points, officials_of
from ledger.procedure.protocol import COORDINATOR, Protocol, load_protocol, shipped_protocol
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.registration import ContactCardGiven, ContactPointNamed
from tests.api.test_derived_story import EXAMPLES

AT = datetime(2026, 5, 1, tzinfo=UTC)
PROTOCOLS = [shipped_protocol(), *map(load_protocol, EXAMPLES)]


class Recording:
    """Takes the actions of every agency down, in place of a server."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Action]] = []

    def __getitem__(self, agency: str) -> Any:
        def take(action: Action, *_: object) -> SimpleNamespace:
            self.taken.append((agency, action))
            return SimpleNamespace(action_id=uuid4(), case_version=8, position=9)

        return SimpleNamespace(append=take, append_to_registry=take)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.id)
def test_each_party_has_a_contact_point_with_a_person_on_a_card(protocol: Protocol) -> None:
    players = Recording()
    name_contact_points(players, protocol, AT)
    agencies = protocol.agencies_by_id
    for kind in (ContactPointNamed, ContactCardGiven):
        by = [agencies[agency] for agency, one in players.taken if isinstance(one, kind)]
        assert [one.party for one in by] == [one.code for one in protocol.parties]
        assert {one.role for one in by} == {COORDINATOR}
    names_no_person(players, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.id)
def test_each_country_of_a_case_names_a_manager(protocol: Protocol) -> None:
    players: Any = Recording()
    parties = [one.code for one in protocol.parties][:2]
    able = protocol.actions[CaseManagerNamed.kind].roles
    lead = next(a for a in protocol.agencies if a.role in able and a.party == parties[0])
    case: Any = SimpleNamespace(
        case_id=uuid4(), version=7, position=8, parties=parties, lead_agency=lead.id
    )
    assert name_case_managers(players, protocol, case, AT) == (8, 9)
    by = [protocol.agencies_by_id[agency] for agency, _ in players.taken]
    assert by[0] == lead
    assert [one.party for one in by] == parties
    assert {one.role for one in by} <= set(able)
    names_no_person(players, protocol)


def names_no_person(players: Recording, protocol: Protocol) -> None:
    persons = set(officials_of(protocol))
    for _, action in players.taken:
        assert not [one for one in persons if one in str(action.ledger_claims())]
    sealed = "".join(str(action.disclosable_claims()) for _, action in players.taken)
    assert [one for one in persons if one in sealed]
