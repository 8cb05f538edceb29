"""Cases that belong together: who may link, merge and part them, and what a merge carries over."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import CaseState, Parted, PlannedReturn, TakenIn
from ledger.procedure.merged_cases import held_by_continuing, held_elsewhere
from ledger.refusals import Refusal
from ledger.vault.required_disclosures import may_give, must_hold
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    Correction,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.destruction import DestructionApproved, DestructionProposed
from ledger.vocabulary.erasure import (
    ErasureApproved,
    ErasureConfirmed,
    ErasureProposed,
    LegalHoldLifted,
    LegalHoldPlaced,
)
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.linking import (
    CaseMerged,
    CasesLinked,
    CasesUnlinked,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
    MergeUndone,
)
from ledger.vocabulary.picklists import AgeGroup
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.sharing import BreakGlassOpened
from projections.folds.joined_cases import JoinedCases
from projections.folds.obligation_terms import ObligationKind, ObligationOutcome
from projections.folds.obligations import Obligation, obligations
from projections.reports.accountability import Debt, ObligationStanding
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.counterparts import Counterpart
from tests.support.several_cases import SeveralCases

AGENCIES = Agencies()
POLICE, WORK, COURT, NAC = "xk-dhtqnj", "xk-csw-prishtina", "xk-court-prishtina", "xk-nac"
THEIRS, THEIR_NAC, THEIR_COURT = "me-police-thb", "me-nac", "me-court-podgorica"
DAY = timedelta(days=1)


@dataclass
class Two:
    """A case of Kosovo that ends, and one of Montenegro that continues."""

    ledger: SeveralCases
    ends: UUID
    goes_on: UUID
    at: datetime = START + 3 * DAY

    def now(self) -> datetime:
        self.at += timedelta(hours=1)
        return self.at

    def take(self, agency: str, case_id: UUID, kind: type[Action], **fields: Any) -> UUID:
        return self.ledger.take(agency, kind(acted_at=self.now(), **fields), case_id)

    def refused(self, agency: str, case_id: UUID, kind: type[Action], **fields: Any) -> Refusal:
        before = len(self.ledger.events)
        with pytest.raises(Refusal) as refused:
            self.take(agency, case_id, kind, **fields)
        assert len(self.ledger.events) == before
        return refused.value

    def proposed(self, agency: str = POLICE, to: str = THEIRS, told: tuple[str, ...] = ()) -> UUID:
        return self.take(
            agency, self.ends, MergeProposed, addressee=to, told=told or ("XK", "ME"),
            continues_in=self.goes_on, reasoning="zq the same girl",
        )  # fmt: skip

    def acceptance(self, proposal: UUID, **more: Any) -> dict[str, Any]:
        proposed = self.state(self.ends).merge_proposal
        by_proposal_alone = proposed.joined if proposed is not None else None
        return {
            "ended_case": self.ends,
            "proposal": proposal,
            "countries": tuple(
                one for one in self.state(self.ends).parties if one != by_proposal_alone
            ),
            "opened_at": self.state(self.ends).opened_at,
            **more,
        }

    def accepted(self, proposal: UUID, agency: str = THEIRS) -> UUID:
        return self.take(agency, self.goes_on, MergeAccepted, **self.acceptance(proposal))

    def ended(self, acceptance: UUID, agency: str = POLICE) -> UUID:
        return self.take(
            agency, self.ends, CaseMerged, continues_in=self.goes_on, acceptance=acceptance
        )

    def merged(self) -> tuple[UUID, UUID]:
        acceptance = self.accepted(self.proposed())
        return acceptance, self.ended(acceptance)

    def announced(self, acceptance: UUID, agency: str = POLICE) -> UUID:
        return self.take(
            agency, self.ends, MergeUndone, merge=acceptance, ground="another_person",
            continued_in=self.goes_on,
        )  # fmt: skip

    def undone(self, acceptance: UUID, merge: UUID, agency: str = POLICE) -> None:
        self.announced(acceptance, agency)
        undoing = self.take(
            agency, self.goes_on, MergeUndone, merge=acceptance, ground="another_person"
        )
        self.take(
            agency, self.ends, MergeUndone, merge=merge, ground="another_person",
            continued_in=self.goes_on, undoing=undoing,
        )  # fmt: skip

    def state(self, case_id: UUID) -> CaseState:
        return self.ledger.state(case_id)

    def known(self, case_id: UUID) -> Counterpart:
        return Counterpart(self.state(case_id), {})

    def owed(self, case_id: UUID) -> dict[tuple[ObligationKind, str], Obligation]:
        merges = JoinedCases(event.as_act() for event in self.ledger.events)
        joined = {one: self.ledger.acts(one) for one in merges.others(case_id)}
        acts, agreement = self.ledger.acts(case_id), self.ledger.agreement
        found = obligations(acts, agreement, joined).by_id.values()
        return {(one.kind, one.action): one for one in found}


@pytest.fixture
def two() -> Two:
    ledger = SeveralCases(AGENCIES)
    return Two(ledger, ledger.opened(POLICE, ("XK",)), ledger.opened(THEIRS, ("ME",), 2 * DAY))


def said(state: CaseState) -> dict[str, Any]:
    """Return a state of the case, without the parts that every event moves."""
    told = state.model_dump()
    moving = ("version", "position", "last_recorded_at", "last_acted_at", "parted")
    return {name: value for name, value in told.items() if name not in moving}


def test_a_merge_ends_one_case_and_brings_its_countries_into_the_other(two: Two) -> None:
    _, merge = two.merged()
    ended, goes_on = two.state(two.ends), two.state(two.goes_on)
    assert ended.is_closed
    assert ended.merged_into is not None
    assert (ended.merged_into.case, ended.merged_into.action) == (two.goes_on, merge)
    assert set(ended.parties) == {"XK", "ME"}
    assert not goes_on.is_closed
    assert [taken.case for taken in goes_on.taken_in.values()] == [two.ends]
    assert set(goes_on.parties) == {"XK", "ME"}
    assert goes_on.lead_agency == THEIRS
    # The other country takes part in the case that continues, and nobody in the one that ended.
    two.take(WORK, two.goes_on, RiskAssessed, risk_level="high")
    refused = two.refused(WORK, two.ends, RiskAssessed, risk_level="high")
    assert refused.rule == "merged-case"
    assert str(two.goes_on) in refused.message
    two.ledger.judge_again()


def test_nobody_sees_the_other_case_before_it_is_accepted(two: Two) -> None:
    """A proposal opens the own case to the other country, and gives nothing in return."""
    two.proposed()
    assert "ME" in two.state(two.ends).parties
    assert two.state(two.goes_on).parties == ("ME",)
    refused = two.refused(POLICE, two.goes_on, RiskAssessed, risk_level="high")
    assert refused.rule == "unknown-case"
    # The id of the other case is sealed: the ledger has it only once it was accepted.
    assert all(str(two.goes_on) not in e.action.sd_jwt for e in two.ledger.events[-1:])


def test_a_proposal_to_a_case_that_does_not_exist_is_no_oracle(two: Two) -> None:
    two.proposed()
    assert two.state(two.ends).merge_proposal is not None
    # Who may accept: it must be one's own case, and a proposal to the own country.
    existing = two.ledger.opened("al-police-thb", ("AL",))
    missing = uuid4()
    told = [
        two.refused(THEIRS, two.goes_on, MergeAccepted, **two.acceptance(uuid4(), ended_case=case))
        for case in (existing, missing, two.goes_on)
    ]
    assert {(one.rule, one.message, one.field) for one in told} == {
        (told[0].rule, told[0].message, "act.proposal")
    }


def test_only_the_lead_or_its_coordinator_proposes_and_accepts(two: Two) -> None:
    fields = {"addressee": THEIRS, "told": ("XK", "ME"), "continues_in": two.goes_on}
    assert two.refused(WORK, two.ends, MergeProposed, **fields).rule == "lead"
    assert two.refused(COURT, two.ends, MergeProposed, **fields).rule == "role"
    proposal = two.proposed(NAC)
    accept = two.acceptance(proposal)
    assert two.refused("me-csw-niksic", two.goes_on, MergeAccepted, **accept).rule == "lead"
    acceptance = two.accepted(proposal, THEIR_NAC)
    end = {"continues_in": two.goes_on, "acceptance": acceptance}
    assert two.refused(WORK, two.ends, CaseMerged, **end).rule == "lead"
    # Not even the side that accepted ends another country's case.
    for agency in (THEIRS, THEIR_NAC):
        assert two.refused(agency, two.ends, CaseMerged, **end).rule == "lead"
    two.ended(acceptance, NAC)
    two.ledger.judge_again()


def test_a_third_country_accepts_no_proposal_that_was_made_to_another(two: Two) -> None:
    proposal = two.proposed()
    other = two.ledger.opened("al-police-thb", ("AL",))
    accept = two.acceptance(proposal)
    assert two.refused("al-police-thb", other, MergeAccepted, **accept).rule == "no-such-merge"


def test_nobody_accepts_the_own_proposal() -> None:
    ledger = SeveralCases(AGENCIES)
    two = Two(ledger, ledger.opened(POLICE, ("XK",)), ledger.opened(WORK, ("XK",)))
    own = {"addressee": NAC, "told": ("XK",), "continues_in": two.goes_on}
    assert two.refused(NAC, two.ends, MergeProposed, **own).rule == "own-proposal"
    proposal = two.proposed(NAC, WORK, ("XK",))
    refused = two.refused(NAC, two.goes_on, MergeAccepted, **two.acceptance(proposal))
    assert refused.rule == "second-agency"
    # Two agencies of one country opened a case on one girl: the other agency accepts.
    two.ended(two.accepted(proposal, WORK), POLICE)
    assert two.state(two.ends).merged_into is not None
    assert two.state(two.goes_on).parties == ("XK",)
    two.ledger.judge_again()


def test_a_case_ends_only_where_the_other_accepted_this_very_proposal(two: Two) -> None:
    end = {"continues_in": two.goes_on, "acceptance": uuid4()}
    assert two.refused(POLICE, two.ends, CaseMerged, **end).rule == "no-merge-proposed"
    two.proposed()
    assert two.refused(POLICE, two.ends, CaseMerged, **end).rule == "no-such-merge"
    own = two.ledger.opened(POLICE, ("XK",))
    for target in (own, uuid4(), two.ends):
        end = {"continues_in": target, "acceptance": uuid4()}
        assert two.refused(POLICE, two.ends, CaseMerged, **end).rule == "no-such-merge"


def test_a_declined_merge_leaves_the_case_as_it_was(two: Two) -> None:
    before = said(two.state(two.ends))
    proposal = two.proposed()
    decline = {"proposal": proposal, "reason": "another_person"}
    assert two.refused(POLICE, two.ends, MergeDeclined, **decline).rule == "addressee"
    assert two.owed(two.ends)[ObligationKind.MERGE, "merge_accepted"].debtor_agency == THEIRS
    two.take(THEIRS, two.ends, MergeDeclined, **decline)
    assert said(two.state(two.ends)) == before
    owed = two.owed(two.ends)[ObligationKind.MERGE, "merge_accepted"]
    assert owed.outcome is ObligationOutcome.DECLINED
    # The country that the proposal brought into the case has no part in it any more.
    assert two.refused(THEIRS, two.ends, RiskAssessed, risk_level="low").rule == "unknown-case"
    two.ledger.judge_again()


def test_a_country_that_takes_part_otherwise_stays_after_a_declined_merge(two: Two) -> None:
    proposal = two.proposed()
    two.take(
        POLICE, two.ends, InformationRequested,
        addressee="me-csw-niksic", topics=("identity",), purpose="identification",
    )  # fmt: skip
    two.take(THEIRS, two.ends, MergeDeclined, proposal=proposal, reason="not_certain")
    assert "ME" in two.state(two.ends).parties


def test_the_proposing_side_withdraws(two: Two) -> None:
    proposal = two.proposed()
    withdrawal = {"proposal": proposal, "reason": "withdrawn"}
    assert two.refused(THEIRS, two.ends, MergeDeclined, **withdrawal).rule == "lead"
    two.take(NAC, two.ends, MergeDeclined, **withdrawal)
    assert two.state(two.ends).merge_proposal is None
    # An acceptance comes too late.
    late = two.refused(THEIRS, two.goes_on, MergeAccepted, **two.acceptance(proposal))
    assert late.rule == "no-such-merge"
    end = {"continues_in": two.goes_on, "acceptance": uuid4()}
    assert two.refused(THEIRS, two.ends, CaseMerged, **end).rule == "unknown-case"
    assert two.refused(POLICE, two.ends, CaseMerged, **end).rule == "no-merge-proposed"
    two.ledger.judge_again()


def test_a_merge_gains_no_time() -> None:
    """Deadlines of the procedure run from the earlier of the two openings."""
    ledger = SeveralCases(AGENCIES)
    two = Two(ledger, ledger.opened(POLICE, ("XK", "ME")), ledger.opened(THEIRS, ("ME",), 2 * DAY))
    step = (ObligationKind.PROCEDURE, "risk_assessed")
    before = two.owed(two.goes_on)[step]
    earlier = two.owed(two.ends)[step]
    assert before.due is not None
    assert earlier.due is not None
    assert earlier.due < before.due
    acceptance = two.accepted(two.proposed())
    assert two.owed(two.goes_on)[step].due == earlier.due
    later = two.acceptance(uuid4(), opened_at=START + 30 * DAY)
    assert two.refused(THEIRS, two.goes_on, MergeAccepted, **later).rule == "taken-in"
    two.ended(acceptance)
    ended = two.owed(two.ends)[step]
    assert ended.outcome is ObligationOutcome.MERGED
    assert two.owed(two.ends)[ObligationKind.MERGE, "case_merged"].outcome is ObligationOutcome.DONE


def test_the_opening_that_an_acceptance_names_is_the_true_one(two: Two) -> None:
    late = two.acceptance(two.proposed(), opened_at=START + 30 * DAY)
    assert two.refused(THEIRS, two.goes_on, MergeAccepted, **late).rule == "merge-opening"


def test_what_was_asked_for_is_answered_in_the_case_that_ended(two: Two) -> None:
    request = two.take(
        POLICE, two.ends, InformationRequested, addressee=WORK,
        topics=("identity",), purpose="identification", answer_by=date(2026, 2, 1),
    )  # fmt: skip
    two.merged()
    owed = two.owed(two.ends)[ObligationKind.ANSWER, "information_provided"]
    assert owed.closed is None
    assert owed.due is not None
    two.take(WORK, two.ends, InformationProvided, request=request, complete=True)
    owed = two.owed(two.ends)[ObligationKind.ANSWER, "information_provided"]
    assert owed.outcome is ObligationOutcome.DONE


def closed(two: Two) -> None:
    two.take(THEIR_NAC, two.goes_on, CaseClosed, reason="reintegrated")


def test_a_case_with_a_hold_is_not_merged(two: Two) -> None:
    """A hold stays where it was placed: the cases are merged once it is lifted."""
    ground = {"ground": "proceedings"}
    hold = two.take(COURT, two.ends, LegalHoldPlaced, **ground)
    fields = {"addressee": THEIRS, "told": ("XK", "ME"), "continues_in": two.goes_on}
    assert two.refused(POLICE, two.ends, MergeProposed, **fields).rule == "unsettled-hold"
    two.take(COURT, two.ends, LegalHoldLifted, hold=hold)
    proposal = two.proposed()
    theirs = two.take(THEIR_COURT, two.goes_on, LegalHoldPlaced, **ground)
    accept = two.acceptance(proposal)
    assert two.refused(THEIRS, two.goes_on, MergeAccepted, **accept).rule == "unsettled-hold"
    two.take(THEIR_COURT, two.goes_on, LegalHoldLifted, hold=theirs)
    acceptance = two.accepted(proposal)
    hold = two.take(COURT, two.ends, LegalHoldPlaced, **ground)
    end = {"continues_in": two.goes_on, "acceptance": acceptance}
    assert two.refused(POLICE, two.ends, CaseMerged, **end).rule == "unsettled-hold"
    two.take(COURT, two.ends, LegalHoldLifted, hold=hold)
    two.ended(acceptance)
    closed(two)
    # The court of either country now holds the case that continues; the one that ended takes none.
    assert two.refused(COURT, two.ends, LegalHoldPlaced, **ground).rule == "merged-case"
    placed = two.take(COURT, two.goes_on, LegalHoldPlaced, **ground)
    propose = {"ground": "persons_request"}
    assert two.refused(THEIRS, two.goes_on, ErasureProposed, **propose).rule == "legal-hold"
    lifted = two.take(COURT, two.goes_on, LegalHoldLifted, hold=placed)
    two.take(THEIRS, two.goes_on, ErasureProposed, **propose)
    # Others rest on the lifting: it is not taken back.
    annul = {"corrects": lifted, "effect": "annulled", "reason": "entry_error"}
    assert two.refused(COURT, two.goes_on, Correction, **annul).rule == "not-annullable"
    two.ledger.judge_again()


def test_undoing_a_merge_escapes_no_hold(two: Two) -> None:
    """Neither an erasure nor another merge of the case that ended escapes it."""
    acceptance, merge = two.merged()
    hold = two.take(THEIR_COURT, two.goes_on, LegalHoldPlaced, ground="proceedings")
    two.undone(acceptance, merge)
    two.take(NAC, two.ends, CaseClosed, reason="reintegrated")
    propose = {"ground": "persons_request"}
    assert two.refused(POLICE, two.ends, ErasureProposed, **propose).rule == "legal-hold"
    third = Two(two.ledger, two.ends, two.ledger.opened(WORK, ("XK",), 3 * DAY), two.at)
    fields = {"addressee": WORK, "told": ("XK",), "continues_in": third.goes_on}
    assert third.refused(POLICE, third.ends, MergeProposed, **fields).rule == "unsettled-hold"
    two.at = third.at
    two.take(THEIR_COURT, two.goes_on, LegalHoldLifted, hold=hold)
    two.take(POLICE, two.ends, ErasureProposed, **propose)
    two.ledger.judge_again()


def test_a_hold_is_found_through_every_case_that_was_ever_joined(two: Two) -> None:
    """Of a case that was parted, with what it had been parted from before."""
    acceptance, merge = two.merged()
    hold = two.take(THEIR_COURT, two.goes_on, LegalHoldPlaced, ground="proceedings")
    two.undone(acceptance, merge)
    parted = two.state(two.ends).parted
    third = two.ledger.opened(WORK, ("XK",), 3 * DAY)
    taking = TakenIn(case=two.ends, proposal=uuid4(), by=WORK, since=two.at)
    took_in = two.state(third).model_copy(update={"taken_in": {uuid4(): taking}})
    assert held_elsewhere(took_in, two.ledger.cases)
    # A case that was parted from the third one before the third was parted from the others.
    undoing = two.ledger.acts(third)[0].id
    apart = Parted(case=third, undoing=undoing)
    fourth = two.state(third).model_copy(update={"parted": {uuid4(): apart}})
    far = replace(two.ledger.cases[third], state=two.state(third).model_copy(
        update={"parted": {undoing: next(iter(parted.values()))}}
    ))  # fmt: skip
    assert not held_elsewhere(fourth, {**two.ledger.cases, third: far})
    later = Parted(case=third, undoing=uuid4())
    fourth = fourth.model_copy(update={"parted": {uuid4(): later}})
    assert held_elsewhere(fourth, {**two.ledger.cases, third: far})
    two.take(THEIR_COURT, two.goes_on, LegalHoldLifted, hold=hold)
    assert not held_elsewhere(took_in, two.ledger.cases)
    assert not held_elsewhere(fourth, {**two.ledger.cases, third: far})


def test_an_erasure_of_merged_cases_needs_another_party(two: Two) -> None:
    two.merged()
    closed(two)
    proposal = two.take(THEIRS, two.goes_on, ErasureProposed, ground="persons_request")
    approve = {"proposal": proposal}
    refused = two.refused("me-ombudsman", two.goes_on, ErasureApproved, **approve)
    assert refused.rule == "other-party"
    assert "XK" in refused.message
    two.take("xk-ombudsperson", two.goes_on, ErasureApproved, **approve)
    two.ledger.judge_again()


ADULT = AgeGroup.ADULT


@pytest.mark.parametrize(
    ("rule", "agency", "act"),
    [
        ("unsettled-access", NAC, "break_glass_opened"),
        ("unsettled-return", POLICE, "planned"),
        ("unsettled-erasure", POLICE, "erasure_proposed"),
        ("other-age-group", POLICE, "adult"),
        ("unsettled-facts", POLICE, "victim_identified"),
        ("unsettled-facts", WORK, "of_age"),
    ],
)
def test_a_merge_waits_until_the_case_is_simple(two: Two, rule: str, agency: str, act: str) -> None:
    """Each is refused at the end of the case, whatever the proposal was made on."""
    acceptance = two.accepted(two.proposed())
    case = two.ledger.cases[two.ends]
    update: dict[str, Any] = {}
    match act:
        case "break_glass_opened":
            two.take(
                agency, two.ends, BreakGlassOpened, danger="threat_to_life", groups=("identity",),
                until=two.at + timedelta(hours=3),
            )  # fmt: skip
        case "planned":
            update = {"planned_return": PlannedReturn(destination="ME")}
        case "erasure_proposed":
            two.take(NAC, two.ends, CaseClosed, reason="reintegrated")
            two.take(agency, two.ends, ErasureProposed, ground="persons_request")
        case "adult":
            update = {"age_group": ADULT}
        case "victim_identified":
            two.take(
                agency, two.ends, VictimIdentified, status="ActualVictimOfTrafficking",
                decided_by="Police", types_of_exploitation=("ForcedBegging",),
            )  # fmt: skip
        case "of_age":
            update = {"of_age_from": "2027-01-01"}
    if update:
        changed = replace(case, state=case.state.model_copy(update=update))
        two.ledger.cases[two.ends] = changed
    end = {"continues_in": two.goes_on, "acceptance": acceptance}
    refused = two.refused(POLICE, two.ends, CaseMerged, **end)
    assert refused.rule == rule
    if act == "victim_identified":
        assert "victim_identified" in refused.message
        # The country joined the case that continues, and records there what it did, as of then.
        two.take(
            POLICE, two.goes_on, VictimIdentified, status="ActualVictimOfTrafficking",
            decided_by="Police", types_of_exploitation=("ForcedBegging",),
        )  # fmt: skip
        two.ended(acceptance)
        two.ledger.judge_again()


def test_a_childs_case_is_not_accepted_into_an_adults() -> None:
    ledger = SeveralCases(AGENCIES)
    child, grown = ledger.opened(POLICE, ("XK",)), uuid4()
    opened = opening(("ME",), acted_at=START + 2 * DAY).model_copy(update={"age_group": ADULT})
    ledger.take(THEIRS, opened, grown)
    two = Two(ledger, child, grown)
    accept = two.acceptance(two.proposed())
    assert two.refused(THEIRS, grown, MergeAccepted, **accept).rule == "other-age-group"


def test_a_country_settles_what_is_its_own_before_its_part_ends(two: Two) -> None:
    """By a declined proposal or an undoing no hold and no request is left without its country."""
    proposal = two.proposed()
    hold = two.take(THEIR_COURT, two.ends, LegalHoldPlaced, ground="proceedings")
    withdraw = {"proposal": proposal, "reason": "withdrawn"}
    refused = two.refused(NAC, two.ends, MergeDeclined, **withdraw)
    assert refused.rule == "unsettled-part"
    assert "legal_hold_lifted" in refused.message
    two.take(THEIR_COURT, two.ends, LegalHoldLifted, hold=hold)
    acceptance = two.accepted(proposal)
    merge = two.ended(acceptance)
    hold = two.take(COURT, two.goes_on, LegalHoldPlaced, ground="proceedings")
    request = two.take(
        POLICE, two.goes_on, InformationRequested, addressee=THEIRS,
        topics=("identity",), purpose="identification", answer_by=date(2026, 2, 1),
    )  # fmt: skip
    two.announced(acceptance)
    undo = {"merge": acceptance, "ground": "another_person"}
    refused = two.refused(POLICE, two.goes_on, MergeUndone, **undo)
    assert refused.rule == "unsettled-part"
    assert "XK" in refused.message
    assert "request" in refused.message
    two.take(THEIRS, two.goes_on, InformationProvided, request=request, complete=True)
    assert two.refused(POLICE, two.goes_on, MergeUndone, **undo).rule == "unsettled-part"
    two.take(COURT, two.goes_on, LegalHoldLifted, hold=hold)
    undoing = two.take(POLICE, two.goes_on, MergeUndone, **undo)
    two.take(
        POLICE, two.ends, MergeUndone, merge=merge, ground="another_person",
        continued_in=two.goes_on, undoing=undoing,
    )  # fmt: skip
    assert two.state(two.goes_on).parties == ("ME",)
    two.ledger.judge_again()


def test_a_merge_hides_no_lateness_and_makes_nobody_late() -> None:
    ledger = SeveralCases(AGENCIES)
    two = Two(
        ledger, ledger.opened(POLICE, ("XK",)), ledger.opened(THEIRS, ("ME",), 90 * DAY),
        START + 90 * DAY + timedelta(hours=1),
    )  # fmt: skip
    before = {key: one.due for key, one in two.owed(two.goes_on).items()}
    was_late = {k for k, one in two.owed(two.ends).items() if one.is_overdue(two.at)}
    assert was_late
    two.merged()
    for key in was_late:
        owed = two.owed(two.ends)[key]
        assert (owed.outcome, owed.late) == (ObligationOutcome.MERGED, True)
        debt = Debt.of(owed)
        assert debt is not None
        assert debt.standing(two.at + DAY) is ObligationStanding.LATE
    goes_on = two.owed(two.goes_on)
    assert {key: goes_on[key].due for key in before if goes_on[key].debtor == "ME"} == {
        key: due for key, due in before.items() if goes_on[key].debtor == "ME"
    }
    assert not [one for one in goes_on.values() if one.is_overdue(two.at)]


def test_an_erasure_covers_both_cases(two: Two) -> None:
    two.merged()
    closed(two)
    confirm = {"order": None}
    assert two.refused("xk-node", two.ends, ErasureConfirmed, **confirm).rule == "merged-case"
    proposal = two.take(THEIRS, two.goes_on, ErasureProposed, ground="persons_request")
    order = two.take(NAC, two.goes_on, ErasureApproved, proposal=proposal)
    assert two.refused("xk-node", two.ends, ErasureConfirmed, **confirm).rule == "no-such-order"
    two.take("xk-node", two.ends, ErasureConfirmed, order=order, upto=2)
    erasure = two.state(two.ends).erasure
    assert erasure is not None
    assert (erasure.order, erasure.confirmed, erasure.pending) == (order, ("XK",), ("ME",))
    # Erased is erased: the merge is undone no more.
    acceptance = next(iter(two.state(two.goes_on).taken_in))
    undo = {"merge": acceptance, "ground": "another_person"}
    assert two.refused(THEIRS, two.goes_on, MergeUndone, **undo).rule == "erased-case"
    two.ledger.judge_again()


def test_nothing_is_erased_while_a_merge_is_half_done(two: Two) -> None:
    acceptance = two.accepted(two.proposed())
    closed(two)
    propose = {"ground": "persons_request"}
    refused = two.refused(THEIRS, two.goes_on, ErasureProposed, **propose)
    assert refused.rule == "merge-not-concluded"
    two.ended(acceptance)
    two.take(THEIRS, two.goes_on, ErasureProposed, **propose)


def test_retention_of_the_ended_case_is_that_of_the_other(two: Two) -> None:
    two.take(NAC, two.ends, CaseClosed, reason="not_a_victim")
    assert two.state(two.ends).closed_at is not None
    two.merged()
    assert two.state(two.ends).closed_at is None
    assert two.state(two.ends).closure is None


def test_both_cases_go_on_after_an_undoing_as_if_not_merged(two: Two) -> None:
    ended, goes_on = two.state(two.ends), two.state(two.goes_on)
    owed = {key: one.due for key, one in two.owed(two.ends).items()}
    acceptance = two.accepted(two.proposed())
    merge = two.ended(acceptance)
    early = {"merge": merge, "ground": "another_person", "continued_in": two.goes_on,
             "undoing": uuid4()}  # fmt: skip
    assert two.refused(POLICE, two.ends, MergeUndone, **early).rule == "undone-elsewhere-first"
    outsider = {"merge": acceptance, "ground": "another_person"}
    assert two.refused(WORK, two.goes_on, MergeUndone, **outsider).rule == "lead"
    mine = {"merge": acceptance, "ground": "another_person", "continued_in": two.goes_on}
    assert two.refused(WORK, two.ends, MergeUndone, **mine).rule == "lead"
    two.undone(acceptance, merge)
    assert said(two.state(two.ends)) == said(ended)
    assert said(two.state(two.goes_on)) == said(goes_on)
    now = two.owed(two.ends)
    for step in ("merge_accepted", "case_merged"):
        assert now.pop((ObligationKind.MERGE, step)).closed is not None
    undoing = now.pop((ObligationKind.MERGE, "merge_undone"))
    assert undoing.outcome is ObligationOutcome.DONE
    assert {key: one.due for key, one in now.items()} == owed
    assert all(one.outcome is None for one in now.values())
    two.take(POLICE, two.ends, RiskAssessed, risk_level="high")
    # The trail has it all.
    kinds = [act.kind for act in two.ledger.acts(two.ends)]
    assert kinds == ["case_opened", "merge_proposed", "case_merged", "merge_undone",
                     "merge_undone", "risk_assessed"]  # fmt: skip
    # And they may be merged again, by another proposal.
    two.take(THEIRS, two.goes_on, RiskAssessed, risk_level="high")
    two.ended(two.accepted(two.proposed()))
    assert two.state(two.ends).merged_into is not None
    two.ledger.judge_again()


def test_the_second_half_of_an_undoing_is_owed(two: Two) -> None:
    """The case that ended announces the undoing, and owes it until it is recorded in both."""
    acceptance, merge = two.merged()
    undo = {"merge": acceptance, "ground": "another_person"}
    refused = two.refused(THEIRS, two.goes_on, MergeUndone, **undo)
    assert refused.rule == "undoing-not-announced"
    assert str(two.ends) in refused.message
    announcement = two.announced(acceptance, THEIRS)
    owed = two.owed(two.ends)[ObligationKind.MERGE, "merge_undone"]
    assert (owed.debtor_agency, owed.concerning) == (POLICE, announcement)
    assert owed.due is not None
    assert timedelta() <= owed.due - owed.opened.acted_at - 14 * DAY <= DAY
    # Nothing is undone by the announcement, and there is one at a time.
    assert two.state(two.ends).is_closed
    assert set(two.state(two.goes_on).parties) == {"XK", "ME"}
    again = {**undo, "continued_in": two.goes_on}
    assert two.refused(POLICE, two.ends, MergeUndone, **again).rule == "undoing-announced"
    # It can be withdrawn while nothing is undone.
    withdraw = {"proposal": announcement, "reason": "withdrawn"}
    assert two.refused(WORK, two.ends, MergeDeclined, **withdraw).rule == "lead"
    two.take(THEIR_NAC, two.ends, MergeDeclined, **withdraw)
    owed = two.owed(two.ends)[ObligationKind.MERGE, "merge_undone"]
    assert owed.outcome is ObligationOutcome.DECLINED
    announcement = two.announced(acceptance)
    undoing = two.take(THEIRS, two.goes_on, MergeUndone, **undo)
    assert two.state(two.goes_on).taken_in == {}
    withdraw["proposal"] = announcement
    assert two.refused(POLICE, two.ends, MergeDeclined, **withdraw).rule == "undone-elsewhere"
    (owed,) = [one for one in two.owed(two.ends).values() if one.closed is None]
    assert (owed.action, owed.concerning) == ("merge_undone", announcement)
    two.at += 20 * DAY
    two.take(
        POLICE, two.ends, MergeUndone, merge=merge, ground="another_person",
        continued_in=two.goes_on, undoing=undoing,
    )  # fmt: skip
    two.take(POLICE, two.ends, Correction, corrects=two.take(
        POLICE, two.ends, RiskAssessed, risk_level="high"
    ), effect="annulled", reason="entry_error")  # fmt: skip
    ended = [
        one
        for one in obligations(two.ledger.acts(two.ends), two.ledger.agreement).by_id.values()
        if one.action == "merge_undone"
    ]
    assert [(one.outcome, one.late) for one in ended] == [
        (ObligationOutcome.DECLINED, False),
        (ObligationOutcome.DONE, True),
    ]
    two.ledger.judge_again()


def test_a_merge_that_was_accepted_alone_is_undone_alone(two: Two) -> None:
    """The case that was to end has not ended, so it owes nothing; and it ends no more by this."""
    proposal = two.proposed()
    acceptance = two.accepted(proposal)
    two.take(THEIRS, two.goes_on, MergeUndone, merge=acceptance, ground="another_person")
    end = {"continues_in": two.goes_on, "acceptance": acceptance}
    refused = two.refused(POLICE, two.ends, CaseMerged, **end)
    assert (refused.rule, "undone" in refused.message) == ("no-such-merge", True)
    two.ended(two.accepted(proposal))
    two.ledger.judge_again()


def test_merged_cases_form_no_chain(two: Two) -> None:
    acceptance, merge = two.merged()
    again = {"addressee": THEIR_NAC, "told": ("XK", "ME"), "continues_in": two.goes_on}
    assert two.refused(POLICE, two.ends, MergeProposed, **again).rule == "merged-case"
    third = two.ledger.opened("al-police-thb", ("AL",), 3 * DAY)
    on = {"addressee": "al-police-thb", "told": ("ME", "AL"), "continues_in": third}
    assert two.refused(THEIRS, two.goes_on, MergeProposed, **on).rule == "unsettled-merge"
    # Nor does a case take in a second one.
    other = Two(two.ledger, third, two.goes_on, two.at)
    proposal = other.proposed("al-police-thb", THEIRS, ("ME", "AL"))
    accept = other.acceptance(proposal)
    refused = other.refused(THEIRS, two.goes_on, MergeAccepted, **accept)
    assert refused.rule == "unsettled-merge"
    assert "merge_undone" in refused.message
    two.at = other.at
    two.undone(acceptance, merge)
    other.at = two.at
    other.ended(other.accepted(proposal), "al-police-thb")
    assert set(two.state(two.goes_on).parties) == {"ME", "AL"}
    two.ledger.judge_again()


def test_two_cases_never_lead_to_each_other(two: Two) -> None:
    """Each proposes to end in the other: neither ends before the other was parted from it."""
    back = Two(two.ledger, two.goes_on, two.ends, two.at)
    first = two.proposed()
    second = back.proposed(THEIRS, POLICE)
    refused = two.refused(THEIRS, two.goes_on, MergeAccepted, **two.acceptance(first))
    assert refused.rule == "merge-proposed"
    back.at = two.at
    back.take(THEIRS, two.goes_on, MergeDeclined, proposal=second, reason="withdrawn")
    two.at = back.at
    two.accepted(first)
    back.at = two.at
    propose = {"addressee": POLICE, "told": ("XK", "ME"), "continues_in": two.ends}
    assert back.refused(THEIRS, two.goes_on, MergeProposed, **propose).rule == "unsettled-merge"


def test_a_link_is_of_the_countries_that_are_told(two: Two) -> None:
    link = {"linked_case": two.goes_on, "relation": "sibling"}
    assert two.refused(POLICE, two.ends, CasesLinked, told=("XK", "ME"), **link).rule == "told"
    assert two.refused(POLICE, two.ends, CasesLinked, told=("ME",), **link).rule == "told"
    linked = two.take(WORK, two.ends, CasesLinked, told=("XK",), **link)
    assert two.state(two.ends).links[linked].told == ("XK",)
    two.take(POLICE, two.ends, CasesUnlinked, link=linked)
    assert two.state(two.ends).links == {}
    assert two.refused(POLICE, two.ends, CasesUnlinked, link=linked).rule == "no-such-link"
    # Both go on as before.
    two.take(POLICE, two.ends, RiskAssessed, risk_level="high")
    assert fold(two.ledger.acts(two.ends), two.ledger.agreement) == two.state(two.ends)


def test_a_country_that_is_not_told_is_owed_no_field_of_a_link(two: Two) -> None:
    """The other country of the case learns that it is linked, and not with which case."""
    case_id = two.ledger.opened(POLICE, ("XK", "ME"))
    link = {"linked_case": two.ends, "relation": "sibling", "told": ("XK",)}
    linked = two.take(WORK, case_id, CasesLinked, **link)
    told = two.take(
        WORK, case_id, CasesLinked, **{**link, "linked_case": two.goes_on, "told": ("XK", "ME")}
    )
    case, protocol = two.ledger.cases[case_id], two.ledger.protocol
    theirs = {part.action for part in must_hold(case, "ME", protocol)}
    assert told in theirs
    assert linked not in theirs
    assert list(may_give(case, linked, "XK", "ME", protocol)) == []
    own = {part.action: part.holders for part in must_hold(case, "XK", protocol)}
    assert (own[linked], own[told]) == ((), ("ME",))


def test_what_was_recorded_in_the_wrong_case_is_destroyed_after_the_merge_too(two: Two) -> None:
    note = two.take(WORK, two.ends, RiskAssessed, risk_level="high", threats="zq")
    two.take(THEIRS, two.goes_on, RiskAssessed, risk_level="high")
    two.merged()
    two.take(WORK, two.ends, Correction, corrects=note, effect="annulled", reason="wrong_case")
    proposal = two.take(WORK, two.ends, DestructionProposed, annulled=note)
    # Montenegro received the note by the merge, so Kosovo does not decide alone.
    own = two.refused("xk-ombudsperson", two.ends, DestructionApproved, proposal=proposal)
    assert own.rule == "second-party"
    order = two.take(THEIR_NAC, two.ends, DestructionApproved, proposal=proposal)
    (ordered,) = two.state(two.ends).destructions.values()
    assert ordered.order == order
    # A hold of the case that continues holds the note too.
    hold = two.take(THEIR_COURT, two.goes_on, LegalHoldPlaced, ground="proceedings")
    assert held_by_continuing(two.state(two.ends), two.known)
    two.take(THEIR_COURT, two.goes_on, LegalHoldLifted, hold=hold)
    assert not held_by_continuing(two.state(two.ends), two.known)
    assert held_by_continuing(two.state(two.ends), lambda _: None)
