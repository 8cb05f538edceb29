"""A case that was opened in error: its opening is annulled, or the countries agree to close it."""

from datetime import datetime, timedelta

import pytest

from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.refusals import Refusal
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    CaseReopened,
    Correction,
    ErrorClosingAccepted,
    ErrorClosingProposed,
    InformationRequested,
)
from ledger.vocabulary.destruction import DestructionProposed
from ledger.vocabulary.picklists import CaseStatus, ClosureReason, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from projections.folds.obligation_terms import ObligationOutcome
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


def annulled_opening(case: RecordedCase, hours: float = 5) -> Correction:
    return Correction(
        acted_at=later(hours),
        corrects=case.acts[0].id,
        effect="annulled",
        reason="entry_error",
    )


def risk(hours: float) -> RiskAssessed:
    return RiskAssessed(acted_at=later(hours), risk_level=RiskLevel.HIGH, threats="zq")


@pytest.fixture
def case() -> RecordedCase:
    made = RecordedCase(AGENCIES)
    made.take(POLICE, opening(("XK", "ME"), first_name="zq"))
    return made


@pytest.mark.parametrize("corrects", [POLICE, "xk-nac"])
def test_an_opening_is_annulled_while_no_other_agency_has_acted(corrects: str) -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(first_name="zq"))
    case.take(POLICE, risk(1))
    assert refused(case, SOCIAL_WORK, annulled_opening(case)) == "own-action"
    case.take(corrects, annulled_opening(case))
    assert case.case is not None
    state = case.case.state
    assert (state.status, state.closure) == (CaseStatus.CLOSED, ClosureReason.OPENED_IN_ERROR)
    assert state == fold(case.acts, Agreement.of(AGENCIES.protocol))
    # Nothing that the case discloses is read, and nothing is owed in it.
    assert case.case.annulled == {act.id for act in case.acts}
    assert obligations(case.acts, Agreement.of(AGENCIES.protocol)).open == {}
    for agency, action in (
        (POLICE, risk(6)),
        ("xk-nac", CaseReopened(acted_at=later(6), reason="closed_in_error")),
        (POLICE, opening()),
    ):
        assert refused(case, agency, action) in ("opened-in-error", "already-opened")
    case.take(POLICE, DestructionProposed(acted_at=later(7), annulled=case.acts[0].id))


def test_no_country_alone_annuls_an_opening_that_another_country_was_told_of(
    case: RecordedCase,
) -> None:
    for corrects in (POLICE, "xk-nac"):
        assert refused(case, corrects, annulled_opening(case)) == "others-acted"
    later_told = RecordedCase(AGENCIES)
    later_told.take(POLICE, opening(first_name="zq"))
    asked = later_told.take(
        POLICE,
        InformationRequested(
            acted_at=later(1), addressee="me-police-thb", topics=("family",), purpose="protection"
        ),
    )
    assert refused(later_told, POLICE, annulled_opening(later_told)) == "others-acted"
    # The country has received the opening, whether the request counts or not.
    mistaken = Correction(
        acted_at=later(2), corrects=asked, effect="annulled", reason="entry_error"
    )
    later_told.take(POLICE, mistaken)
    assert later_told.case is not None
    assert later_told.case.state.parties == ("XK",)
    assert refused(later_told, POLICE, annulled_opening(later_told)) == "others-acted"


def agreed(case: RecordedCase) -> None:
    """Let Kosovo propose to close a case as opened in error, and Montenegro agree."""
    proposal = case.take("xk-nac", ErrorClosingProposed(acted_at=later(6)))
    case.take("me-nac", ErrorClosingAccepted(acted_at=later(7), proposal=proposal))


def answers(case: RecordedCase) -> list[Obligation]:
    """Return the obligations to answer a proposal to close the case as opened in error."""
    folded = obligations(case.acts, Agreement.of(AGENCIES.protocol))
    return [one for one in folded.by_id.values() if one.action == "error_closing_accepted"]


def closed(hours: float) -> CaseClosed:
    return CaseClosed(acted_at=later(hours), reason=ClosureReason.OPENED_IN_ERROR)


