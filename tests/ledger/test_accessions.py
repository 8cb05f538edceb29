"""A country becomes a party by an amendment that it signs itself, and by nothing less.

Each act is put into a ledger in memory. The registry decides it, a copy judges it again, and the
auditor's script takes it: the three must agree.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.procedure.amendments import AmendmentState, text_digest, text_of
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal
from ledger.signing import keys
from ledger.signing.keys import key_id
from ledger.vocabulary.registration import KeyRegistered
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import amended, declining, proposal
from tests.support.joining import MK, NODE_ADDRESS, Joining, leaving
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

CASE = UUID(int=1)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_accessions")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


@pytest.fixture(scope="module")
def macedonia() -> Joining:
    return Joining()


def proposed(parties: Parties, text: Protocol, day: date | None = None) -> UUID:
    """Propose a text, accepted by all who are parties already."""
    found = parties.act(XK, proposal(text, day))
    parties.act(ME, parties.acceptance(found, text))
    parties.act(AL, parties.acceptance(found, text))
    return found


def joined(parties: Parties, country: Joining) -> Protocol:
    text = country.text(parties.text)
    named = proposed(parties, text)
    parties.act(ME, country.statement(named, text, parties.ledger.named()))
    parties.agencies.keys.update(country.held)
    return text


def test_a_country_joins_and_is_party_to_a_case_at_once(
    parties: Parties, macedonia: Joining
) -> None:
    text = macedonia.text(parties.text)
    named = proposed(parties, text)
    (amendment,) = parties.read().amendments
    assert amendment.missing == {"MK"}
    assert "MK" not in parties.now.party_codes
    parties.act(ME, macedonia.statement(named, text, parties.ledger.named()))
    registry = parties.read()
    assert [one.state for one in registry.amendments] == [AmendmentState.ADOPTED]
    assert parties.now == text
    assert registry.country_keys["MK"] == macedonia.country_key.public
    parties.agencies.keys.update(macedonia.held)
    grant = parties.agencies.grant("mk-police")
    parties.act(MK, KeyRegistered(acted_at=PAST, grant=grant))
    parties.take("mk-police", opening(("MK", "XK")), CASE)
    case = parties.case(CASE)
    assert case is not None
    assert case.state.parties == ("MK", "XK")
    # From now on its word is needed like everybody's.
    further = amended(text, title="Another title")
    again = proposed(parties, further)
    assert parties.now == text
    parties.act(MK, parties.acceptance(again, further))
    assert parties.now == further


def test_it_acts_from_the_day_of_the_text_on(parties: Parties, macedonia: Joining) -> None:
    text, day = macedonia.text(parties.text), date(2026, 2, 1)
    named = proposed(parties, text, day)
    parties.act(ME, macedonia.statement(named, text, parties.ledger.named()))
    parties.agencies.keys.update(macedonia.held)
    grant = KeyRegistered(acted_at=PAST, grant=parties.agencies.grant("mk-police"))
    assert parties.refused(MK, grant) == "unknown-agency"
    assert parties.refused_in(CASE, "xk-dhtqnj", opening(("XK", "MK"))) == "not-a-party"
    parties.ledger.now = datetime(2026, 2, 1, tzinfo=UTC)
    parties.act(MK, grant)
    parties.take("xk-dhtqnj", opening(("XK", "MK")), CASE)


def test_nobody_joins_without_the_word_of_every_party(parties: Parties, macedonia: Joining) -> None:
    text = macedonia.text(parties.text)
    named = parties.act(XK, proposal(text))
    parties.act(XK, macedonia.statement(named, text, parties.ledger.named()))
    parties.act(ME, parties.acceptance(named, text))
    assert parties.now.version == 1
    assert parties.read().amendments[0].missing == {"AL"}
    parties.act(AL, declining(named, text))
    assert parties.now.version == 1


def test_nobody_is_made_a_party_without_its_own_signature(
    parties: Parties, macedonia: Joining
) -> None:
    text = macedonia.text(parties.text)
    named = proposed(parties, text)
    digest = text_digest(text_of(text))
    assert parties.now.version == 1
    stranger, xk = keys.generate(), parties.agencies.keys[XK]
    node = macedonia.held["mk-node"]
    for forged in (
        macedonia.statement(named, text, parties.ledger.named(), stranger),
        macedonia.statement(named, text, parties.ledger.named(), xk),
        macedonia.statement(named, text, parties.ledger.named(), node, agency="mk-node"),
        macedonia.statement(named, text, parties.ledger.named(), party="AL"),
        macedonia.statement(named, text, parties.ledger.named(), protocol="another-protocol"),
        macedonia.statement(named, text, parties.ledger.named(), digest="0" * 64).model_copy(
            update={"digest": digest}
        ),
        macedonia.statement(uuid4(), text, parties.ledger.named()).model_copy(
            update={"proposal": named}
        ),
    ):
        assert parties.refused(XK, forged) == "accession-statement"
    other = macedonia.statement(named, text, parties.ledger.named()).model_copy(
        update={"party": "ME"}
    )
    assert parties.refused(XK, other) == "not-joining"
    assert parties.refused(
        "me-police-thb", macedonia.statement(named, text, parties.ledger.named())
    ) == ("coordinators-only")
    assert parties.refused(XK, parties.acceptance(named, text)) == "amendment-accepted"
    parties.act(XK, macedonia.statement(named, text, parties.ledger.named()))
    assert "MK" in parties.now.party_codes


def test_a_copy_finds_a_party_that_the_ledger_node_smuggles_in(
    parties: Parties, macedonia: Joining
) -> None:
    text = macedonia.text(parties.text)
    named = proposed(parties, text)
    forged = macedonia.statement(named, text, parties.ledger.named(), keys.generate())
    assert parties.smuggle(XK, forged) == ["the rules refuse it (accession-statement)"]


def test_a_copy_finds_a_text_with_a_party_that_names_no_key(
    parties: Parties, macedonia: Joining
) -> None:
    told = text_of(macedonia.text(parties.text))
    bare = [{"code": one["code"], "name": one["name"]} for one in told["parties"]]
    text = Protocol.model_validate(told | {"parties": bare})
    assert parties.refused(XK, proposal(text)) == "amendment"
    assert parties.smuggle(XK, proposal(text)) == ["the rules refuse it (amendment)"]


def test_keys_that_cannot_be_the_partys_are_refused(parties: Parties, macedonia: Joining) -> None:
    whole = macedonia.party(parties.text.id)["accession"]
    coordinator, node = whole["keys"]
    stolen = coordinator | {"proof": node["proof"]}
    old = coordinator | {"valid_until": "2025-06-01T00:00:00Z"}
    taken = parties.agencies.grant(XK).model_dump(mode="json") | {"agency": MK}
    for changes, words in (
        ({"keys": [stolen, node]}, "proof"),
        ({"keys": [old, node]}, "not valid on the text's first day"),
        ({"keys": [taken, node]}, "proof"),
        ({"witness": str(macedonia.witness.verifier)[:-4] + "AAA="}, "MK's witness"),
        ({"country_key": "A" * 1622}, "others seal"),
    ):
        with pytest.raises(Refusal, match=words) as refusal:
            parties.act(XK, proposal(macedonia.text(parties.text, **changes)))
        assert str(refusal.value.field).startswith("act.protocol.parties.3.accession")
    for accession in ({"keys": [coordinator, coordinator]}, {"keys": [node, node]}):
        with pytest.raises(ValueError, match="its accession names"):
            macedonia.text(parties.text, **accession)


def test_an_accession_stays_as_it_was_signed(parties: Parties, macedonia: Joining) -> None:
    text = joined(parties, macedonia)
    other = Joining()
    assert parties.refused(XK, proposal(other.text(text))) == "amendment"
    without = [one | {"accession": None} for one in text_of(text)["parties"]]
    assert parties.refused(XK, proposal(amended(text, parties=without))) == "amendment"


def test_a_statement_holds_for_one_proposal(parties: Parties, macedonia: Joining) -> None:
    text = macedonia.text(parties.text)
    first = parties.act(XK, proposal(text))
    statement = macedonia.statement(first, text, parties.ledger.named())
    parties.act(ME, declining(first, text))
    assert parties.refused(XK, statement) == "unknown-amendment"
    again = parties.act(XK, proposal(text))
    replayed = statement.model_copy(update={"proposal": again})
    assert parties.refused(XK, replayed) == "accession-statement"


def test_a_country_that_left_joins_again_with_new_keys(parties: Parties) -> None:
    parties.act(AL, leaving("AL", date(2026, 5, 1)))
    parties.ledger.now = datetime(2026, 5, 1, tzinfo=UTC)
    old = parties.agencies.keys[AL]
    again = Joining("AL", "al", held={"al-node": keys.generate(), AL: keys.generate()})
    text = again.text(parties.text)
    named = parties.act(XK, proposal(text))
    parties.act(ME, parties.acceptance(named, text))
    assert parties.read().amendments[0].missing == {"AL"}
    parties.act(ME, again.statement(named, text, parties.ledger.named()))
    assert parties.now.party_codes == {"XK", "ME", "AL"}
    parties.agencies.keys["al-police-thb"] = keys.generate()
    grant = KeyRegistered(acted_at=PAST, grant=parties.agencies.grant("al-police-thb"))
    assert parties.refused(AL, grant) == "revoked-key"
    assert parties.read().keys[key_id(old)].revoked_position is not None
    parties.agencies.keys[AL] = again.held[AL]
    parties.act(AL, grant)
    parties.act(AL, leaving("AL", date(2026, 9, 1)))


def test_the_text_names_the_country_in_every_language(parties: Parties, macedonia: Joining) -> None:
    text: Any = joined(parties, macedonia)
    party = text.parties_by_code["MK"]
    assert party.names["sq"] == "Maqedonia e Veriut"
    assert party.accession.witness_url("MK") == f"{NODE_ADDRESS}/witness/MK"
