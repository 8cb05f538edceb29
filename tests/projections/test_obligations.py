"""Obligations are opened and discharged by events alone, however the events are folded."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations
from typing import get_args
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from ledger.procedure.case_fold import evolve, fold, without_effect
from ledger.procedure.case_state import CaseState
from ledger.refusals import Refusal
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    CaseReopened,
    Correction,
    InformationAcknowledged,
    InformationDeclined,
    InformationProvided,
    InformationRequested,
    JointActionAgreed,
    JointActionDone,
    LeadTransferAccepted,
    LeadTransferOffered,
    MeetingHeld,
)
from ledger.vocabulary.destruction import DestructionApproved, DestructionProposed
from ledger.vocabulary.erasure import ErasureApproved, ErasureConfirmed, ErasureProposed
from ledger.vocabulary.identification import NotAVictim, VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.linking import CaseMerged, MergeProposed
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    Danger,
    InformationTopic,
    Purpose,
    RiskLevel,
    TypeOfExploitation,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.return_and_inclusion import FamilyTraced
from ledger.vocabulary.sharing import BreakGlassOpened, BreakGlassReviewed
from projections.folds.expected_steps import COMING_OF_AGE, expected_steps, owed_steps
from projections.folds.obligation_terms import ObligationKind, ObligationState
from projections.folds.obligation_terms import ObligationOutcome as Outcome
from projections.folds.obligations import CaseObligations, Obligation, after_act, obligations
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.counterparts import ACCEPTANCE, CONTINUING
from tests.support.recorded_case import RecordedCase

AGENCIES, SECOND_PERSONS = Agencies(), Agencies()
PROTOCOL = AGENCIES.protocol
DAY = timedelta(days=1)
CASES = int(os.environ.get("CASE_LEDGER_TEST_CASES", "5"))


def made(model: type[Action], days: float = 1, **fields: object) -> Action:
    """An action with the first of each choice where the test names none."""
    values: dict[str, object] = {"acted_at": START + days * DAY, **fields}
    for name, info in model.model_fields.items():
        if name not in values and info.is_required():
            choices = get_args(info.annotation) or tuple(info.annotation)  # type: ignore[arg-type]
            values[name] = choices[0]
    return model.model_validate(values)


def request(to: str = "me-nac", days: float = 1, answer_within: int = 7) -> Action:
    return InformationRequested(
        acted_at=START + days * DAY,
        addressee=to,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
        answer_by=(START + (days + answer_within) * DAY).date(),
    )


def annulling(action: UUID, days: float) -> Action:
    return made(Correction, days, corrects=action, effect=CorrectionEffect.ANNULLED)


@pytest.fixture
def case() -> RecordedCase:
    case = RecordedCase(AGENCIES, second_persons=SECOND_PERSONS)
    case.take("xk-dhtqnj", opening(("XK", "ME")))
    return case


def all_of(case: RecordedCase) -> list[Obligation]:
    return list(obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values())


def of_kind(case: RecordedCase, *kinds: ObligationKind) -> list[Obligation]:
    return [obligation for obligation in all_of(case) if obligation.kind in kinds]


def one(case: RecordedCase, action: str, state: ObligationState | None = None) -> Obligation:
    (found,) = (
        o for o in all_of(case) if o.action == action and (state is None or o.state is state)
    )
    return found


ASKED = (ObligationKind.ACKNOWLEDGEMENT, ObligationKind.ANSWER)


def test_a_request_is_acknowledged_and_answered(case: RecordedCase) -> None:
    asked = case.take("xk-nac", request())
    acknowledgement, answer = of_kind(case, *ASKED)
    for owed in (acknowledgement, answer):
        assert (owed.debtor, owed.debtor_agency) == ("ME", "me-nac")
        assert (owed.creditors, owed.creditor_agency) == (("XK",), "xk-nac")
        assert (owed.concerning, owed.opened.action, owed.opened.position) == (asked, asked, 6)
        assert owed.opened.acted_at == START + DAY
        assert owed.due == datetime(2026, 1, 13, 23, 59, 59, tzinfo=UTC)
        assert (owed.state, owed.outcome, owed.closed) == (ObligationState.OPEN, None, None)
        assert owed.is_overdue(START + 9 * DAY)
        assert not owed.is_overdue(START + 8 * DAY)
    confirmed = case.take("me-nac", made(InformationAcknowledged, 2, request=asked))
    acknowledgement, answer = of_kind(case, *ASKED)
    assert (acknowledgement.outcome, acknowledgement.late) == (Outcome.DONE, False)
    assert acknowledgement.closed is not None
    assert acknowledgement.closed.action == confirmed
    # What is not all leaves the answer owed, since it was asked for.
    case.take("me-police-thb", request("xk-nac", 3))
    case.take("me-nac", made(InformationProvided, 4, request=asked, complete=False))
    assert one_of(case, answer.id).state is ObligationState.OPEN
    case.take("me-nac", made(InformationProvided, 30, request=asked, complete=True))
    answered = one_of(case, answer.id)
    assert (answered.outcome, answered.late) == (Outcome.DONE, True)
    assert answered.opened.action == asked
    assert answered.is_overdue(START + 29 * DAY)
    assert not answered.is_overdue(START + 60 * DAY)
    assert not answered.is_overdue(START - DAY)


def one_of(case: RecordedCase, obligation_id: UUID) -> Obligation:
    return obligations(case.acts, Agreement.of(PROTOCOL)).by_id[obligation_id]


def test_declining_answers_a_request(case: RecordedCase) -> None:
    asked = case.take("xk-nac", request())
    case.take("me-nac", made(InformationDeclined, 2, request=asked))
    for owed in of_kind(case, *ASKED):
        assert (owed.state, owed.outcome) == (
            ObligationState.DISCHARGED,
            Outcome.DECLINED,
        )
        assert owed.late is False


def test_an_answer_that_is_annulled_is_owed_again(case: RecordedCase) -> None:
    asked = case.take("xk-nac", request())
    answered = case.take("me-nac", made(InformationProvided, 2, request=asked, complete=True))
    first = of_kind(case, *ASKED)
    assert {o.outcome for o in first} == {Outcome.DONE}
    case.take("me-nac", annulling(answered, 3))
    again = of_kind(case, *ASKED)
    assert [(o.id, o.opened) for o in again] == [(o.id, o.opened) for o in first]
    assert {(o.state, o.closed, o.late) for o in again} == {(ObligationState.OPEN, None, None)}


def test_what_stood_on_an_annulled_request_was_never_owed(case: RecordedCase) -> None:
    asked = case.take("xk-nac", request())
    case.take("me-nac", made(InformationProvided, 2, request=asked, complete=True))
    corrected = case.take("xk-nac", annulling(asked, 3))
    for owed in of_kind(case, *ASKED):
        assert (owed.state, owed.outcome) == (ObligationState.LAPSED, Outcome.ANNULLED)
        assert owed.closed is not None
        assert (owed.closed.action, owed.closed.kind) == (corrected, "correction")
        assert owed.late is None


def test_a_step_done_twice_is_discharged_by_the_one_that_stands(case: RecordedCase) -> None:
    first = case.take("xk-dhtqnj", made(RiskAssessed, 0.5, risk_level=RiskLevel.HIGH))
    second = case.take("xk-dhtqnj", made(RiskAssessed, 5, risk_level=RiskLevel.LOW))
    owed = one(case, "risk_assessed")
    assert owed.closed is not None
    assert (owed.closed.action, owed.late) == (first, False)
    case.take("xk-dhtqnj", annulling(first, 6))
    owed = one(case, "risk_assessed")
    assert owed.closed is not None
    assert (owed.closed.action, owed.late) == (second, True)


def test_an_undone_step_is_owed_anew(case: RecordedCase) -> None:
    case.take(
        "xk-dhtqnj",
        made(VictimIdentified, 1, types_of_exploitation=(TypeOfExploitation.FORCED_LABOUR,)),
    )
    case.take("xk-dhtqnj", made(NotAVictim, 2))
    done, anew = (o for o in all_of(case) if o.action == "victim_identified")
    assert (done.outcome, anew.state) == (Outcome.DONE, ObligationState.OPEN)
    assert done.id != anew.id
    assert anew.opened.kind == "not_a_victim"


def test_who_takes_the_lead_takes_what_is_owed(case: RecordedCase) -> None:
    before = one(case, "risk_assessed")
    assert (before.debtor, before.creditors) == ("XK", ("ME",))
    offered = case.take("xk-nac", made(LeadTransferOffered, 1, to_agency="me-csw-podgorica"))
    handover = one(case, "lead_transfer_accepted")
    assert (handover.debtor_agency, handover.creditor_agency) == ("me-csw-podgorica", "xk-nac")
    assert handover.due is None
    taken = case.take("me-csw-podgorica", made(LeadTransferAccepted, 2, offer=offered))
    assert one(case, "lead_transfer_accepted").outcome is Outcome.DONE
    assert one(case, "lead_transfer_accepted").late is None
    lapsed, passed = (o for o in all_of(case) if o.action == "risk_assessed")
    assert (lapsed.id, lapsed.outcome) == (before.id, Outcome.PASSED_ON)
    assert (passed.debtor, passed.creditors, passed.due) == ("ME", ("XK",), before.due)
    assert passed.opened.action == taken


def test_another_offer_takes_the_place_of_the_first(case: RecordedCase) -> None:
    case.take("xk-nac", made(LeadTransferOffered, 1, to_agency="me-csw-podgorica"))
    case.take("xk-nac", made(LeadTransferOffered, 2, to_agency="me-nac"))
    first, second = of_kind(case, ObligationKind.HANDOVER)
    assert (first.outcome, second.state) == (Outcome.NOT_EXPECTED, ObligationState.OPEN)


def test_a_joint_action_is_owed_by_each_that_promised_it(case: RecordedCase) -> None:
    case.take("xk-nac", made(MeetingHeld, 1, host="XK", countries=("XK",), agencies=("xk-nac",)))
    promised = ("xk-dhtqnj", "me-police-thb", "al-nac")
    due = date(2026, 1, 20)
    agreed = case.take("xk-nac", made(JointActionAgreed, 2, responsible=promised, due=due))
    owed = of_kind(case, ObligationKind.JOINT_ACTION)
    assert {o.debtor_agency: o.creditors for o in owed} == {
        "xk-dhtqnj": ("ME", "AL"),
        "me-police-thb": ("XK", "AL"),
        "al-nac": ("XK", "ME"),
    }
    case.take("al-nac", made(JointActionDone, 3, agreed_action=agreed))
    assert {o.outcome for o in of_kind(case, ObligationKind.JOINT_ACTION)} == {Outcome.DONE}


def test_closing_ends_what_the_procedure_expects(case: RecordedCase) -> None:
    case.take("xk-nac", request())
    open_before = [o for o in all_of(case) if o.state is ObligationState.OPEN]
    closed = case.take("xk-nac", made(CaseClosed, 2))
    after = {o.id: o for o in all_of(case)}
    assert {after[o.id].outcome for o in open_before} == {Outcome.CASE_CLOSED}
    assert not [o for o in after.values() if o.state is ObligationState.OPEN]
    # Reopened, it is owed again, by another obligation; a closing that never was changes nothing.
    reopened = RecordedCase(AGENCIES, case.case_id, case.case, list(case.events))
    reopened.take("xk-nac", made(CaseReopened, 3))
    owed = [o for o in all_of(reopened) if o.state is ObligationState.OPEN]
    assert {o.opened.kind for o in owed} == {"case_reopened"}
    assert {o.id for o in owed}.isdisjoint(after)
    case.take("xk-nac", annulling(closed, 3))
    assert [o for o in all_of(case) if o.state is ObligationState.OPEN] == open_before


def test_what_any_party_may_do_is_owed_by_none(case: RecordedCase) -> None:
    case.take("xk-nac", made(FamilyTraced, 1))
    owed = one(case, "family_assessed")
    assert (owed.debtor, owed.debtor_agency, owed.creditors) == (None, None, ())
    assert owed.roles == ("social_services",)


def test_a_country_that_joins_is_owed_too(case: RecordedCase) -> None:
    assert one(case, "risk_assessed").creditors == ("ME",)
    case.take("xk-nac", request("al-nac"))
    assert one(case, "risk_assessed").creditors == ("ME", "AL")


def test_access_in_danger_and_erasure_are_answered_by_every_country(case: RecordedCase) -> None:
    opened = case.take(
        "xk-nac",
        BreakGlassOpened(
            acted_at=START + DAY,
            danger=Danger.THREAT_TO_LIFE,
            groups=(FieldGroup.IDENTITY,),
            until=START + DAY + timedelta(hours=1),
        ),
    )
    case.take("me-nac", made(BreakGlassReviewed, 2, access=opened))
    case.take(
        "me-nac",
        BreakGlassOpened(
            acted_at=START + 2 * DAY,
            danger=Danger.THREAT_TO_LIFE,
            groups=(FieldGroup.IDENTITY,),
            until=START + 2 * DAY + timedelta(hours=1),
        ),
    )
    reviews = {o.debtor: o for o in of_kind(case, ObligationKind.BREAK_GLASS_REVIEW)}
    assert reviews["ME"].outcome is Outcome.DONE
    case.take("xk-nac", made(CaseClosed, 3))
    # A case that is closed does not end these.
    assert one_of(case, reviews["XK"].id).state is ObligationState.OPEN
    proposed = case.take("xk-nac", made(ErasureProposed, 4))
    assert of_kind(case, ObligationKind.ERASURE) == []
    awaited = {o.debtor: o for o in of_kind(case, ObligationKind.APPROVAL)}
    assert {party: o.roles for party, o in awaited.items()} == {
        "XK": ("oversight",),
        "ME": ("coordinator", "oversight"),
    }
    for one in awaited.values():
        assert (one.state, one.action, one.concerning) == (
            ObligationState.OPEN,
            "erasure_approved",
            proposed,
        )
        assert (one.due, one.creditor_agency) == (START + 11 * DAY, "xk-nac")
    order = case.take("me-nac", made(ErasureApproved, 5, proposal=proposed))
    assert {o.outcome for o in of_kind(case, ObligationKind.APPROVAL)} == {Outcome.DONE}
    case.take("xk-node", made(ErasureConfirmed, 6, order=order))
    erasures = {o.debtor: (o.outcome, o.late, o.creditors) for o in of_kind(case, *ERASED)}
    assert erasures == {"XK": (Outcome.DONE, False, ("ME",)), "ME": (None, None, ("XK",))}


ERASED = (ObligationKind.ERASURE,)
OF_WALKS = set(ObligationKind) - {ObligationKind.HOLD_LIFTING}
"""No party leaves in a walk; ``tests/ledger/test_withdrawals.py`` has the lifting of its holds."""


def test_every_way_of_folding_gives_the_same() -> None:
    """Event by event, all at once, and by the simplest definition that there is."""
    kinds: Counter[ObligationKind] = Counter()
    outcomes: Counter[Outcome | None] = Counter()

    some_walks = settings(
        max_examples=3,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # to shrink a walk takes minutes
        suppress_health_check=list(HealthCheck),
    )

    def each_walk(data: st.DataObject) -> None:
        found = kinds.keys() | outcomes.keys()
        wanted = {kind for one, brings in BRINGS.items() if one not in found for kind in brings}
        for obligation in walked(data, wanted):
            kinds[obligation.kind] += 1
            outcomes[obligation.outcome] += 1

    for number in range(96):
        seed(number)(some_walks(given(data=st.data())(each_walk)))()
        is_all = kinds.keys() == OF_WALKS and outcomes.keys() == {None, *Outcome}
        if is_all and 3 * number >= CASES:
            break
    # All this would hold of nothing.
    assert kinds.keys() == OF_WALKS
    assert outcomes.keys() == {None, *Outcome}


BRINGS: Mapping[object, Sequence[str]] = {
    ObligationKind.ACKNOWLEDGEMENT: ("information_requested",),
    ObligationKind.ANSWER: ("information_requested",),
    ObligationKind.BREAK_GLASS_REVIEW: ("break_glass_opened",),
    ObligationKind.COMPENSATION_CLAIM: ("compensation_limit_set",),
    ObligationKind.FORM_ACKNOWLEDGEMENT: ("form_sent",),
    ObligationKind.FORM_ANSWER: ("form_sent",),
    ObligationKind.JOINT_ACTION: ("meeting_held",),
    ObligationKind.MEASURE_END: ("protection_measure_taken",),
    ObligationKind.RECTIFICATION: ("rectification_requested",),
    Outcome.ANNULLED: ("correction",),
    Outcome.DECLINED: ("information_requested", "information_declined"),
}
"""Kinds of actions that bring about what chance seldom does."""


def walked(data: st.DataObject, wanted: Collection[str]) -> Sequence[Obligation]:
    """The obligations of a random walk, in each state; at each step of it all must hold."""
    walk = RecordedCase(AGENCIES, second_persons=SECOND_PERSONS)
    now, known = START, CaseObligations()
    told: dict[UUID, Obligation] = {}
    ever: set[tuple[object, UUID]] = set()
    erased_at = data.draw(st.integers(0, 80), label="step at which an erasure is ordered")
    destroyed_at = data.draw(st.integers(0, 80), label="step at which a destruction is ordered")
    merged_at = data.draw(st.integers(1, 40), label="step at which the case is merged")
    agreed_at = data.draw(st.integers(1, 40), label="step at which a joint action is agreed")
    passed_at = data.draw(st.integers(1, 40), label="step at which the lead passes on")
    states: list[Obligation] = []
    for step in range(40):
        now += timedelta(hours=data.draw(st.sampled_from((1, 30, 24 * 9)), label="hours"))
        recorded = len(walk.events)
        if step == erased_at:
            order_erasure(walk, now)
        elif step == destroyed_at:
            order_destruction(walk, now)
        elif step == merged_at:
            merge(walk, now)
        elif step == agreed_at:
            agree_on_joint_action(walk, now)
        elif step == passed_at:
            pass_lead_on(walk, now)
        else:
            walk.propose(data, now, wanted)
        for number in range(recorded + 1, len(walk.events) + 1):
            acts = walk.acts[:number]
            case = Case.projector(Agreement.of(PROTOCOL))(None, walk.events[:number])
            assert case is not None
            before, known = known, after_act(known, case, acts[-1], Agreement.of(PROTOCOL))
            changed = list(known.since(before))
            states += changed
            told |= {o.id: o for o in changed}
            assert known == obligations(acts, Agreement.of(PROTOCOL))
            check(known, case, acts)
            runs = naive_runs(acts)
            stands = {(key, opener) for key, opener, _ in runs}
            ever |= stands
            everything = [(run_of(o, known), o) for o in known.by_id.values()]
            # The undoing of a merge discharges itself: the case is then folded without the merge.
            gone = {
                run
                for run, o in everything
                if is_annulled(o) or (o.action == "merge_undone" and run[:2] not in stands)
            }
            assert {run for run, _ in everything} - gone == runs
            assert {run[:2] for run in gone} == ever - stands
    assert told == dict(known.by_id)
    return states


COORDINATORS = ("xk-nac", "me-nac", "al-nac")
OVERSEERS = {"xk": "xk-ombudsperson", "me": "me-ombudsman", "al": "al-advocate"}


def order_erasure(walk: RecordedCase, now: datetime) -> None:
    """Order three actions that chance seldom brings in their order, by the lead."""
    for agency in COORDINATORS:
        with suppress(Refusal):
            walk.take(agency, made(CaseClosed, acted_at=now))
        with suppress(Refusal):
            proposed = walk.take(agency, made(ErasureProposed, acted_at=now))
            overseer = OVERSEERS[agency[:2]]
            walk.take(overseer, made(ErasureApproved, acted_at=now, proposal=proposed))


def agree_on_joint_action(walk: RecordedCase, now: datetime) -> None:
    """Agree on a joint action of each country of the case."""
    for agency in COORDINATORS:
        with suppress(Refusal):
            walk.take(agency, made(JointActionAgreed, acted_at=now, responsible=(agency,)))


def pass_lead_on(walk: RecordedCase, now: datetime) -> None:
    """Pass the lead to another country of the case, with what the lead owes."""
    for agency, to in permutations(COORDINATORS, 2):
        with suppress(Refusal):
            offer = walk.take(agency, made(LeadTransferOffered, acted_at=now, to_agency=to))
            walk.take(to, made(LeadTransferAccepted, acted_at=now, offer=offer))
            return


def order_destruction(walk: RecordedCase, now: datetime) -> None:
    """Annul an action that disclosed something, and have that destroyed."""
    for act in walk.acts[1:]:
        party = act.agency[:2]
        with suppress(Refusal):
            if act.digests:
                coordinator = f"{party}-nac"
                wrong = made(Correction, acted_at=now, corrects=act.id, effect="annulled")
                walk.take(coordinator, wrong)
                proposed = made(DestructionProposed, acted_at=now, annulled=act.id)
                proposal = walk.take(coordinator, proposed)
                approved = made(DestructionApproved, acted_at=now, proposal=proposal)
                for overseer in OVERSEERS.values():  # of a country that received it, if any did
                    with suppress(Refusal):
                        walk.take(overseer, approved)
                        return


def merge(walk: RecordedCase, now: datetime) -> None:
    """Let the case end by a merge, as its lead proposes."""
    for agency, to in (("xk-nac", "me-nac"), ("me-nac", "al-nac"), ("al-nac", "xk-nac")):
        told = (agency[:2].upper(), to[:2].upper())
        with suppress(Refusal):
            walk.take(agency, made(MergeProposed, acted_at=now, addressee=to, told=told))
        ended = {"continues_in": CONTINUING, "acceptance": ACCEPTANCE}
        with suppress(Refusal):
            walk.take(agency, made(CaseMerged, acted_at=now, **ended))


Run = tuple[object, UUID, UUID | None]
"""A time in which something was owed: what, from which action to which."""


def is_annulled(obligation: Obligation) -> bool:
    return obligation.outcome is Outcome.ANNULLED


def run_of(obligation: Obligation, known: CaseObligations) -> Run:
    asked = str(obligation.concerning)
    owed_by = (obligation.action, obligation.debtor, obligation.debtor_agency)
    # The protocol expects one action on several bases: the id says on which.
    basis = next(
        (b for b in BASES.get(obligation.action, ()) if obligation.id == id_of(obligation, b)),
        asked,
    )
    if obligation.kind is ObligationKind.COMING_OF_AGE:
        basis = COMING_OF_AGE
    what = (*owed_by, basis)
    if obligation.state is ObligationState.OPEN:
        assert known.open[what].id == obligation.id
    return what, obligation.opened.action, obligation.closed.action if obligation.closed else None


def id_of(obligation: Obligation, basis: str) -> UUID:
    key = (obligation.action, obligation.debtor, obligation.debtor_agency, basis)
    return uuid5(obligation.opened.action, " ".join(part or "-" for part in key))


BASES: Mapping[str, list[str]] = {
    one.action: [
        f"{'+'.join(e.after)} until {e.until}" for e in PROTOCOL.expected if e.action == one.action
    ]
    for one in PROTOCOL.expected
}


def naive_runs(acts: Sequence[Act]) -> set[Run]:
    """Return the obligations after each action in force, cut where each begins and ends."""
    annulled = without_effect(acts)
    state: CaseState | None = None
    owed: list[tuple[set[object], UUID]] = [(set(), UUID(int=0))]
    for act in acts:
        state = evolve(state, act, PROTOCOL, annulled=act.id in annulled)
        if act.id not in annulled:
            keys: set[object] = {
                (o.step.action, o.step.party, o.step.agency, o.basis)
                for o in owed_steps(state, Agreement.of(PROTOCOL), {act.id: act for act in acts})
            }
            owed.append((keys, act.id))
    assert state == fold(acts, Agreement.of(PROTOCOL))
    since: dict[object, UUID] = {}
    runs: set[Run] = set()
    for (before, _), (after, act_id) in pairwise(owed):
        runs |= {(key, since.pop(key), act_id) for key in before - after}
        since |= dict.fromkeys(after - before, act_id)
    return runs | {(key, opener, None) for key, opener in since.items()}


def check(known: CaseObligations, case: Case, acts: Sequence[Act]) -> None:
    """Check the invariants of a case's obligations."""
    places = {act.id: act.position for act in acts}
    annulled = without_effect(acts)
    still = [o for o in known.by_id.values() if o.state is ObligationState.OPEN]
    assert {o.id for o in still} == {owing.id for owing in known.open.values()}
    assert len(still) == len(known.open)
    # Everything that is expected next is owed, with the same deadline.
    owed = {(o.action, o.debtor, o.debtor_agency, o.concerning, o.due) for o in still}
    for step in expected_steps(case.state, Agreement.of(PROTOCOL), case.history):
        assert (step.action, step.party, step.agency, step.concerning, step.due) in owed
    for o in known.by_id.values():
        assert Obligation.model_validate(o.model_dump()) == o
        assert o.debtor is None or o.debtor in PROTOCOL.party_codes
        assert o.creditor_agency is not None or o.debtor not in o.creditors
        assert places[o.opened.action] == o.opened.position
        if o.closed is None:
            assert (o.state, o.outcome, o.late) == (ObligationState.OPEN, None, None)
            continue
        assert places[o.closed.action] == o.closed.position > o.opened.position
        assert (o.state is ObligationState.DISCHARGED) == (
            o.outcome in (Outcome.DONE, Outcome.DECLINED)
        )
        if is_annulled(o):
            assert o.closed.kind in ("correction", "merge_undone")
        else:
            # No annulled action opens, and none discharges.
            assert not {o.opened.action, o.closed.action} & annulled
        if o.state is ObligationState.DISCHARGED and o.due is not None:
            assert o.late == (o.closed.acted_at > o.due)
        elif o.outcome is Outcome.MERGED:
            assert o.late is (True if o.due is not None and o.closed.acted_at > o.due else None)
        else:
            assert o.late is None
