"""A proposed text that only a later program reads binds nobody, and stops no node by itself.

The later program has edition 3 of the rules. This program has not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from unittest.mock import MagicMock, patch
from uuid import UUID

import pytest

from api.services.append_service import OutboxAppend
from ledger.events.event import recorded
from ledger.procedure import protocol as protocols
from ledger.procedure.amendments import AmendmentState
from ledger.procedure.deciding import decide_on_protocol
from ledger.procedure.protocol import LATEST_EDITION, Protocol
from ledger.procedure.registry import Registry, applied, registry_of
from ledger.refusals import Refusal
from ledger.signing.signed_action import Mark, read_recorded
from ledger.verification.revalidation import Revalidation, inspect
from ledger.vocabulary import Action
from tests.support.agencies import Agencies
from tests.support.amending import amended, declining, proposal
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_unread_proposals")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


@contextmanager
def later_program() -> Iterator[None]:
    with patch.object(protocols, "LATEST_EDITION", LATEST_EDITION + 1):
        yield


def proposed(parties: Parties) -> tuple[UUID, Protocol]:
    """Kosovo proposes a text of the next edition, and Montenegro accepts it, by later programs."""
    with later_program():
        text = amended(parties.text, edition=LATEST_EDITION + 1)
        named = parties.act(XK, proposal(text))
        parties.act(ME, parties.acceptance(named, text))
    return named, text


def older_of(parties: Parties) -> Revalidation:
    """Return what this program finds of all that was recorded: nothing, and no stop."""
    older = Revalidation()
    for row in parties.ledger.recorded:
        assert list(older.judge(row.position, inspect(row), parties.ledger.root)) == []
    return older


def folded(parties: Parties) -> Registry:
    return registry_of(
        recorded(row.state, row.originator_id, row.version, row.position)
        for row in parties.ledger.recorded
    )


def put(parties: Parties, agency: str, act: Action) -> None:
    """Record an act that a later program took, which nobody here reads yet."""
    text = parties.agencies.sign(agency, act, None).without_disclosures()
    parties.ledger.put(text, parties.agencies.protocol.ledger_id)


def test_it_is_recorded_as_proposed_and_the_ledger_goes_on(parties: Parties) -> None:
    named, _ = proposed(parties)
    older = older_of(parties)
    assert older.newer is None
    registry = folded(parties)
    assert registry == older.registry
    amendment = registry.amendments[-1]
    assert (amendment.proposal, amendment.text, amendment.state) == (
        named,
        None,
        AmendmentState.OPEN,
    )
    assert (amendment.accepted, amendment.missing) == ({"XK", "ME"}, {"AL"})
    assert amendment.version == registry.agreement.latest.protocol.version + 1
    # Another text may be adopted meanwhile, and the unread one lapses.
    parties.adopt(amended(parties.text, title="Another title"))
    assert folded(parties).amendments[0].state is AmendmentState.LAPSED
    assert older_of(parties).newer is None


def test_its_adoption_stops_this_program_and_the_auditors(parties: Parties) -> None:
    named, text = proposed(parties)
    older, registry = older_of(parties), folded(parties)
    put(parties, AL, parties.acceptance(named, text))
    row = parties.ledger.recorded[-1]
    assert list(older.judge(row.position, inspect(row), parties.ledger.root)) == []
    assert older.newer == row.position
    event = recorded(row.state, row.originator_id, row.version, row.position)
    assert applied(registry, event)[1] is Mark.UNKNOWN_VERSION
    with pytest.raises(parties.script.Newer):
        parties.auditor.take(row.position, parties.script.event_of(row.state))


def test_this_program_lets_nobody_accept_what_it_cannot_read(parties: Parties) -> None:
    named, text = proposed(parties)
    registry, at = folded(parties), parties.ledger.now + timedelta(minutes=1)
    sent = parties.agencies.sign(AL, parties.acceptance(named, text), None).without_disclosures()
    with pytest.raises(Refusal, match="Update the program before you accept") as refused:
        decide_on_protocol(read_recorded(sent), registry, at, parties.ledger.root_at)
    assert refused.value.rule == "unread-proposal"
    # An older node does not pass it on to a ledger node that reads the text.
    ledger, outbox = MagicMock(), MagicMock()
    ledger.adopted.return_value, ledger.receipt_of.return_value = registry, None
    service = OutboxAppend(ledger, MagicMock(), outbox, MagicMock(), MagicMock())
    with pytest.raises(Refusal) as refused:
        service.on_protocol(registry.directory.agencies_by_id[AL], sent)
    assert refused.value.rule == "unread-proposal"
    outbox.put.assert_not_called()
    # To decline binds nobody to anything.
    declined = parties.agencies.sign(AL, declining(named, text), None).without_disclosures()
    decide_on_protocol(read_recorded(declined), registry, at, parties.ledger.root_at)


def test_a_later_proposal_of_an_older_node_stays_refused(parties: Parties) -> None:
    with later_program():
        text = amended(parties.text, edition=LATEST_EDITION + 1)
        act = proposal(text)
    assert parties.refused(XK, act) == "unknown-version"
