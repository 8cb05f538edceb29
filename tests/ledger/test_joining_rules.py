"""Parties that join, leave and join again: the rules, a copy and the auditor judge alike.

Each act is put into a ledger in memory, as in ``test_accessions``.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from types import ModuleType
from uuid import UUID

import pytest

from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from tests.support.agencies import Agencies
from tests.support.amending import amended, proposal
from tests.support.joining import Joining, leaving
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

LEFT, AGAIN = date(2026, 5, 1), date(2026, 6, 1)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_joining_rules")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def admitted_again(parties: Parties) -> None:
    """Albania left; a text that admits it again is adopted for a later day."""
    parties.act(AL, leaving("AL", LEFT))
    parties.ledger.now = at(LEFT)
    again = Joining("AL", "al", held={"al-node": keys.generate(), AL: keys.generate()})
    text = again.text(parties.text)
    named = parties.act(XK, proposal(text, AGAIN))
    parties.act(ME, parties.acceptance(named, text))
    parties.act(ME, again.statement(named, text, parties.ledger.named()))
    parties.agencies.keys[AL] = again.held[AL]
    assert parties.text == text
    assert parties.now.party_codes == {"XK", "ME"}


def proposed_again(parties: Parties) -> tuple[UUID, Protocol]:
    """Propose the text after it, before that day."""
    later = amended(parties.text, title="Terms that Albania has not read")
    return parties.act(XK, proposal(later, AGAIN)), later


def test_a_text_binds_no_party_that_waits_for_its_day_without_its_word(parties: Parties) -> None:
    admitted_again(parties)
    named, later = proposed_again(parties)
    parties.act(ME, parties.acceptance(named, later))
    assert parties.text != later
    assert parties.read().amendments[-1].missing == {"AL"}
    parties.ledger.now = at(AGAIN)
    assert parties.now.party_codes == {"XK", "ME", "AL"}
    parties.act(AL, parties.acceptance(named, later))
    assert parties.text == later


def test_the_party_accepts_first_once_its_day_has_come(parties: Parties) -> None:
    admitted_again(parties)
    named, later = proposed_again(parties)
    parties.ledger.now = at(AGAIN)
    parties.act(AL, parties.acceptance(named, later))
    assert parties.text != later
    parties.act(ME, parties.acceptance(named, later))
    assert parties.text == later


def test_the_keys_of_a_party_that_waits_for_its_day_stay(parties: Parties) -> None:
    admitted_again(parties)
    other = Joining("AL", "al", held={"al-node": keys.generate(), AL: keys.generate()})
    text = other.text(parties.text)
    assert parties.refused(XK, proposal(text, AGAIN)) == "amendment"
    assert parties.smuggle(XK, proposal(text, AGAIN)) == ["the rules refuse it (amendment)"]
