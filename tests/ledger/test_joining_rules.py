"""Parties that join, leave and join again: the rules, a copy and the auditor judge alike.

Each act is put into a ledger in memory, as in ``test_accessions``.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any
from unittest.mock import patch
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from ledger.log.note import SignatureType, SignerKey, VerifierKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.witness_alignment import aligned_policy
from ledger.refusals import Refusal
from ledger.signing import keys
from ledger.vocabulary import Action
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import (
    AbsenceAnnounced,
    AgencyChangeConfirmed,
    AgencyRegistered,
    AmendmentProposed,
    CoordinatorKeyRecovered,
    KeyChangeConfirmed,
    KeyGrant,
    KeyRegistered,
    LogPolicyAdopted,
)
from tests.support.agencies import PAST, Agencies
from tests.support.amending import amended, proposal
from tests.support.joining import Joining, leaving
from tests.support.logs import signer
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


@pytest.fixture(scope="module")
def earlier() -> MemoryLedger:
    """A ledger that edition 1 of the rules judges."""
    told = text_of(shipped_protocol()) | {"edition": 1}
    ledger = MemoryLedger(Agencies(Protocol.model_validate(told)))
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


def written(text: Protocol, **changes: Any) -> AmendmentProposed:
    """Return the act that proposes a text with some parts written in another way."""
    told = text_of(text) | changes
    return proposal(text).model_copy(update={"protocol": told, "digest": text_digest(told)})


def other_spellings(text: Protocol) -> Iterator[dict[str, Any]]:
    """Yield parts of a text in spellings that this program reads as the same."""
    yield {"version": str(text.version)}
    yield {"version": float(text.version)}
    yield {"edition": str(text.edition)}
    yield {"withdrawal": {"notice_days": "60", "erase_within_days": 30}}
    parties = text_of(text)["parties"]
    accession = parties[-1]["accession"]
    keys_told = [
        grant | {"valid_from": grant["valid_from"].replace("Z", "+00:00")}
        for grant in accession["keys"]
    ]
    yield {"parties": [*parties[:-1], parties[-1] | {"accession": accession | {"keys": keys_told}}]}


def test_a_text_is_proposed_in_one_form_alone(parties: Parties) -> None:
    text = Joining().text(
        parties.text,
    )
    for change in other_spellings(text):
        with pytest.raises(Refusal, match="one form") as refusal:
            parties.act(XK, written(text, **change))
        assert refusal.value.field == f"act.protocol.{next(iter(change))}"
    parties.act(XK, written(text))


@pytest.mark.parametrize("place", range(5))
def test_the_auditor_reads_the_spellings_of_earlier_ledgers(
    script: ModuleType, earlier: MemoryLedger, place: int
) -> None:
    parties = Parties(script, earlier)
    joining = Joining()
    text = joining.text(parties.text)
    told = written(text, **list(other_spellings(text))[place])
    named = parties.act(XK, told)
    for agency in (ME, AL):
        accepted = parties.acceptance(named, text).model_copy(update={"digest": told.digest})
        parties.act(agency, accepted)
    statement = joining.statement(named, text, parties.ledger.named(), digest=told.digest)
    parties.act(XK, statement.model_copy(update={"digest": told.digest}))
    assert parties.now.party_codes == {"XK", "ME", "AL", "MK"}
    # The next text spells the accession as this program writes it, which is the same accession.
    later = amended(parties.text, title="Another title", edition=2)
    named = parties.act(XK, proposal(later))
    parties.agencies.keys.update(joining.held)
    for agency in (ME, AL, joining.coordinator):
        parties.act(agency, parties.acceptance(named, later))
    parties.act(ME, leaving("ME", date(2027, 6, 1)))


def policy_with(key: SignerKey, *, witness: bytes | None = None) -> LogPolicyAdopted:
    """Return a vote for a policy whose witness of Montenegro has these public bytes."""
    witnesses = {
        code: TrustedWitness(
            signer(f"test/witness-{code.lower()}", SignatureType.COSIGNATURE).verifier
        )
        for code in ("AL", "ME", "XK")
    }
    if witness is not None:
        key_of = replace(witnesses["ME"].key, public=witness)
        witnesses["ME"] = TrustedWitness(key_of)
    policy = Policy.of(key.verifier, witnesses)
    return LogPolicyAdopted(acted_at=PAST, policy=str(policy))


def test_a_witness_does_not_have_the_key_of_the_log(
    parties: Parties, script: ModuleType, earlier: MemoryLedger
) -> None:
    key = signer()
    vote = policy_with(key, witness=key.verifier.public)
    named = vote.model_copy(update={"checkpoint": parties.ledger.named(1)})
    assert parties.refused(XK, named) == "log-policy"
    assert parties.smuggle(XK, named) == ["the rules refuse it (log-policy)"]
    older = Parties(script, earlier)
    for agency in (XK, ME, AL):
        older.act(agency, vote)
    assert len(older.read().policies) == len(older.auditor.policies) == 1


@pytest.mark.parametrize("change", [{"agencies": 5}, {"agencies": None}, {"parties": 3}], ids=str)
def test_a_text_without_lists_is_refused(parties: Parties, change: dict[str, Any]) -> None:
    act = written(amended(parties.text, title="Another title"), **change)
    assert parties.refused(XK, act) == "protocol"
    assert parties.smuggle(XK, act) == ["the rules refuse it (protocol)"]


def test_a_joining_party_names_a_witness_key_of_its_own(parties: Parties) -> None:
    key = signer()
    vote = policy_with(key)
    for agency in (XK, ME, AL):
        parties.act(agency, vote.model_copy(update={"checkpoint": parties.ledger.named(1)}))
    policy = parties.read().policies[-1].policy
    joining = Joining()
    for taken in (policy.witnesses["ME"].key.public, key.verifier.public):
        copied = VerifierKey("test/witness-mk", SignatureType.COSIGNATURE, taken)
        text = joining.text(parties.text, witness=str(copied))
        with pytest.raises(Refusal, match="make a new one") as refusal:
            parties.act(XK, proposal(text))
        assert refusal.value.field == "act.protocol.parties.3.accession.witness"
        # A text that has it all the same leaves the policy as it is.
        now = text if taken == policy.witnesses["ME"].key.public else parties.text
        aligned = aligned_policy(policy, now, {"MK"})
        assert aligned is None or Policy.parse(str(aligned))
    parties.act(XK, proposal(joining.text(parties.text)))


def test_two_joining_parties_have_two_witness_keys(parties: Parties) -> None:
    one, two = Joining(), Joining("RS", "rs")
    both = two.text(
        one.text(parties.text),
        witness=str(
            VerifierKey("test/witness-rs", SignatureType.COSIGNATURE, one.witness.verifier.public)
        ),
    )
    text = Protocol.model_validate(text_of(both) | {"version": parties.text.version + 1})
    with pytest.raises(Refusal, match="make a new one"):
        parties.act(XK, proposal(text))


def test_a_party_that_joins_again_keeps_its_own_witness(parties: Parties) -> None:
    vote = policy_with(signer())
    for agency in (XK, ME, AL):
        parties.act(agency, vote.model_copy(update={"checkpoint": parties.ledger.named(1)}))
    own = parties.read().policies[-1].policy.witnesses["AL"].key
    parties.act(AL, leaving("AL", LEFT))
    parties.ledger.now = at(LEFT)
    again = Joining("AL", "al", held={"al-node": keys.generate(), AL: keys.generate()})
    parties.act(XK, proposal(again.text(parties.text, witness=str(own))))


def test_not_all_parties_declare_that_they_leave(parties: Parties) -> None:
    for agency, code in ((XK, "XK"), (ME, "ME")):
        parties.act(agency, leaving(code, date(2027, 1, 1)))
    assert parties.refused(AL, leaving("AL", date(2027, 1, 1))) == "last-party"
    found = parties.smuggle(AL, leaving("AL", date(2027, 1, 1)))
    assert found == ["the rules refuse it (last-party)"]


def waiting_for_albania(parties: Parties) -> tuple[LogPolicyAdopted, dict[str, UUID], KeyGrant]:
    """Albania declares that it leaves. Everything that can wait for a party waits for it."""
    body = next(
        one.id for one in parties.text.agencies if (one.party, one.role) == ("AL", "oversight")
    )
    grant = parties.agencies.grant(body, keys.generate())
    vote = policy_with(signer()).model_copy(update={"checkpoint": parties.ledger.named(1)})
    lost = parties.agencies.grant(AL, keys.generate())
    new = AgencyRegistered(acted_at=PAST, agency="al-new-body", role="oversight", name="A body")
    parties.act(AL, leaving("AL", LEFT))
    waiting = {
        "key": parties.act(AL, KeyRegistered(acted_at=PAST, grant=grant)),
        "agency": parties.act(AL, new),
    }
    parties.act(AL, vote)
    parties.act(XK, CoordinatorKeyRecovered(acted_at=PAST, grant=lost))
    both = tuple(VoteSubject)
    parties.act(ME, AbsenceAnnounced(acted_at=PAST, party="AL", subjects=both))
    return vote, waiting, lost


def test_nothing_is_completed_for_a_party_that_left(parties: Parties) -> None:
    _, waiting, lost = waiting_for_albania(parties)
    parties.ledger.now = at(LEFT)
    for act in (
        CoordinatorKeyRecovered(acted_at=PAST, grant=lost),
        KeyChangeConfirmed(acted_at=PAST, proposal=waiting["key"]),
        AgencyChangeConfirmed(acted_at=PAST, proposal=waiting["agency"]),
    ):
        assert parties.refused(ME, act) == "left-party"


@pytest.mark.parametrize("kind", ["recovery", "key", "agency"])
def test_a_copy_and_the_auditor_find_it(parties: Parties, kind: str) -> None:
    _, waiting, lost = waiting_for_albania(parties)
    parties.ledger.now = at(LEFT)
    acts: dict[str, Action] = {
        "recovery": CoordinatorKeyRecovered(acted_at=PAST, grant=lost),
        "key": KeyChangeConfirmed(acted_at=PAST, proposal=waiting["key"]),
        "agency": AgencyChangeConfirmed(acted_at=PAST, proposal=waiting["agency"]),
    }
    assert parties.smuggle(ME, acts[kind]) == ["the rules refuse it (left-party)"]


def test_a_party_that_joins_again_begins_anew(parties: Parties) -> None:
    vote, waiting, _ = waiting_for_albania(parties)
    before = parties.read()
    assert all((before.recoveries, before.proposals, before.proposed_agencies, before.proposed))
    parties.ledger.now = at(LEFT)
    again = Joining("AL", "al", held={"al-node": keys.generate(), AL: keys.generate()})
    text = again.text(parties.text)
    named = parties.act(XK, proposal(text, AGAIN))
    parties.act(ME, parties.acceptance(named, text))
    parties.act(ME, again.statement(named, text, parties.ledger.named()))
    registry, auditor = parties.read(), parties.auditor
    left = (registry.recoveries, registry.proposals, registry.proposed_agencies, registry.proposed)
    assert not any(left)
    assert all(one.ended_at for one in registry.announced)
    waits = (auditor.recoveries, auditor.proposals, auditor.agency_proposals, auditor.votes)
    assert not any((*waits, auditor.absences))
    parties.ledger.now = at(AGAIN)
    for agency in (XK, ME):
        parties.act(agency, vote)
    assert parties.read().policies == ()
    confirmed = KeyChangeConfirmed(acted_at=PAST, proposal=waiting["key"])
    assert parties.refused(XK, confirmed) == "unknown-proposal"


@pytest.mark.parametrize("zone", ["localtime", "right/UTC", "posix/Europe/Rome", "Europe/Olympus"])
def test_a_text_names_zones_that_every_machine_has(parties: Parties, zone: str) -> None:
    told = text_of(parties.text)["parties"]
    text = amended(parties.text, parties=[told[0] | {"time_zone": zone}, *told[1:]])
    assert parties.refused(XK, proposal(text)) == "protocol"


def test_a_copy_without_a_zone_takes_the_text_that_names_it(parties: Parties) -> None:
    told = text_of(parties.text)["parties"]
    text = amended(parties.text, parties=[told[0] | {"time_zone": "Europe/Rome"}, *told[1:]])
    with patch("ledger.procedure.protocol.is_known_zone", return_value=False):
        assert parties.refused(XK, proposal(text)) == "protocol"
    named = parties.agencies.sign(XK, proposal(text), None).without_disclosures()
    parties.ledger.put(named, parties.agencies.protocol.ledger_id)
    with patch("ledger.procedure.protocol.is_known_zone", return_value=False):
        parties.read()  # the copy finds nothing, and does not stop
    assert parties.replay.newer is None
    assert [one.text for one in parties.read().amendments] == [text]


def test_the_agreement_says_when_a_party_joined_again(parties: Parties) -> None:
    """From the local midnight on which the version that admits it is in force."""
    admitted_again(parties)
    agreement = parties.read().agreement
    day = datetime(AGAIN.year, AGAIN.month, AGAIN.day, tzinfo=ZoneInfo("Europe/Tirane"))
    adopted = agreement.versions[-1].adopted_at
    assert agreement.joined_again_at(("XK", "AL"), day - timedelta(minutes=1)) == 0
    assert agreement.joined_again_at(("XK", "AL"), day) == adopted
    assert agreement.joined_again_at(("XK", "ME"), day) == 0
