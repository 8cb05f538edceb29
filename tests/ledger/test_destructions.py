"""The destruction of an annulled action's fields: its deciders, and the days to stop it."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import Destruction
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import Correction, InformationRequested
from ledger.vocabulary.destruction import (
    DestructionApproved,
    DestructionConfirmed,
    DestructionProposed,
)
from ledger.vocabulary.erasure import LegalHoldLifted, LegalHoldPlaced
from ledger.vocabulary.picklists import HoldGround, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from projections.folds.obligation_terms import ObligationKind, ObligationOutcome
from projections.folds.obligations import Obligation, obligations
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def refused(case: RecordedCase, agency: str, action: Action) -> str:
    with pytest.raises(Refusal) as refusal:
        case.take(agency, action)
    return refusal.value.rule


def annulment(action: UUID, hours: float) -> Correction:
    return Correction(
        acted_at=later(hours), corrects=action, effect="annulled", reason="wrong_case"
    )


def asking(addressee: str, hours: float) -> InformationRequested:
    return InformationRequested(
        acted_at=later(hours), addressee=addressee, topics=("family",), purpose="protection"
    )


def begun(*others: str, agencies: Agencies = AGENCIES) -> tuple[RecordedCase, UUID]:
    """Return a case of Kosovo and ``others``, and a note in it that belongs to another case."""
    case = RecordedCase(agencies, second_persons=Agencies(agencies.protocol))
    case.take(POLICE, opening(("XK", *others)))
    note = RiskAssessed(acted_at=later(1), risk_level=RiskLevel.HIGH, threats="zq")
    return case, case.take(SOCIAL_WORK, note)


def proposed(case: RecordedCase, note: UUID, by: str = SOCIAL_WORK) -> DestructionApproved:
    """Let the note be annulled and its destruction proposed. Return the approval to be given."""
    case.take(SOCIAL_WORK, annulment(note, 3))
    proposal = case.take(by, DestructionProposed(acted_at=later(4), annulled=note))
    return DestructionApproved(acted_at=later(5), proposal=proposal)


@pytest.mark.parametrize("approves", ["me-nac", "me-ombudsman"])
def test_no_country_alone_destroys_what_another_country_received(approves: str) -> None:
    case, note = begun("ME")
    approve = proposed(case, note)
    for agency in ("xk-nac", "xk-ombudsperson"):
        assert refused(case, agency, approve) == "second-party"
    assert owing(case) == {"ME": ("coordinator", "oversight")}
    case.take(approves, approve)
    assert owing(case) == {}
    assert outcomes(case) == [ObligationOutcome.DONE]


def test_a_country_that_came_later_received_nothing_and_does_not_decide() -> None:
    case, note = begun("ME")
    approve = proposed(case, note)
    case.take(POLICE, asking("al-nac", 4))
    assert refused(case, "al-nac", approve) == "second-party"
    assert owing(case) == {"ME": ("coordinator", "oversight")}
    case.take("me-nac", approve)


def test_a_country_that_an_annulled_request_told_still_decides() -> None:
    case, note = begun()
    request = case.take(POLICE, asking("me-police-thb", 2))
    case.take(POLICE, annulment(request, 2))
    approve = proposed(case, note)
    # Its vault has the note. It has no part in the case, so the note stays until the erasure.
    assert refused(case, "xk-ombudsperson", approve) == "second-party"
    assert refused(case, "me-nac", approve) == "unknown-case"
    assert owing(case) == {}


def test_what_no_other_country_received_is_destroyed_by_two_bodies_of_one_country() -> None:
    case, note = begun()
    approve = proposed(case, note)
    assert owing(case) == {"XK": ("oversight",)}
    case.take("xk-ombudsperson", approve)


@pytest.mark.parametrize("days", [7, None])
def test_a_proposal_is_owed_its_approval_until_it_or_a_hold_ends_it(days: int | None) -> None:
    terms = AGENCIES.protocol.accountability_terms.model_copy(update={"approval_days": days})
    protocol = AGENCIES.protocol.model_copy(update={"accountability": terms})
    case, note = begun("ME", agencies=Agencies(protocol))
    approve = proposed(case, note)

    def dates() -> list[tuple[datetime | None, datetime | None]]:
        found = approvals(case)
        return [(one.due, one.expected_by) for one in found if one.outcome is None]

    def within(since: datetime) -> tuple[datetime | None, datetime | None]:
        ends = since + timedelta(days=7)
        # Nobody is late by a period that the text does not have.
        return (None, ends) if days is None else (ends, None)

    assert dates() == [within(later(4))]
    placed = LegalHoldPlaced(acted_at=later(6), ground=HoldGround.COMPENSATION_CLAIM)
    hold = case.take("xk-court-prishtina", placed)
    assert owing(case) == {}
    assert outcomes(case) == [ObligationOutcome.NOT_EXPECTED]
    case.take("xk-court-prishtina", LegalHoldLifted(acted_at=later(8), hold=hold))
    assert dates() == [within(later(8) + timedelta(seconds=1))]
    case.take(SOCIAL_WORK, annulment(approve.proposal, 9))
    assert owing(case) == {}
    assert outcomes(case)[-1] is ObligationOutcome.ANNULLED


def approvals(case: RecordedCase) -> list[Obligation]:
    folded = obligations(case.acts, Agreement.of(case.agencies.protocol))
    return [one for one in folded.by_id.values() if one.kind is ObligationKind.APPROVAL]


def owing(case: RecordedCase) -> dict[str | None, tuple[str, ...]]:
    """Return the roles of each country that owe an approval."""
    return {one.debtor: one.roles for one in approvals(case) if one.outcome is None}


def outcomes(case: RecordedCase) -> list[ObligationOutcome | None]:
    return [one.outcome for one in approvals(case)]


def test_without_a_rule_on_reviews_one_agency_with_two_keys_is_no_second_party() -> None:
    case, note = begun(agencies=Agencies(without_reviews(AGENCIES.protocol)))
    approve = proposed(case, note, by="xk-nac")
    assert refused(case, "xk-nac", approve) == "second-party"
    case.take("xk-ombudsperson", approve)


def without_reviews(protocol: Protocol) -> Protocol:
    rule = protocol.actions["destruction_approved"]
    plain = rule.model_copy(update={"reviews": None, "by_another_party": ()})
    return protocol.model_copy(
        update={"actions": {**protocol.actions, "destruction_approved": plain}}
    )


def ordered() -> tuple[RecordedCase, UUID, UUID]:
    """Return a case with an ordered destruction, its proposal and its approval."""
    case, note = begun("ME")
    approve = proposed(case, note)
    return case, approve.proposal, case.take("me-nac", approve)


def destructions(case: RecordedCase) -> list[Destruction]:
    assert case.case is not None
    assert case.case.state == fold(case.acts, Agreement.of(AGENCIES.protocol))
    return list(case.case.state.destructions.values())


DAYS = 24 * AGENCIES.protocol.accountability_terms.destruction_grace_days


@pytest.mark.parametrize("side", ["XK", "ME"])
def test_each_side_withdraws_an_ordered_destruction_in_the_days_of_grace(side: str) -> None:
    case, proposal, order = ordered()
    withdrawn = proposal if side == "XK" else order
    agency, other = ("xk-nac", "me-nac") if side == "XK" else ("me-nac", "xk-nac")
    assert refused(case, other, annulment(withdrawn, 6)) == "own-action"
    late = annulment(withdrawn, 5 + DAYS + 1)
    assert refused(case, agency, late) == "not-annullable"
    case.take(agency, annulment(withdrawn, 5 + DAYS - 1))
    assert [one.order for one in destructions(case)] == ([None] if side == "ME" else [])
    assert refused(case, "xk-node", confirmation(order, DAYS + 24)) == "no-such-order"


@pytest.mark.parametrize("court", ["xk-court-prishtina", "me-court-podgorica"])
def test_a_legal_hold_in_the_days_of_grace_stops_it_for_good(court: str) -> None:
    case, _, order = ordered()
    placed = LegalHoldPlaced(acted_at=later(5 + DAYS - 1), ground=HoldGround.COMPENSATION_CLAIM)
    hold = case.take(court, placed)
    case.take(court, LegalHoldLifted(acted_at=later(5 + DAYS), hold=hold))
    assert destructions(case) == []
    assert refused(case, "xk-node", confirmation(order, DAYS + 24)) == "no-such-order"


def test_nothing_is_confirmed_before_the_days_of_grace_are_over() -> None:
    case, _, order = ordered()
    (one,) = destructions(case)
    assert one.stoppable_until == later(5 + DAYS) + timedelta(seconds=1)
    assert refused(case, "xk-node", confirmation(order, 5 + DAYS - 1)) == "destruction-grace"
    case.take("xk-node", confirmation(order, 5 + DAYS + 1))
    # A later hold brings back nothing, and the order stays on the trail.
    placed = LegalHoldPlaced(acted_at=later(6 + DAYS), ground=HoldGround.COMPENSATION_CLAIM)
    case.take("xk-court-prishtina", placed)
    case.take("me-node", confirmation(order, 7 + DAYS))
    (one,) = destructions(case)
    assert one.confirmed == ("XK", "ME")


def confirmation(order: UUID, hours: float) -> DestructionConfirmed:
    return DestructionConfirmed(acted_at=later(hours), order=order)
