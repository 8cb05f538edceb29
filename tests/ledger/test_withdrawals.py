"""A party leaves: by its own word, after the notice, and then it answers what it owes and no more.

Each act is put into a ledger in memory. The registry decides it, a copy judges it again, and the
auditor's script takes it: the three must agree.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from ledger.log.note import SignatureType
from ledger.log.policy import Group, Policy, TrustedWitness
from ledger.procedure.amendments import text_of
from ledger.procedure.checks.erasure import CHECKS
from ledger.procedure.checks.proposal import Proposal
from ledger.procedure.held_parts import is_settling, others_may_lift, regular_end
from ledger.procedure.merged_cases import NO_OTHERS
from ledger.procedure.protocol import (
    Protocol,
    WithdrawalTerms,
    shipped_protocol,
    with_left_parties,
)
from ledger.refusals import Refusal
from ledger.verification.revalidation import inspect
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    InformationDeclined,
    InformationProvided,
    InformationRequested,
    LeadTransferAccepted,
    LeadTransferOffered,
)
from ledger.vocabulary.erasure import ErasureConfirmed, LegalHoldLifted, LegalHoldPlaced
from ledger.vocabulary.picklists import (
    ClosureReason,
    DeclineReason,
    HoldGround,
    InformationTopic,
    Purpose,
    ReferralReason,
    RiskLevel,
    VoteSubject,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import (
    AbsenceAnnounced,
    AgencyRegistered,
    KeyRegistered,
    KeyRevoked,
    LogPolicyAdopted,
    ReadingsAnchored,
    WitnessesAligned,
)
from projections.folds.expected_steps import ObligationKind, owed_steps
from projections.folds.obligation_terms import ObligationState
from projections.folds.obligations import ObligationOutcome, obligations
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import amended, proposal
from tests.support.joining import Joining, leaving, staying
from tests.support.logs import signer
from tests.support.parties import AL, ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

CASE, OTHER_CASE = UUID(int=1), UUID(int=2)
DAY = date(2026, 5, 1)
LAST = datetime(2026, 4, 30, 21, 50, tzinfo=UTC)
AFTER = datetime(2026, 4, 30, 22, tzinfo=UTC)
"""When 1 May begins in Albania."""
KEY = signer()
WITNESSES = {
    code: TrustedWitness(
        signer(f"test/witness-{code.lower()}", SignatureType.COSIGNATURE).verifier,
        f"https://{code.lower()}.example/witness/{code}",
    )
    for code in ("AL", "ME", "XK")
}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_withdrawals")


@pytest.fixture(scope="module")
def begun() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    return ledger


@pytest.fixture
def parties(script: ModuleType, begun: MemoryLedger) -> Parties:
    return Parties(script, begun)


def risk() -> RiskAssessed:
    return RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)


def asked(addressee: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START,
        addressee=addressee,
        topics=(InformationTopic.IDENTITY,),
        purpose=next(iter(Purpose)),
    )


def answering(request: UUID) -> InformationProvided:
    return InformationProvided(acted_at=START, request=request, complete=True)


def offering(agency: str) -> LeadTransferOffered:
    return LeadTransferOffered(acted_at=START, to_agency=agency, reason=next(iter(ReferralReason)))


def anchored(entries: int = 5) -> ReadingsAnchored:
    return ReadingsAnchored(acted_at=PAST, entries=entries, head="0" * 64)


def left(parties: Parties) -> UUID:
    """Albania declares that it leaves, and the day comes."""
    declared = parties.act(AL, leaving("AL", DAY))
    parties.ledger.now = AFTER
    return declared


def vote(parties: Parties, policy: Policy) -> LogPolicyAdopted:
    checkpoint = parties.ledger.named(1)
    return LogPolicyAdopted(acted_at=PAST, policy=str(policy), checkpoint=checkpoint)


def state_of(parties: Parties, case_id: UUID = CASE) -> Any:
    case = parties.case(case_id)
    assert case is not None
    return case.state


def owed(parties: Parties, case_id: UUID = CASE) -> list[tuple[str, str | None]]:
    case = parties.case(case_id)
    assert case is not None
    steps = owed_steps(case.state, parties.read().agreement, case.history)
    return [(one.kind.value, one.step.party) for one in steps]


def test_a_party_has_every_right_until_its_day_and_none_from_then_on(parties: Parties) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    parties.act(AL, leaving("AL", DAY))
    parties.ledger.now = LAST
    parties.take("al-police-thb", risk(), CASE)
    text = amended(parties.text, title="Another title")
    named = parties.act(AL, proposal(text))
    parties.act(XK, parties.acceptance(named, text))
    assert parties.now.party_codes == {"XK", "ME", "AL"}
    parties.ledger.now = AFTER
    assert parties.now.party_codes == {"XK", "ME"}
    assert parties.now.left_parties == {"AL": DAY}
    assert parties.refused_in(CASE, "al-police-thb", risk()) == "left-party"
    assert parties.refused_in(OTHER_CASE, "al-police-thb", opening(("AL", "XK"))) == "left-party"
    assert parties.refused_in(OTHER_CASE, "xk-dhtqnj", opening(("AL", "XK"))) == "not-a-party"
    assert parties.refused_in(CASE, "xk-dhtqnj", asked("al-police-thb")) == "left-party"
    # Its word on an amendment is not needed any more.
    parties.act(ME, parties.acceptance(named, text))
    assert parties.now.title == "Another title"
    # What was recorded before its day stays as it was judged.
    row = next(r for r in parties.ledger.recorded if r.recorded_at > LAST)
    assert parties.read().agreement.at(row.position, row.recorded_at).left_parties == {}


@pytest.mark.parametrize(
    "act",
    [
        proposal(amended(Agencies().protocol, title="Mine")),
        leaving("AL", date(2027, 1, 1)),
        AgencyRegistered(acted_at=PAST, agency="al-new", role="ngo", name="New"),
        AbsenceAnnounced(acted_at=PAST, party="ME", subjects=(VoteSubject.WITNESSES,)),
        WitnessesAligned(acted_at=PAST),
    ],
)
def test_a_party_that_left_decides_nothing(parties: Parties, act: Action) -> None:
    left(parties)
    assert parties.refused(AL, act) == "left-party"
    assert parties.smuggle(AL, act) == ["the rules refuse it (left-party)"]


def test_a_copy_finds_an_action_of_a_party_that_left(parties: Parties) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    left(parties)
    parties.ledger.take("al-police-thb", risk(), CASE)
    row = parties.ledger.recorded[-1]
    with pytest.raises(parties.script.Failed, match="left the agreement"):
        parties.auditor.take(row.position, parties.script.event_of(row.state))
    found = list(parties.replay.judge(row.position, inspect(row), parties.ledger.root))
    assert found == ["the rules refuse it (left-party)"]


def test_it_votes_on_no_policy_and_no_policy_names_its_witness(parties: Parties) -> None:
    left(parties)
    whole = Policy.of(KEY.verifier, WITNESSES, 2)
    rest = {code: one for code, one in WITNESSES.items() if code != "AL"}
    without = Policy.of(KEY.verifier, rest, 2)
    assert parties.refused(AL, vote(parties, without)) == "left-party"
    assert parties.refused(XK, vote(parties, whole)) == "left-party"
    parties.act(XK, vote(parties, without))
    parties.act(ME, vote(parties, without))
    assert [one.policy for one in parties.read().policies] == [without]


def test_its_witness_leaves_the_quorum_of_publication(parties: Parties) -> None:
    whole = Policy.of(KEY.verifier, WITNESSES, 2)
    for coordinator in (XK, ME, AL):
        parties.act(coordinator, vote(parties, whole))
    aligned = WitnessesAligned(acted_at=PAST)
    assert parties.refused(XK, aligned) == "witnesses-aligned"
    left(parties)
    assert parties.refused("me-police-thb", aligned) == "coordinators-and-nodes"
    assert parties.refused("al-node", aligned) == "left-party"
    parties.act("me-node", aligned)
    policy = parties.read().policies[-1].policy
    assert sorted(policy.witnesses) == ["ME", "XK"]
    assert policy.groups == {"parties": Group(2, ("ME", "XK"))}
    assert policy.logs == whole.logs
    assert not policy.is_met({"XK": None, "AL": None})
    assert parties.read().policy_at(len(parties.ledger.recorded) - 1) == whole
    assert parties.refused(XK, aligned) == "witnesses-aligned"
    assert [one.trust for _, one in parties.auditor.policies[-1:]] == [
        parties.script.Policy(str(policy)).trust
    ]


def test_the_witness_of_a_party_that_joins_comes_into_the_quorum(parties: Parties) -> None:
    whole = Policy.of(KEY.verifier, WITNESSES, 2)
    for coordinator in (XK, ME, AL):
        parties.act(coordinator, vote(parties, whole))
    country = Joining()
    text = country.text(parties.text)
    named = parties.act(XK, proposal(text))
    parties.act(ME, parties.acceptance(named, text))
    parties.act(AL, parties.acceptance(named, text))
    parties.act(ME, country.statement(named, text, parties.ledger.named()))
    parties.agencies.keys.update(country.held)
    parties.act("mk-node", WitnessesAligned(acted_at=PAST))
    policy = parties.read().policies[-1].policy
    assert policy.witnesses["MK"] == TrustedWitness(
        country.witness.verifier, "https://node.example.mk/witness/MK"
    )
    assert policy.groups == {"parties": Group(3, ("AL", "ME", "MK", "XK"))}
    assert parties.auditor.policies[-1][1].trust == parties.script.Policy(str(policy)).trust


def test_it_answers_what_it_owes_and_confirms_the_erasure(parties: Parties) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    request = parties.take("xk-dhtqnj", asked("al-police-thb"), CASE)
    left(parties)
    # With the next event of the case, the erasure is owed as well.
    parties.take("xk-dhtqnj", risk(), CASE)
    assert ("answer", "AL") in owed(parties)
    assert ("erasure", "AL") in owed(parties)
    erased = ErasureConfirmed(acted_at=START)
    assert parties.refused_in(CASE, "al-node", erased) == "answer-first"
    assert parties.refused_in(CASE, "al-social-tirana", answering(request)) == "addressee"
    parties.take("al-police-thb", answering(request), CASE)
    parties.take("al-node", erased, CASE)
    state = state_of(parties)
    assert state.parties == ("XK",)
    assert not state.is_erased
    assert not [party for _, party in owed(parties) if party == "AL"]
    folded = obligations([one.as_act() for one in parties.events(CASE)], parties.read().agreement)
    done = [o for o in folded.by_id.values() if o.kind is ObligationKind.ERASURE]
    assert [(o.debtor, o.outcome) for o in done] == [("AL", ObligationOutcome.DONE)]
    # No text has the days: they are assumed, and nobody is late by them.
    assert done[0].due is done[0].late is None
    assert done[0].expected_by == AFTER + timedelta(days=WithdrawalTerms().erase_within_days)
    # Its part in the case ended with it.
    assert parties.refused_in(CASE, "al-node", erased) == "unknown-case"
    # The others go on.
    parties.take("xk-csw-prishtina", risk(), CASE)


@pytest.mark.parametrize("placed_by", ["al-prosecutor", "xk-prosecutor"])
def test_its_duties_under_a_hold_stay_until_it_has_erased(parties: Parties, placed_by: str) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    request = parties.take("xk-dhtqnj", asked("al-police-thb"), CASE)
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    hold = parties.take(agency_like(parties, placed_by), held, CASE)
    left(parties)
    parties.ledger.now = AFTER + timedelta(days=100)
    parties.take("al-police-thb", answering(request), CASE)
    erased, lifted = ErasureConfirmed(acted_at=START), LegalHoldLifted(acted_at=START, hold=hold)
    assert parties.refused_in(CASE, "al-node", erased) == "legal-hold"
    assert is_settling_now(parties)
    assert due_of_erasure(parties) is None
    # It places no new hold, and lifts none but its own.
    assert parties.refused_in(CASE, agency_like(parties, "al-prosecutor"), held) == "left-party"
    if not placed_by.startswith("al"):
        own = agency_like(parties, "al-prosecutor")
        assert parties.refused_in(CASE, own, lifted) == "own-hold"
    parties.take(agency_like(parties, placed_by), lifted, CASE)
    when = parties.ledger.now
    period = timedelta(days=WithdrawalTerms().erase_within_days)
    assert due_of_erasure(parties) == when + period
    assert is_settling_now(parties)
    parties.ledger.now = when + period - timedelta(minutes=1)
    assert not is_settling_now(parties)
    parties.take("al-node", erased, CASE)
    parties.ledger.now = when
    assert not is_settling_now(parties)


def hold_steps(parties: Parties) -> list[tuple[str, ObligationState, bool | None]]:
    """Return the obligations to lift a hold: the debtor, the state, and whether it came late."""
    folded = obligations([one.as_act() for one in parties.events(CASE)], parties.read().agreement)
    return [
        (str(one.debtor), one.state, one.late)
        for one in folded.by_id.values()
        if one.kind is ObligationKind.HOLD_LIFTING
    ]


def test_a_hold_that_it_never_lifts_is_lifted_by_another_country_of_the_case(
    parties: Parties,
) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    hold = parties.take(agency_like(parties, "al-prosecutor"), held, CASE)
    assert hold_steps(parties) == []
    left(parties)
    parties.take("xk-dhtqnj", risk(), CASE)
    assert hold_steps(parties) == [("AL", ObligationState.OPEN, None)]
    period = timedelta(days=WithdrawalTerms().erase_within_days)
    ours = agency_like(parties, "xk-prosecutor")
    parties.ledger.now = AFTER + period - timedelta(minutes=2)
    early = LegalHoldLifted(acted_at=AFTER, hold=hold)
    assert parties.refused_in(CASE, ours, early) == "own-hold"
    parties.ledger.now = AFTER + period + timedelta(days=1)
    lifted = LegalHoldLifted(acted_at=parties.ledger.now, hold=hold)
    # An agency without the role, and a country that is not of the case, do not lift it.
    assert parties.refused_in(CASE, "xk-dhtqnj", lifted) == "role"
    theirs = agency_like(parties, "me-prosecutor")
    assert parties.refused_in(CASE, theirs, lifted) == "unknown-case"
    parties.take(ours, lifted, CASE)
    assert state_of(parties).holds == {}
    # The days are only assumed: nobody is late by them.
    assert hold_steps(parties) == [("AL", ObligationState.DISCHARGED, None)]
    # The party that left has the days for the erasure again, and no more after them.
    lifted_at = parties.ledger.now
    assert is_settling_now(parties)
    parties.take("al-node", ErasureConfirmed(acted_at=lifted_at), CASE)
    assert state_of(parties).parties == ("XK",)
    parties.ledger.now = lifted_at + period
    assert not is_settling_now(parties)


def test_an_unchanged_hold_of_another_country_ends_the_copying_and_no_evidence(
    script: ModuleType,
) -> None:
    """The other country owes the review of its hold; a new hold begins a new period."""
    review, terms = timedelta(days=60), WithdrawalTerms(hold_review_days=60)
    text = shipped_protocol().model_copy(update={"withdrawal": terms})
    ledger = MemoryLedger(Agencies(text))
    ledger.begin()
    parties = Parties(script, ledger)
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    prosecutor = agency_like(parties, "xk-prosecutor")
    first = parties.take(prosecutor, held, CASE)
    left(parties)
    parties.take("xk-dhtqnj", risk(), CASE)
    assert hold_steps(parties) == [("XK", ObligationState.OPEN, None)]
    parties.ledger.now = AFTER + review - timedelta(hours=1)
    assert is_settling_now(parties)
    again = parties.take(prosecutor, held, CASE)
    parties.take(prosecutor, LegalHoldLifted(acted_at=START, hold=first), CASE)
    renewed = parties.ledger.now
    assert [state for _, state, _ in hold_steps(parties)] == [
        ObligationState.DISCHARGED,
        ObligationState.OPEN,
    ]
    parties.ledger.now = renewed + review - timedelta(hours=1)
    assert is_settling_now(parties)
    parties.ledger.now = renewed + review
    assert not is_settling_now(parties), "its node copies no more"
    assert parties.refused_in(CASE, "al-node", ErasureConfirmed(acted_at=START)) == "legal-hold"
    parties.take(prosecutor, held, CASE)
    assert not is_settling_now(parties), "a hold that comes too late gives no time again"
    late = [one for one in state_of(parties).holds if one != again]
    for hold in (again, *late):
        parties.take(prosecutor, LegalHoldLifted(acted_at=START, hold=hold), CASE)
    assert is_settling_now(parties), "it has its days to erase and to confirm"
    parties.take("al-node", ErasureConfirmed(acted_at=START), CASE)
    assert state_of(parties).parties == ("XK",)


def test_a_hold_of_a_party_that_stays_is_its_own_and_so_it_is_by_earlier_editions(
    parties: Parties,
) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL", "ME")), CASE)
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    holds = [
        parties.take(agency_like(parties, placed_by), held, CASE)
        for placed_by in ("al-prosecutor", "me-prosecutor")
    ]
    left(parties)
    parties.ledger.now = AFTER + timedelta(days=400)
    of_left, of_staying = (LegalHoldLifted(acted_at=AFTER, hold=hold) for hold in holds)
    ours = agency_like(parties, "xk-prosecutor")
    assert parties.refused_in(CASE, ours, of_staying) == "own-hold"
    at = parties.ledger.now
    earlier = parties.now.model_copy(update={"edition": 1})
    proposed = _hold_lifting(parties, ours, of_left, at)
    with pytest.raises(Refusal, match="left the agreement"):
        CHECKS[LegalHoldLifted.kind](replace(proposed, protocol=earlier))
    CHECKS[LegalHoldLifted.kind](proposed)


def test_where_all_parties_of_a_case_left_one_lifts_the_holds_of_another(parties: Parties) -> None:
    both, one = {"XK": DAY, "ME": DAY}, {"XK": DAY}
    protocol = with_left_parties(parties.text, both)
    end = regular_end("XK", protocol)
    assert others_may_lift("XK", "ME", ("XK", "ME"), protocol, end)
    assert not others_may_lift("XK", "ME", ("XK", "ME", "AL"), protocol, end)
    assert not others_may_lift("AL", "ME", ("AL", "ME"), with_left_parties(parties.text, one), end)


def _hold_lifting(parties: Parties, agency: str, action: LegalHoldLifted, at: datetime) -> Proposal:
    """Return a proposal to lift a hold, as the rules get it."""
    case = parties.case(CASE)
    assert case is not None
    act = replace(
        next(iter(case.history.values())),
        kind=action.kind,
        agency=agency,
        fields={"hold": str(action.hold)},
    )
    protocol = parties.now
    return Proposal(
        state=case.state,
        history=case.history,
        act=act,
        agency=protocol.agencies_by_id[agency],
        protocol=protocol,
        now=at,
        not_before=at,
        others=NO_OTHERS,
    )


def agency_like(parties: Parties, name: str) -> str:
    """Return the first agency of the party and the role that a name says."""
    party, role = name.upper().split("-")
    agencies = parties.text.agencies
    return next(a.id for a in agencies if a.party == party and a.role == role.lower())


def is_settling_now(parties: Parties) -> bool:
    case = parties.case(CASE)
    assert case is not None
    at = parties.ledger.now + timedelta(minutes=1)
    return is_settling(case.state, case.history.values(), "AL", parties.now, at)


def due_of_erasure(parties: Parties) -> datetime | None:
    folded = obligations([one.as_act() for one in parties.events(CASE)], parties.read().agreement)
    (one,) = (o for o in folded.by_id.values() if o.kind is ObligationKind.ERASURE)
    return one.expected_by


def test_it_may_decline_and_others_owe_it_nothing(parties: Parties) -> None:
    parties.take("xk-dhtqnj", opening(("XK", "AL")), CASE)
    ours = parties.take("xk-dhtqnj", asked("al-police-thb"), CASE)
    parties.take("al-police-thb", asked("xk-dhtqnj"), CASE)
    assert ("answer", "XK") in owed(parties)
    left(parties)
    declined = InformationDeclined(acted_at=START, request=ours, reason=next(iter(DeclineReason)))
    parties.take(AL, declined, CASE)
    assert ("answer", "XK") not in owed(parties)
    parties.take("al-node", ErasureConfirmed(acted_at=START), CASE)


def test_its_leads_pass_to_the_first_party_of_the_case(parties: Parties) -> None:
    parties.take("al-police-thb", opening(("AL", "ME", "XK")), CASE)
    left(parties)
    assert state_of(parties).lead_agency == "al-police-thb"
    assert parties.refused_in(CASE, XK, offering("xk-csw-prishtina")) == "lead"
    offer = parties.take(ME, offering("xk-csw-prishtina"), CASE)
    parties.take("xk-csw-prishtina", LeadTransferAccepted(acted_at=START, offer=offer), CASE)
    assert state_of(parties).lead_agency == "xk-csw-prishtina"
    closed = CaseClosed(acted_at=START, reason=next(iter(ClosureReason)))
    assert parties.refused_in(CASE, ME, closed) == "lead-country"


def test_a_case_of_its_own_alone_is_nobody_elses(parties: Parties) -> None:
    parties.take("al-police-thb", opening(("AL",)), CASE)
    left(parties)
    erased = ErasureConfirmed(acted_at=START)
    assert parties.refused_in(CASE, "al-node", erased) == "nothing-received"
    assert ("erasure", "AL") not in owed(parties)


def test_nobody_declares_it_for_another_party(parties: Parties) -> None:
    act = leaving("AL", DAY)
    assert parties.refused(XK, act) == "coordinator-of-the-country"
    assert parties.refused("al-police-thb", act) == "coordinators-only"
    assert parties.smuggle(XK, act) == ["the rules refuse it (coordinator-of-the-country)"]


def test_the_notice_is_kept_and_is_data_of_the_protocol(parties: Parties) -> None:
    # Recorded on 5 January 2026; 90 days are an assumption of this program.
    with pytest.raises(Refusal, match="name 2026-04-06 or a later day") as refusal:
        parties.act(AL, leaving("AL", date(2026, 4, 5)))
    assert (refusal.value.rule, refusal.value.field) == ("withdrawal-notice", "act.day")
    parties.adopt(amended(parties.text, withdrawal={"notice_days": 7}))
    assert parties.refused(AL, leaving("AL", date(2026, 1, 12))) == "withdrawal-notice"
    parties.act(AL, leaving("AL", date(2026, 1, 13)))
    assert parties.refused(AL, leaving("AL", DAY)) == "withdrawal-declared"


def test_it_is_taken_back_before_the_day_and_not_after(parties: Parties) -> None:
    declared = parties.act(AL, leaving("AL", DAY))
    assert parties.refused(XK, staying(declared)) == "unknown-withdrawal"
    parties.ledger.now = LAST
    parties.act(AL, staying(declared))
    assert parties.refused(AL, staying(declared)) == "unknown-withdrawal"
    parties.ledger.now = AFTER
    assert parties.now.party_codes == {"XK", "ME", "AL"}
    again = parties.act(AL, leaving("AL", date(2026, 8, 1)))
    parties.ledger.now = datetime(2026, 8, 1, tzinfo=UTC)
    assert parties.refused(AL, staying(again)) == "left-party"
    assert parties.now.party_codes == {"XK", "ME"}


def test_the_last_party_stays(parties: Parties) -> None:
    for coordinator, code in ((AL, "AL"), (ME, "ME")):
        parties.act(coordinator, leaving(code, DAY))
    parties.ledger.now = AFTER
    assert parties.now.party_codes == {"XK"}
    assert parties.refused(XK, leaving("XK", date(2027, 1, 1))) == "last-party"
    parties.take("xk-dhtqnj", opening(("XK",)), CASE)


def test_what_protects_is_open_to_a_party_that_left(parties: Parties) -> None:
    left(parties)
    registry = parties.read()
    key = next(k for k, one in registry.keys.items() if one.agency == "al-police-thb")
    parties.act(AL, KeyRevoked(acted_at=PAST, key_id=key))
    parties.act("al-node", anchored())
    grant = KeyRegistered(acted_at=PAST, grant=parties.agencies.grant("al-police-thb"))
    assert parties.refused(AL, grant) == "left-party"


def test_a_text_marks_no_party_as_left() -> None:
    told = text_of(Agencies().protocol)
    told["parties"][2] |= {"left_on": "2026-05-01"}
    with pytest.raises(ValueError, match="leaves by an act of its own"):
        Protocol.model_validate(told)
