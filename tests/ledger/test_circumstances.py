"""Events of a person's life: missing, death, an appeal, a limit; and the reasons of a closing."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from ledger.procedure.agreement import Agreement
from ledger.procedure.available_actions import offers
from ledger.procedure.protocol import shipped_protocol
from ledger.refusals import Refusal
from ledger.vocabulary import CASE_ACTIONS
from projections.folds.expected_steps import owed_steps
from projections.folds.obligation_terms import ObligationKind
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

PROTOCOL = shipped_protocol()
AGREEMENT = Agreement.of(PROTOCOL)
POLICE, WELFARE, COORDINATOR = "xk-dhtqnj", "xk-csw-prishtina", "xk-nac"
PROSECUTOR, SHELTER = "xk-prosecution-prishtina", "xk-isf"

Take = Callable[..., None]


class Told:
    """A case of Kosovo and Montenegro, an hour after the other."""

    def __init__(self) -> None:
        self.case = RecordedCase(Agencies(PROTOCOL))
        self.now = START
        self.case.take(POLICE, opening(("XK", "ME")))

    def take(self, agency: str, kind: str, **fields: Any) -> None:
        self.now += timedelta(hours=1)
        self.case.take(agency, CASE_ACTIONS[kind].model_validate({"acted_at": self.now, **fields}))

    def refusal(self, agency: str, kind: str, **fields: Any) -> str:
        with pytest.raises(Refusal) as refused:
            self.take(agency, kind, **fields)
        return refused.value.rule

    @property
    def facts(self) -> set[str]:
        assert self.case.case is not None
        assert self.case.case.state is not None
        return set(self.case.case.state.facts)

    def owed(self, kind: ObligationKind) -> list[Any]:
        assert self.case.case is not None
        assert self.case.case.state is not None
        acts = {act.id: act for act in self.case.acts}
        found = owed_steps(self.case.case.state, AGREEMENT, acts)
        return [one.step for one in found if one.kind is kind]


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_missing_person_is_looked_for_until_found(told: Told) -> None:
    told.take(SHELTER, "went_missing", police_alerted=True)
    assert "missing" in told.facts
    assert "person_found" in {one.action for one in told.owed(ObligationKind.PROCEDURE)}
    assert told.refusal(SHELTER, "went_missing", police_alerted=True) == "not-while-missing"
    told.take("me-police-thb", "person_found", condition="safe")
    assert "missing" not in told.facts
    assert "person_found" not in {one.action for one in told.owed(ObligationKind.PROCEDURE)}


def test_a_death_is_told_and_ends_what_waits_for_the_person(told: Told) -> None:
    told.take(SHELTER, "sheltered", shelter_kind="emergency", provider=SHELTER)
    told.take(POLICE, "death_recorded", died_on="2026-01-05")
    assert "sheltered" not in told.facts
    assert "death_notified" in {one.action for one in told.owed(ObligationKind.PROCEDURE)}
    again = {"shelter_kind": "emergency", "provider": SHELTER}
    assert told.refusal(SHELTER, "sheltered", **again) == "not-while-deceased"
    assert told.case.case is not None
    assert told.case.case.state is not None
    coordinator = PROTOCOL.agencies_by_id[COORDINATOR]
    found = offers(told.case.case.state, told.case.case.history, coordinator, PROTOCOL, told.now)
    assert found["case_closed"].choices["reason"] == ("deceased",)
    told.take(COORDINATOR, "death_notified", notified=("family_or_guardian", "prosecutor"))
    assert "death_notified" not in {one.action for one in told.owed(ObligationKind.PROCEDURE)}


@pytest.mark.parametrize(
    ("reason", "before", "accepted"),
    [
        ("deceased", (), False),
        ("deceased", (("death_recorded", {}),), True),
        ("lost_contact", (("death_recorded", {}),), False),
        ("lost_contact", (), True),
        ("not_a_victim", (), False),
        (
            "not_a_victim",
            (("not_a_victim", {"decided_by": "Police", "ground": "indicators_not_confirmed"}),),
            True,
        ),
        ("reintegrated", (), False),
    ],
)
def test_a_reason_for_closing_agrees_with_the_facts(
    told: Told, reason: str, before: tuple[tuple[str, dict[str, Any]], ...], accepted: bool
) -> None:
    for kind, fields in before:
        told.take(POLICE, kind, **fields)
    if accepted:
        told.take(COORDINATOR, "case_closed", reason=reason)
    else:
        assert told.refusal(COORDINATOR, "case_closed", reason=reason) == "closing-reason"


def test_no_case_is_closed_as_no_victims_while_an_appeal_waits(told: Told) -> None:
    told.take(POLICE, "not_a_victim", decided_by="Police", ground="indicators_not_confirmed")
    told.take("xk-ngo-support", "appeal_filed", filed_by="person")
    refused = told.refusal(COORDINATOR, "case_closed", reason="not_a_victim")
    assert refused == "closing-reason"
    told.take("xk-court-prishtina", "appeal_decided", appeal_outcome="rejected")
    told.take(COORDINATOR, "case_closed", reason="not_a_victim")


def test_a_person_at_high_risk_leaves_once_police_and_prosecutor_approved(told: Told) -> None:
    told.take(SHELTER, "sheltered", shelter_kind="high_security", provider=SHELTER)
    told.take(POLICE, "risk_assessed", risk_level="high")
    assert told.refusal(SHELTER, "shelter_left", planned=True) == "shelter-exit"
    told.take(POLICE, "shelter_exit_approved")
    assert told.refusal(SHELTER, "shelter_left", planned=True) == "shelter-exit"
    told.take(PROSECUTOR, "shelter_exit_approved")
    told.take(SHELTER, "shelter_left", planned=True)


def test_a_person_at_low_risk_needs_no_approval(told: Told) -> None:
    told.take(SHELTER, "sheltered", shelter_kind="emergency", provider=SHELTER)
    told.take(POLICE, "risk_assessed", risk_level="high")
    told.take(POLICE, "risk_assessed", risk_level="low")
    told.take(SHELTER, "shelter_left", planned=True)


def test_a_country_that_had_no_part_reopens_a_case_and_joins_it(told: Told) -> None:
    assert told.refusal("al-nac", "went_missing", police_alerted=True) == "unknown-case"
    assert told.refusal("al-nac", "case_reopened", reason="new_exploitation") == "open-case"
    told.take(COORDINATOR, "case_closed", reason="lost_contact")
    told.take("al-nac", "case_reopened", reason="found_in_another_country")
    assert told.case.case is not None
    assert told.case.case.state is not None
    assert told.case.case.state.parties == ("XK", "ME", "AL")
    told.take("al-nac", "new_exploitation_found", exploitation_country="DE",
              types_of_exploitation=("Other",), further_forms=("forced_criminality",))  # fmt: skip


def test_the_end_of_a_permit_is_owed_by_the_country_that_gave_it(told: Told) -> None:
    until = START + timedelta(days=90)
    told.take(POLICE, "protection_measure_taken", measure="asylum_procedure", until=until)
    (step,) = told.owed(ObligationKind.MEASURE_END)
    assert (step.party, step.due, step.action) == ("XK", until, "protection_measure_ended")
    told.take(POLICE, "protection_measure_ended", measure_action=step.concerning)
    assert told.owed(ObligationKind.MEASURE_END) == []


def test_compensation_is_claimed_within_its_limit(told: Told) -> None:
    told.take(POLICE, "victim_identified", status="ActualVictimOfTrafficking", decided_by="Police",
              types_of_exploitation=("ForcedBegging",))  # fmt: skip
    told.take(
        PROSECUTOR, "compensation_limit_set", claim_by="2026-07-01", claim_body="criminal_court"
    )
    (step,) = told.owed(ObligationKind.COMPENSATION_CLAIM)
    assert step.due is not None
    assert (step.party, step.due.date()) == ("XK", date(2026, 7, 1))
    told.take("xk-court-prishtina", "compensation_recorded", state="claimed")
    assert told.owed(ObligationKind.COMPENSATION_CLAIM) == []


def test_a_held_document_needs_no_other(told: Told) -> None:
    told.take("xk-border", "travel_document_held", document="travel_document_1951")
    assert "travel_document_issued" in told.facts
