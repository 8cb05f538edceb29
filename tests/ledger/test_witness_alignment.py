"""The log's policy follows the parties, and a later vote of the parties counts for more."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from types import ModuleType
from unittest.mock import patch

import pytest

from api.exchange.witness_aligner import vote_troubles
from api.node.joined_parties import restart_troubles
from ledger.log.note import SignatureType
from ledger.log.policy import Group, Policy, TrustedWitness
from ledger.vocabulary.registration import LogPolicyAdopted, WitnessesAligned
from tests.support.agencies import PAST, Agencies
from tests.support.amending import proposal
from tests.support.joining import Joining, leaving
from tests.support.logs import signer
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

LEFT = date(2026, 5, 1)
KEY = signer()
WITNESSES = {
    code: TrustedWitness(signer(f"test/{code.lower()}", SignatureType.COSIGNATURE).verifier)
    for code in ("AL", "ME", "XK")
}
ALIGNED = WitnessesAligned(acted_at=PAST)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_alignment")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


def agree(parties: Parties, policy: Policy, *coordinators: str) -> None:
    """Have these coordinators vote for a policy."""
    for coordinator in coordinators:
        checkpoint = parties.ledger.named(1)
        act = LogPolicyAdopted(acted_at=PAST, policy=str(policy), checkpoint=checkpoint)
        parties.act(coordinator, act)
    assert policy_of(parties) == policy


def policy_of(parties: Parties) -> Policy:
    """Return the policy in force, which the auditor's program computes alike."""
    policy = parties.read().policies[-1].policy
    assert parties.auditor.policies[-1][1].trust == parties.script.Policy(str(policy)).trust
    return policy


def is_due(parties: Parties) -> bool:
    return parties.read().is_alignment_due(parties.ledger.now)


def join(parties: Parties, country: Joining, *accepting: str) -> None:
    """Have a country join by a text that Kosovo proposes."""
    text = country.text(parties.text)
    named = parties.act(XK, proposal(text))
    for coordinator in accepting:
        parties.act(coordinator, parties.acceptance(named, text))
    parties.act(ME, country.statement(named, text, parties.ledger.named()))
    parties.agencies.keys.update(country.held)


def leave(parties: Parties) -> None:
    """Albania leaves, and its day comes."""
    parties.act(AL, leaving("AL", LEFT))
    parties.ledger.now = datetime(LEFT.year, LEFT.month, LEFT.day, tzinfo=UTC)


def test_a_party_that_joins_again_has_the_witness_of_its_new_accession(parties: Parties) -> None:
    agree(parties, Policy.of(KEY.verifier, WITNESSES, 2), XK, ME, AL)
    leave(parties)
    again = Joining("AL", "al")
    join(parties, again, ME)
    assert parties.now.party_codes == {"XK", "ME", "AL"}
    parties.act("me-node", ALIGNED)
    policy = policy_of(parties)
    assert policy.witnesses["AL"].key == again.witness.verifier
    assert policy.groups == {"parties": Group(3, ("AL", "ME", "XK"))}
    assert not is_due(parties)
    # A vote gives it another key, and nothing takes that back.
    other = signer("test/al-new", SignatureType.COSIGNATURE).verifier
    agree(
        parties,
        Policy.of(KEY.verifier, {**WITNESSES, "AL": TrustedWitness(other)}, 2),
        XK,
        ME,
        again.coordinator,
    )
    assert not is_due(parties)
    assert parties.refused(XK, ALIGNED) == "witnesses-aligned"


@pytest.mark.parametrize("aligned_first", [True, False])
def test_a_later_vote_leaves_the_witness_of_a_party_out(
    parties: Parties, *, aligned_first: bool
) -> None:
    agree(parties, Policy.of(KEY.verifier, WITNESSES, 2), XK, ME, AL)
    country = Joining()
    join(parties, country, ME, AL)
    assert is_due(parties)
    if aligned_first:
        parties.act("mk-node", ALIGNED)
        assert "MK" in policy_of(parties).witnesses
    agree(parties, Policy.of(KEY.verifier, WITNESSES, 3), XK, ME, AL, country.coordinator)
    assert not is_due(parties)
    assert parties.refused(XK, ALIGNED) == "witnesses-aligned"
    assert parties.smuggle(XK, ALIGNED) == ["the rules refuse it (witnesses-aligned)"]


def test_a_node_that_plays_every_party_says_that_a_start_is_due(parties: Parties) -> None:
    played = parties.read().directory.every_party_code
    assert restart_troubles(None, played, plays_every_party=True) == ()
    assert restart_troubles(parties.read(), played, plays_every_party=True) == ()
    join(parties, Joining(), ME, AL)
    (trouble,) = restart_troubles(parties.read(), played, plays_every_party=True)
    assert trouble.rule == "restart-due"
    assert "MK joined" in trouble.message
    # A node of named countries follows the agreement.
    assert restart_troubles(parties.read(), ("XK",), plays_every_party=False) == ()
    assert restart_troubles(parties.read(), {*played, "MK"}, plays_every_party=True) == ()


def test_groups_within_groups_need_a_vote(parties: Parties) -> None:
    groups = {"both": Group(1, ("ME", "AL")), "all": Group(2, ("XK", "both"))}
    nested = Policy((KEY.verifier,), WITNESSES, groups, "all")
    agree(parties, nested, XK, ME, AL)
    assert parties.read().alignment_refusal(parties.ledger.now) is None
    leave(parties)
    assert not is_due(parties)
    refusal = parties.read().alignment_refusal(parties.ledger.now)
    assert refusal is not None
    assert "AL" in refusal.message
    assert "adopt-policy" in refusal.message
    with patch("api.exchange.witness_aligner.clock.now", return_value=parties.ledger.now):
        (trouble,) = vote_troubles(parties.read())
    assert (trouble.rule, trouble.message) == ("witnesses-need-vote", refusal.message)
    assert parties.refused(XK, ALIGNED) == "nested-groups"
    rest = {code: one for code, one in WITNESSES.items() if code != "AL"}
    agree(parties, Policy.of(KEY.verifier, rest, 2), XK, ME)
    assert parties.read().alignment_refusal(parties.ledger.now) is None