@pytest.mark.parametrize(
    ("agency", "change"),
    [
        (SOCIAL_WORK, risk(8)),
        ("me-csw-podgorica", risk(8)),
        (
            "xk-nac",
            InformationRequested(
                acted_at=later(8), addressee="al-nac", topics=("family",), purpose="protection"
            ),
        ),
    ],
)
def test_an_agreed_closing_lapses_when_the_case_changes(
    case: RecordedCase, agency: str, change: Action
) -> None:
    case.take(SOCIAL_WORK, risk(1))
    agreed(case)
    case.take(agency, change)
    assert case.case is not None
    assert case.case.state.error_closing is None
    assert case.case.state == fold(case.acts, Agreement.of(AGENCIES.protocol))
    assert refused(case, "xk-nac", closed(9)) == "not-agreed"
    # Every country of the case is asked again, also one that joined since.
    case.take("xk-nac", ErrorClosingProposed(acted_at=later(10)))
    assert case.case is not None
    asked_again = case.case.state.error_closing
    assert asked_again is not None
    assert {*asked_again.pending} == {*case.case.state.parties} - {"XK"}
    assert {one.debtor for one in answers(case) if one.outcome is None} == {*asked_again.pending}


def test_a_proposal_that_the_case_overtook_is_owed_no_answer(case: RecordedCase) -> None:
    case.take(SOCIAL_WORK, risk(1))
    case.take("xk-nac", ErrorClosingProposed(acted_at=later(6)))
    case.take(SOCIAL_WORK, risk(8))
    assert [one.outcome for one in answers(case)] == [ObligationOutcome.NOT_EXPECTED]


def test_an_agreed_closing_lapses_after_the_period_of_the_protocol(case: RecordedCase) -> None:
    days = AGENCIES.protocol.accountability_terms.error_closing_days
    case.take(SOCIAL_WORK, risk(1))
    agreed(case)
    late = closed(6 + 24 * days + 1)
    assert refused(case, "xk-nac", late) == "not-agreed"
    case.take("xk-nac", closed(6 + 24 * days - 1))


def test_a_case_in_which_others_acted_is_closed_for_that_reason_by_agreement(
    case: RecordedCase,
) -> None:
    case.take(SOCIAL_WORK, risk(1))
    assert refused(case, POLICE, annulled_opening(case)) == "others-acted"
    closed = CaseClosed(acted_at=later(9), reason=ClosureReason.OPENED_IN_ERROR)
    assert refused(case, "xk-nac", closed) == "not-agreed"
    propose = ErrorClosingProposed(acted_at=later(6))
    assert refused(case, "me-nac", propose) == "lead-country"
    proposal = case.take("xk-nac", propose)
    assert refused(case, POLICE, propose) == "already-proposed"
    (owed,) = answers(case)
    assert (owed.debtor, owed.roles) == ("ME", ("coordinator", "oversight"))
    assert (owed.concerning, owed.outcome) == (proposal, None)
    days = AGENCIES.protocol.accountability_terms.error_closing_days
    assert owed.due == case.acts[-1].recorded_at + timedelta(days=days)
    assert refused(case, "xk-nac", closed) == "not-agreed"
    accept = ErrorClosingAccepted(acted_at=later(7), proposal=proposal)
    assert refused(case, "xk-nac", accept) == "second-party"
    assert refused(case, "xk-ombudsperson", accept) == "already-accepted"
    case.take("me-nac", accept)
    assert [one.outcome for one in answers(case)] == [ObligationOutcome.DONE]
    case.take("xk-nac", closed)
    assert case.case is not None
    assert case.case.state.closure is ClosureReason.OPENED_IN_ERROR
    # Nothing is annulled by that: others acted on it, and may have to read why.
    assert case.case.annulled == frozenset()


def test_in_a_case_of_one_country_another_agency_of_it_agrees() -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening())
    case.take(SOCIAL_WORK, risk(1))
    proposal = case.take(POLICE, ErrorClosingProposed(acted_at=later(6)))
    accept = ErrorClosingAccepted(acted_at=later(7), proposal=proposal)
    assert refused(case, "me-nac", accept) == "unknown-case"
    case.take("xk-nac", accept)
    case.take("xk-nac", CaseClosed(acted_at=later(9), reason=ClosureReason.OPENED_IN_ERROR))
