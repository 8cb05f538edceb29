"""The communication forms: who sends which, what fills it, and what its addressee owes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.amendments import KnownKeys, check_proposal, text_digest, text_of
from ledger.procedure.available_actions import offers
from ledger.procedure.case_state import SentForm
from ledger.procedure.conditions import Marked, Standing
from ledger.procedure.form_rules import sendable_forms
from ledger.procedure.protocol import Protocol, read_recorded_text, with_assumptions_adopted
from ledger.procedure.protocol_changes import changes
from ledger.refusals import Refusal
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.coordination import CaseClosed, Correction, InformationRequested
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from projections.folds.case_view import FormView
from projections.folds.obligation_terms import ObligationKind, ObligationOutcome, ObligationState
from projections.folds.obligations import Obligation, obligations
from projections.folds.procedural_steps import ProceduralStep, StepStanding, procedural_steps
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
PROTOCOL = AGENCIES.protocol
TEXT = text_of(PROTOCOL)
DAY = timedelta(days=1)
NOTIFICATION, RECEIPT = 1, 2
ASKED = (ObligationKind.FORM_ACKNOWLEDGEMENT, ObligationKind.FORM_ANSWER)


@pytest.fixture
def case() -> RecordedCase:
    case = RecordedCase(AGENCIES)
    case.take("xk-dhtqnj", opening(("XK",)))
    return case


def sent(
    case: RecordedCase, number: int = NOTIFICATION, to: str = "me-nac", **more: Any
) -> FormSent:
    named = {"actions": (case.acts[0].id,), "acted_at": START + DAY, **more}
    return FormSent(form_number=number, addressee=to, **named)


def asked(case: RecordedCase, days: int = 1) -> UUID:
    request = InformationRequested(
        acted_at=START + days * DAY, addressee="xk-nac", topics=("family",), purpose="protection"
    )
    return case.take("me-nac", request)


def forms(case: RecordedCase) -> dict[UUID, SentForm]:
    assert case.case is not None
    return dict(case.case.state.forms)


def owed(case: RecordedCase) -> list[Obligation]:
    every = obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values()
    return [one for one in every if one.kind in ASKED]


def refused(case: RecordedCase, agency: str, action: FormSent | FormAcknowledged) -> str:
    with pytest.raises(Refusal) as refusal:
        case.take(agency, action)
    return refusal.value.rule


def test_a_step_is_as_far_as_the_country_that_is_behind(case: RecordedCase) -> None:
    case.take("xk-nac", sent(case))
    other = case.take("xk-nac", sent(case, to="al-nac"))
    case.take("al-nac", FormAcknowledged(acted_at=START + 2 * DAY, sent=other))

    def step() -> ProceduralStep:
        views = [FormView(action=action, **dict(one)) for action, one in forms(case).items()]
        kinds = [act.kind for act in case.acts]
        country_of = {one.id: one.party for one in PROTOCOL.agencies}.__getitem__
        return next(procedural_steps(PROTOCOL.forms or (), views, kinds, country_of))

    behind = step()
    assert behind.by_country == {"ME": StepStanding.SENT, "AL": StepStanding.ACKNOWLEDGED}
    assert behind.standing is StepStanding.SENT
    # Sent again to the same country, the last sending counts.
    again = case.take("xk-nac", sent(case))
    case.take("me-nac", FormAcknowledged(acted_at=START + 3 * DAY, sent=again))
    assert set(step().by_country.values()) == {step().standing} == {StepStanding.ACKNOWLEDGED}


def test_a_form_brings_the_addressees_country_into_the_case(case: RecordedCase) -> None:
    sending = case.take("xk-nac", sent(case))
    assert case.case is not None
    assert case.case.state.parties == ("XK", "ME")
    assert forms(case)[sending].number == NOTIFICATION
    acknowledgement, answer = owed(case)
    for one in (acknowledgement, answer):
        assert (one.debtor, one.debtor_agency, one.creditors) == ("ME", "me-nac", ("XK",))
        assert (one.concerning, one.opened.action) == (sending, sending)
    assert acknowledgement.due == case.acts[-1].recorded_at + DAY
    assert answer.due == case.acts[-1].recorded_at + 3 * DAY
    case.take("me-nac", FormAcknowledged(acted_at=START + 2 * DAY, sent=sending))
    acknowledgement, answer = owed(case)
    assert (acknowledgement.outcome, acknowledgement.late) == (ObligationOutcome.DONE, False)
    assert answer.state is ObligationState.OPEN


def test_the_answer_is_another_form(case: RecordedCase) -> None:
    sending = case.take("xk-nac", sent(case))
    request = asked(case)
    assert (
        refused(case, "me-nac", sent(case, RECEIPT, "xk-nac", actions=(request,))) == "form-content"
    )
    text = list(TEXT["forms"])
    filled = [{"action": "information_requested", "required": True}]
    text[RECEIPT - 1] = text[RECEIPT - 1] | {"parts": filled}
    answer = sent(
        case, RECEIPT, "xk-nac", actions=(request,), answers=sending, acted_at=START + 9 * DAY
    )
    with_text(case, forms=text)
    case.take("me-nac", answer)
    assert (forms(case)[sending].acknowledged, forms(case)[sending].answered) == (True, True)
    acknowledgement, answered, own = owed(case)
    assert acknowledgement.outcome is answered.outcome is ObligationOutcome.DONE
    assert answered.late
    assert (own.debtor_agency, own.kind) == ("xk-nac", ObligationKind.FORM_ACKNOWLEDGEMENT)
    assert refused(case, "me-nac", answer) == "no-such-form"


def with_text(case: RecordedCase, **parts: Any) -> None:
    changed = Protocol.model_validate(TEXT | parts)
    case.agencies = Agencies(changed, case.agencies.keys)


def test_who_sends_a_form_and_to_whom(case: RecordedCase) -> None:
    assert refused(case, "xk-nac", sent(case, 77)) == "unknown-form"
    assert refused(case, "xk-dhtqnj", sent(case)) == "form-role"
    assert refused(case, "xk-nac", sent(case, to="xk-csw-peja")) == "form-addressee"
    assert refused(case, "xk-nac", sent(case, to="me-police-thb")) == "form-addressee"
    assert refused(case, "al-nac", sent(case)) == "unknown-case"
    case.take("xk-nac", sent(case))
    assert refused(case, "me-nac", sent(case, to="xk-nac")) == "form-country"


def test_a_form_is_filled_by_actions_of_its_kinds_that_are_in_force(case: RecordedCase) -> None:
    level = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)
    risk = case.take("xk-dhtqnj", level)
    assert refused(case, "xk-nac", sent(case, actions=(risk,))) == "form-incomplete"
    twice = (case.acts[0].id, case.acts[0].id)
    assert refused(case, "xk-nac", sent(case, actions=twice)) == "form-content"
    nobody = (case.acts[0].id, UUID(int=7))
    assert refused(case, "xk-nac", sent(case, actions=nobody)) == "form-content"
    annulling = Correction(acted_at=START, corrects=risk, effect="annulled", reason="entry_error")
    both = (case.acts[0].id, risk)
    case.take("xk-dhtqnj", annulling)
    assert refused(case, "xk-nac", sent(case, actions=both)) == "form-content"


def test_only_the_addressee_acknowledges_and_only_once(case: RecordedCase) -> None:
    sending = case.take("xk-nac", sent(case))
    receipt = FormAcknowledged(acted_at=START + DAY, sent=sending)
    assert refused(case, "xk-nac", receipt) == "addressee"
    assert refused(case, "me-police-thb", receipt) == "addressee"
    unknown = receipt.model_copy(update={"sent": case.acts[0].id})
    assert refused(case, "me-nac", unknown) == "no-such-form"
    case.take("me-nac", receipt)
    assert refused(case, "me-nac", receipt) == "already-acknowledged"
    early = FormAcknowledged(acted_at=START - 9 * DAY, sent=sending)
    assert refused(case, "me-nac", early) in ("before-the-opening", "before-what-it-names")


def test_a_closing_report_is_acknowledged_after_the_closing(case: RecordedCase) -> None:
    sending = case.take("xk-nac", sent(case))
    closing = CaseClosed(acted_at=START + 2 * DAY, reason="referred")
    case.take("xk-nac", closing)
    assert [one.state for one in owed(case)] == [ObligationState.OPEN] * 2
    case.take("me-nac", FormAcknowledged(acted_at=START + 3 * DAY, sent=sending))
    assert owed(case)[0].outcome is ObligationOutcome.DONE


def test_a_form_brings_no_country_into_a_closed_case(case: RecordedCase) -> None:
    case.take("xk-nac", sent(case))
    case.take("xk-nac", CaseClosed(acted_at=START + 2 * DAY, reason="referred"))
    later = START + 3 * DAY
    assert refused(case, "xk-nac", sent(case, to="al-nac", acted_at=later)) == "form-closed-case"
    case.take("xk-nac", sent(case, acted_at=later))


def test_days_count_from_the_recording_whatever_day_a_form_names(case: RecordedCase) -> None:
    sending = case.take("xk-nac", sent(case))
    act = case.acts[-1]
    told = replace(act, acted_at=START)
    acts = [*case.acts[:-1], told]
    folded = obligations(acts, Agreement.of(PROTOCOL)).by_id.values()
    (one,) = (o for o in folded if o.kind is ObligationKind.FORM_ACKNOWLEDGEMENT)
    assert one.due == act.recorded_at + DAY
    case.take("me-nac", FormAcknowledged(acted_at=START + 9 * DAY, sent=sending))
    receipt = replace(case.acts[-1], acted_at=START + DAY)
    folded = obligations([*acts, receipt], Agreement.of(PROTOCOL)).by_id.values()
    (one,) = (o for o in folded if o.kind is ObligationKind.FORM_ACKNOWLEDGEMENT)
    assert one.late, "the day that the debtor names makes it no earlier"


def test_an_answer_that_the_text_has_no_more_is_owed_no_more(case: RecordedCase) -> None:
    case.take("xk-nac", sent(case))
    later = Protocol.model_validate(TEXT | {"version": 2, "forms": text_of(PROTOCOL)["forms"][4:]})
    versions = (
        ProtocolVersion(PROTOCOL, 0),
        ProtocolVersion(later, case.acts[-1].position + 1),
    )
    agreement = Agreement(versions)
    case.take("xk-dhtqnj", RiskAssessed(acted_at=START + DAY, risk_level=RiskLevel.HIGH))
    found = {one.kind: one for one in obligations(case.acts, agreement).by_id.values()}
    assert found[ObligationKind.FORM_ANSWER].state is ObligationState.LAPSED
    assert found[ObligationKind.FORM_ACKNOWLEDGEMENT].state is ObligationState.OPEN


def test_what_is_offered_is_accepted(case: RecordedCase) -> None:
    assert case.case is not None
    for agency in PROTOCOL.working_agencies:
        state, history = case.case.state, case.case.history
        offer = offers(state, history, agency, PROTOCOL, START + DAY)["form_sent"]
        some = sendable_forms(state, history, agency, PROTOCOL)
        if agency.id != "xk-nac":
            assert offer.refusal is not None, agency.id
            continue
        assert offer.refusal is None
        assert offer.choices["form_number"] == ("1",)
        assert "me-nac" in offer.choices["addressee"]
        (one,) = some
        case.take(
            agency.id,
            FormSent(
                acted_at=START + DAY,
                form_number=one.form.number,
                addressee=one.addressees[0],
                actions=one.proposed,
            ),
        )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"answered_by": 77}, "names form 77"),
        ({"answered_by": None}, "a period of answer, and no answer"),
        ({"roles": ["nobody"]}, "are not declared"),
        ({"number": 2}, "the same number"),
        ({"parts": [{"action": "nothing"}]}, "unknown action nothing"),
        ({"parts": [{"action": "form_sent"}]}, "unknown action form_sent"),
        ({"parts": [{"action": "case_opened", "fields": ["nothing"]}]}, "has no nothing"),
        ({"parts": [{"action": "case_opened"}] * 2}, "an action twice"),
    ],
)
def test_a_faulty_form_is_refused_when_the_text_is_read(fault: dict[str, Any], said: str) -> None:
    first, *others = text_of(PROTOCOL)["forms"]
    with pytest.raises(ValidationError, match=said):
        Protocol.model_validate(TEXT | {"forms": [first | fault, *others]})


def earlier(text: dict[str, Any], word: str = "assumption") -> dict[str, Any]:
    """Return a text with the marks of its forms as earlier programs recorded them."""
    forms = [
        {name: value for name, value in form.items() if name not in ("standing", "source")}
        | {"source": word, "periods": word}
        for form in text["forms"]
    ]
    return text | {"forms": forms}


@pytest.mark.parametrize("word", ["assumption", "adopted", "sourced"])
def test_a_text_with_the_earlier_marks_is_read_and_keeps_its_digest(word: str) -> None:
    recorded = earlier(TEXT, word) | {"version": 2}
    read = read_recorded_text(recorded)
    standing = Standing.SOURCE if word == "sourced" else Standing(word)
    for form in read.forms or ():
        assert (form.standing, form.periods.standing) == (standing, standing)
    version = ProtocolVersion(read, 1, recorded=recorded)
    assert text_digest(version.recorded) == text_digest(recorded)
    known = KnownKeys(frozenset(one.id for one in PROTOCOL.agencies), ())
    if word != "assumption":
        check_proposal(Agreement.of(PROTOCOL), (), recorded, None, known, START)
    odd = recorded | {"forms": [recorded["forms"][0] | {"periods": "rumour"}]}
    with pytest.raises(ValueError, match=r"standing|rumour"):
        read_recorded_text(odd)


def test_the_marks_of_a_form_are_marks_like_others() -> None:
    weaker = with_assumptions_adopted(PROTOCOL)
    first = weaker.forms_by_number[1]
    assert first.is_assumed
    assert first.periods.standing is Standing.ADOPTED
    again = first.model_copy(update={"periods": Marked(standing=Standing.ASSUMPTION)})
    changed = weaker.model_copy(update={"forms": (again, *(weaker.forms or ())[1:])})
    found = [
        (one.id, one.values["part"]) for one in changes(weaker, changed) if "part" in one.values
    ]
    assert ("assumed_now", "forms 1 (periods)") in found
    with pytest.raises(ValidationError, match="needs a source"):
        Protocol.model_validate(TEXT | {"forms": [TEXT["forms"][0] | {"standing": "source"}]})


def test_a_text_without_forms_has_none(case: RecordedCase) -> None:
    with_text(case, forms=None)
    assert refused(case, "xk-nac", sent(case)) == "unknown-form"
    before, after = PROTOCOL, case.agencies.protocol
    removed = [one.values["number"] for one in changes(before, after) if one.id == "form_removed"]
    assert removed == [str(number) for number in range(1, 11)]
