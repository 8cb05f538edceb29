"""The shipped protocol's rules on outcomes, on what two countries agree, and on who decides.

Each test plays actions of one case by the rules alone: no database, no keys.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from api.paper.subject_access.wording import wording
from api.web.agreement import rights
from api.web.refusal_text import reason
from api.web.rendering import Words
from api.web.texts import texts
from ledger.events.event_bytes import MAX_BYTES
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.conditions import Standing
from ledger.procedure.legal_basis import reading_bases
from ledger.procedure.protocol import Protocol, load_protocol
from ledger.refusals import Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis
from projections.folds.expected_steps import expected_steps
from projections.folds.obligation_terms import ObligationOutcome
from projections.folds.obligations import obligations
from tests.support.agencies import Agencies
from tests.support.played import ADVOCATE, GUARDIAN, PERSON, POLICE, PROTOCOL, SOCIAL, Played

CORRIDORS = Path(__file__).parents[2] / "examples" / "corridors"


def test_the_unsafe_sequence_is_refused_at_each_step_that_a_return_takes() -> None:
    """Stay, not heard, immediate risk, family involved, consent of the child alone and orally."""
    case = Played().identified()
    case.take(POLICE, "risk_assessed", risk_level="immediate")
    case.take(SOCIAL, "best_interests_assessed",
              outcome="stay_in_country_of_identification", child_heard=False)  # fmt: skip
    case.take(SOCIAL, "family_traced", outcome="involved_in_trafficking")
    case.take(SOCIAL, "family_assessed", suitable=False)
    alone = {"given_by": "person", "form": "oral_recorded"}
    case.refused("condition-guardian_consents_to_return", SOCIAL, "consent_given",
                 scopes=["return"], **alone)  # fmt: skip
    case.refused("condition-consent_to_return_is_written", SOCIAL, "consent_given",
                 scopes=["return"], given_by="guardian", form="oral_recorded")  # fmt: skip
    case.refused("requires-consent_return", SOCIAL, "return_requested", destination="ME")
    case.take(SOCIAL, "consent_given", scopes=["return"], **GUARDIAN)
    case.refused("condition-best_interests_return", SOCIAL, "return_requested", destination="ME")
    case.refused("requires-return_accepted", SOCIAL, "return_decided", destination="ME")
    case.refused("requires-return_decided", "xk-border", "departed")
    assert case.state is not None
    assert not {"return_requested", "return_decided", "departed"} & case.state.facts.keys()


@pytest.mark.parametrize(
    ("assessed", "condition"),
    [
        ({"outcome": "stay_in_country_of_identification"}, "best_interests_return"),
        ({"outcome": "further_assessment"}, "best_interests_return"),
        ({"heard": False}, "child_was_heard"),
        ({"suitable": False}, "family_is_suitable"),
        ({"family": "involved_in_trafficking"}, "family_is_not_involved"),
        ({"family": "found_and_unsafe"}, "family_is_not_involved"),
    ],
)
def test_a_return_of_a_child_follows_the_outcomes(assessed: dict[str, Any], condition: str) -> None:
    case = Played().identified()
    case.assessed(**assessed)
    case.refused(f"condition-{condition}", SOCIAL, "return_requested", destination="ME")


def test_a_return_into_care_needs_no_suitable_family() -> None:
    case = Played().identified()
    case.assessed("return_to_care_in_country_of_origin", family="involved_in_trafficking",
                  suitable=False)  # fmt: skip
    case.take(SOCIAL, "return_requested", destination="ME")


@pytest.mark.parametrize(
    ("agency", "kind", "change", "rule"),
    [
        (SOCIAL, "best_interests_assessed",
         {"outcome": "stay_in_country_of_identification", "child_heard": True},
         "condition-best_interests_return"),
        ("me-police-thb", "risk_assessed", {"risk_level": "immediate"},
         "condition-risk_allows_return"),
        ("me-csw-podgorica", "refusal_recorded", {"subject": "return", "refused_by": "person"},
         "requires-consent_return"),
    ],
)  # fmt: skip
def test_what_changes_after_the_decision_stops_the_departure(
    agency: str, kind: str, change: dict[str, Any], rule: str
) -> None:
    case = Played().identified()
    case.assessed()
    case.agreed()
    case.take(agency, kind, days=95, **change)
    case.refused(rule, "xk-border", "departed")


def test_the_newest_risk_of_each_country_counts() -> None:
    """The low risk that one country sees does not outweigh the immediate risk of the other."""
    case = Played().identified()
    case.assessed()
    case.take(SOCIAL, "information_requested", addressee="me-police-thb", topics=["risk"],
              purpose="return")  # fmt: skip
    case.take(POLICE, "risk_assessed", risk_level="immediate")
    case.take("me-police-thb", "risk_assessed", risk_level="low")
    case.refused("condition-risk_allows_return", SOCIAL, "return_requested", destination="ME")
    case.jointly("risk_assessed", POLICE, ADVOCATE, SOCIAL, risk_level="high")
    case.take(SOCIAL, "return_requested", destination="ME")


def test_only_the_named_body_decides_against_an_outcome_and_both_countries_see_it() -> None:
    case = Played().identified()
    assessed = case.assessed("stay_in_country_of_identification")
    override = {"overrides": assessed, "destination": "ME", "reasons": ["new_information"]}
    case.refused("role", SOCIAL, "outcome_overridden", **override)
    case.refused("own-country", "xk-court-prishtina", "outcome_overridden",
                 **override | {"destination": "XK"})  # fmt: skip
    case.refused("no-such-outcome", "xk-court-prishtina", "outcome_overridden",
                 **override | {"overrides": case.acts[0].id})  # fmt: skip
    assert case.state is not None
    assert case.state.parties == ("XK",)
    case.take("xk-court-prishtina", "outcome_overridden", **override)
    assert case.state.parties == ("XK", "ME")
    case.take(SOCIAL, "return_requested", destination="ME")


def test_a_decision_against_an_outcome_covers_that_assessment_alone() -> None:
    case = Played().identified()
    assessed = case.assessed("stay_in_country_of_identification")
    override = case.take("xk-court-prishtina", "outcome_overridden", overrides=assessed,
                         destination="ME", reasons=["new_information"])  # fmt: skip
    case.take(SOCIAL, "best_interests_assessed", outcome="stay_in_country_of_identification",
              child_heard=True)  # fmt: skip
    case.refused("condition-best_interests_return", SOCIAL, "return_requested", destination="ME")
    case.refused("other-party", "me-court-podgorica", "outcome_overridden", overrides=assessed,
                 destination="XK", reasons=["new_information"])  # fmt: skip
    assert override in {one.id for one in case.acts}


def test_an_annulled_decision_against_an_outcome_covers_nothing() -> None:
    case = Played().identified()
    assessed = case.assessed("stay_in_country_of_identification")
    override = case.take("xk-court-prishtina", "outcome_overridden", overrides=assessed,
                         destination="ME", reasons=["new_information"])  # fmt: skip
    case.take("xk-court-prishtina", "correction", corrects=override, effect="annulled",
              reason="entry_error")  # fmt: skip
    case.refused("condition-best_interests_return", SOCIAL, "return_requested", destination="ME")


def test_nobody_consents_for_an_adult() -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="adult", countries=["XK"])
    case.refused("condition-adult_consents_alone", SOCIAL, "consent_given",
                 scopes=["assistance"], **GUARDIAN)  # fmt: skip
    case.take(SOCIAL, "consent_given", scopes=["assistance"], **PERSON)
    case.refused("condition-adult_withdraws_alone", SOCIAL, "consent_withdrawn",
                 scopes=["assistance"], withdrawn_by="guardian")  # fmt: skip


def test_a_consent_that_an_earlier_rule_took_from_a_guardian_carries_no_return_of_an_adult() -> (
    None
):
    """The consent of an adult who was taken for a child is checked where it is used, too."""
    case = Played().identified()
    case.assessed()
    case.take(SOCIAL, "age_assessed", age_group="adult", method="document")
    case.refused("condition-adult_consented_to_return", SOCIAL, "return_requested",
                 destination="ME")  # fmt: skip


def test_nobody_departs_in_the_reflection_period_without_the_own_wish() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed()
    refusal = case.refused("reflection", "xk-border", "departed", days=80)
    assert "2027-04-04" in refusal.message
    case.take(SOCIAL, "early_departure_wished", form="written")
    case.take("xk-border", "departed")


@pytest.mark.parametrize(("party", "days"), [("XK", 90), ("AL", 90), ("ME", 30)])
def test_the_reflection_period_is_of_each_country(party: str, days: int) -> None:
    period = PROTOCOL.reflection_of(party)
    assert period is not None
    assert period.days == days


def test_a_granted_period_is_not_shorter_than_the_convention_has_it_and_prolongs() -> None:
    case = Played().identified()
    case.refused("reflection-too-short", POLICE, "protection_measure_taken",
                 measure="recovery_and_reflection_period",
                 until=(case.now + timedelta(days=20)).isoformat())  # fmt: skip
    case.take(POLICE, "protection_measure_taken", measure="recovery_and_reflection_period",
              until=(case.now + timedelta(days=150)).isoformat())  # fmt: skip
    case.assessed()
    case.agreed()
    case.refused("reflection", "xk-border", "departed", days=100)
    case.take("xk-border", "departed", days=151)


def test_the_other_country_answers_a_requested_return() -> None:
    case = Played().identified()
    case.assessed()
    case.refused("requires-return_accepted", SOCIAL, "return_decided", destination="ME")
    case.refused("own-country", SOCIAL, "return_requested", destination="XK")
    case.take(SOCIAL, "return_requested", destination="ME")
    case.refused("named-party", "xk-nac", "return_accepted")
    case.take("me-nac", "return_refused", ground="not_safe")
    case.refused("requires-return_accepted", SOCIAL, "return_decided", destination="ME")
    case.take("me-nac", "return_accepted")
    case.refused("destination-differs", SOCIAL, "return_decided", destination="AL")
    case.take(SOCIAL, "return_decided", destination="ME")


def test_a_postponed_return_is_accepted_anew_and_a_cancelled_one_is_over() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed()
    case.take("me-nac", "return_postponed", ground="reception_not_ready")
    case.refused("requires-return_accepted", "xk-border", "departed", days=100)
    case.take("me-nac", "return_accepted")
    case.refused("other-party", "me-nac", "return_cancelled", ground="not_safe")
    case.take(SOCIAL, "return_cancelled", ground="persons_wish")
    assert case.state is not None
    assert case.state.planned_return is None
    case.refused("requires-return_decided", "xk-border", "departed", days=100)


def test_the_plan_is_made_by_the_destination_and_agreed_before_the_departure() -> None:
    case = Played().identified()
    case.assessed()
    case.take(SOCIAL, "return_requested", destination="ME")
    case.take("me-nac", "return_accepted")
    case.take(SOCIAL, "return_decided", destination="ME")
    case.take("me-nac", "travel_document_issued", document="passport")
    case.refused("named-party", SOCIAL, "reintegration_planned", plan_types=["Education"])
    plan = case.take("me-csw-podgorica", "reintegration_planned", plan_types=["Education"])
    case.refused("requires-reintegration_plan_agreed", "xk-border", "departed", days=100)
    case.refused("other-party", "me-nac", "reintegration_plan_agreed", plan=plan)
    case.take(SOCIAL, "reintegration_plan_agreed", plan=plan)
    case.take("me-csw-podgorica", "reintegration_planned", plan_types=["Health"])
    case.refused("requires-reintegration_plan_agreed", "xk-border", "departed", days=100)
    case.refused("no-such-plan", SOCIAL, "reintegration_plan_agreed", plan=plan)


def test_the_handover_is_one_record_that_both_countries_sign() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed()
    case.take("xk-border", "departed", days=100)
    case.refused("requires-handover_confirmed", "me-border", "received", in_person=True)
    case.refused("named-party", "me-border", "handover_recorded")
    handover = case.take("xk-border", "handover_recorded")
    case.refused("no-such-handover", "me-border", "handover_confirmed", handover=uuid4(),
                 is_complete=True)  # fmt: skip
    case.refused("handover-by-the-receiver", "xk-border", "handover_confirmed", handover=handover,
                 is_complete=True)  # fmt: skip
    case.take("me-border", "handover_confirmed", handover=handover, is_complete=False)
    case.take("me-border", "received", in_person=True)


def test_who_was_turned_back_can_depart_again() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed()
    case.take("xk-border", "departed", days=100)
    case.refused("named-party", "me-border", "turned_back")
    case.take("xk-border", "turned_back")
    assert case.state is not None
    assert "departed" not in case.state.facts
    case.refused("requires-departed", "me-border", "received", in_person=True)
    case.take("xk-border", "departed")


def annulling(case: Played, action: UUID) -> None:
    agency = next(one.agency for one in case.acts if one.id == action)
    case.take(agency, "correction", corrects=action, effect="annulled", reason="entry_error")


@pytest.mark.parametrize("kind", ["return_decided", "return_requested", "consent_given"])
def test_nothing_rests_on_a_fact_whose_ground_is_annulled(kind: str) -> None:
    """The sender does not record the reception after the decision on the return is annulled."""
    case = Played().identified()
    case.assessed()
    case.agreed()
    case.take("xk-border", "departed", days=100)
    handover = case.take("xk-border", "handover_recorded")
    ground = next(one.id for one in reversed(case.acts) if one.kind == kind)
    annulling(case, ground)
    for agency in ("xk-border", "me-border"):
        case.refused("annulled-ground", agency, "handover_confirmed", handover=handover,
                     is_complete=True)  # fmt: skip
        case.refused("annulled-ground", agency, "turned_back") if agency[:2] == "xk" else None
    if kind == "consent_given":  # recorded again, it carries what was done on it
        case.take(SOCIAL, "consent_given", scopes=["return"], **GUARDIAN)
        case.take("me-border", "handover_confirmed", handover=handover, is_complete=True)
        case.take("me-border", "received", in_person=True)


def test_a_fact_that_ended_by_the_procedure_is_no_annulled_ground() -> None:
    case = Played().identified()
    shelter = next(
        one.id for one in PROTOCOL.agencies if (one.role, one.party) == ("shelter", "XK")
    )
    case.take(shelter, "sheltered")
    case.assessed()
    case.agreed().returned()
    assert case.state is not None
    assert "received" in case.state.facts


def consented(case: Played, agency: str) -> bool:
    """Return whether an agency may read a group on a consent now."""
    assert case.state is not None
    own = PROTOCOL.agencies_by_id[agency]
    bases = reading_bases(case.state, PROTOCOL, own, FieldGroup.HEALTH, case.now)
    return any(one.kind is LegalBasis.CONSENT for one in bases)


@pytest.mark.parametrize("by", ["refusal", "withdrawal"])
def test_nobody_abroad_reads_on_a_consent_once_the_exchange_is_refused(by: str) -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="adult", countries=["XK", "ME"])
    scopes = ["assistance", "information_exchange"]
    named = {"groups": ["health"], "recipients": ["ME"]}
    case.take(SOCIAL, "consent_given", scopes=scopes, **named, **PERSON)
    abroad = "me-csw-podgorica"
    assert consented(case, SOCIAL)
    assert consented(case, abroad)
    if by == "refusal":
        case.take(abroad, "refusal_recorded", subject="information_exchange",
                  refused_by="person")  # fmt: skip
    else:
        case.take(SOCIAL, "consent_withdrawn", scopes=["information_exchange"],
                  withdrawn_by="person")  # fmt: skip
    assert not consented(case, abroad)
    assert consented(case, SOCIAL), "the help at home goes on"
    assert case.state is not None
    assert "consent_information_exchange" not in case.state.facts
    case.refused("requires-consent_information_exchange", POLICE, "state_notified", country="AL")
    case.take(SOCIAL, "consent_given", scopes=["information_exchange"], **PERSON)
    assert not consented(case, abroad), "a consent without groups brings none back"
    case.take(SOCIAL, "consent_given", scopes=["information_exchange"], **named, **PERSON)
    assert consented(case, abroad)


def test_another_state_is_told_of_an_adult_only_with_consent() -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="adult", countries=["XK"])
    case.refused("requires-consent_information_exchange", POLICE, "state_notified", country="ME")
    case.refused("requires-consent_assistance", SOCIAL, "person_referred", country="ME",
                 reason="Other")  # fmt: skip
    scopes = ["information_exchange", "assistance"]
    case.take(SOCIAL, "consent_given", scopes=scopes, **PERSON)
    case.take(POLICE, "state_notified", country="ME")
    assert case.state is not None
    assert case.state.parties == ("XK", "ME")


def test_a_declined_lead_stays_where_it_is() -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="child", countries=["XK"])
    offer = case.take(POLICE, "lead_transfer_offered", to_agency="me-csw-podgorica", reason="Other")
    case.refused("handover-by-the-receiver", SOCIAL, "lead_transfer_declined", offer=offer,
                 reason="no_capacity")  # fmt: skip
    case.take("me-csw-podgorica", "lead_transfer_declined", offer=offer, reason="no_capacity")
    assert case.state is not None
    assert case.state.lead_offer is None
    assert case.state.lead_agency == POLICE
    (handover,) = (
        one
        for one in obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values()
        if one.action == "lead_transfer_accepted"
    )
    assert handover.outcome is ObligationOutcome.DECLINED


def test_kosovo_identifies_by_police_and_advocate_together_for_a_child_with_social_work() -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="child", countries=["XK"])
    status = {"status": "ActualVictimOfTrafficking"}
    case.refused("deciding-body", "xk-nac", "victim_identified", **status)
    case.refused("together", POLICE, "victim_identified", **status)
    case.refused("outcome-not-named", POLICE, "decision_proposed", decision="victim_identified")
    proposal = case.take(POLICE, "decision_proposed", decision="victim_identified", **status)
    case.refused("not-together", "xk-prosecution-prishtina", "decision_confirmed",
                 proposal=proposal)  # fmt: skip
    case.take(ADVOCATE, "decision_confirmed", proposal=proposal)
    case.refused("already-confirmed", ADVOCATE, "decision_confirmed", proposal=proposal)
    refusal = case.refused("together", POLICE, "victim_identified", **status)
    assert "then social_services must record" in refusal.message
    case.take(SOCIAL, "decision_confirmed", proposal=proposal)
    case.refused("together", POLICE, "victim_identified", status="PossibleVictimOfTrafficking")
    case.take(POLICE, "victim_identified", **status)


def test_a_confirmation_serves_one_decision() -> None:
    case = Played().identified("adult")
    case.jointly("not_a_victim", POLICE, ADVOCATE, decided_by="Police", ground="new_evidence")
    case.refused("together", POLICE, "victim_identified", status="ActualVictimOfTrafficking")


def test_montenegro_identifies_by_its_team_alone() -> None:
    case = Played()
    case.take("me-police-thb", "case_opened", age_group="adult", countries=["ME"])
    for agency in ("me-police-thb", "me-prosecution-podgorica", "me-nac", "me-csw-podgorica"):
        case.refused(
            "deciding-body", agency, "victim_identified", status="ActualVictimOfTrafficking"
        )
    case.take("me-identification-team", "victim_identified", status="ActualVictimOfTrafficking")
    case.refused("deciding-body", "me-nac", "not_a_victim", decided_by="Other",
                 ground="new_evidence")  # fmt: skip


def test_albania_identifies_on_the_persons_request_by_police_and_social_service() -> None:
    case = Played()
    police, social = "al-police-thb", "al-social-tirana"
    case.take(police, "case_opened", age_group="adult", countries=["AL"])
    status = {"status": "ActualVictimOfTrafficking"}
    case.refused("requires-identification_requested", police, "victim_identified", **status)
    case.take(social, "identification_requested", requested_by="person")
    case.refused("together", police, "victim_identified", **status)
    case.jointly("victim_identified", police, social)


def test_an_identification_of_before_is_judged_by_the_roles_alone() -> None:
    """As an import brings it: nobody can confirm it any more."""
    case = Played(now=datetime(2024, 3, 1, tzinfo=UTC))
    case.take("xk-nac", "case_opened", age_group="adult", countries=["XK"])
    case.take("xk-nac", "victim_identified", status="ActualVictimOfTrafficking")


def test_albania_owes_no_identification_before_the_person_asks() -> None:
    case = Played()
    case.take("al-police-thb", "case_opened", age_group="adult", countries=["AL"])

    def owed() -> set[str]:
        assert case.state is not None
        known = {act.id: act for act in case.acts}
        return {s.action for s in expected_steps(case.state, Agreement.of(PROTOCOL), known)}

    assert "victim_identified" not in owed()
    case.take("al-social-tirana", "identification_requested", requested_by="person")
    assert "victim_identified" in owed()


def test_no_country_undoes_the_decision_of_another() -> None:
    case = Played().identified()
    case.take("xk-shelter-children", "sheltered")
    case.take(SOCIAL, "best_interests_assessed", outcome="return_to_family", child_heard=True)
    case.take(SOCIAL, "consent_given", scopes=["assistance"], **GUARDIAN)
    case.take(SOCIAL, "information_requested", addressee="me-nac", topics=["family"],
              purpose="protection")  # fmt: skip
    case.take(SOCIAL, "information_requested", addressee="al-nac", topics=["family"],
              purpose="protection")  # fmt: skip
    case.refused("other-party", "al-nac", "not_a_victim", decided_by="Other", ground="statement")
    case.refused("other-party", "me-identification-team", "victim_status_changed",
                 status="PossibleVictimOfTrafficking", ground="statement")  # fmt: skip
    case.refused("other-party", "me-csw-podgorica", "consent_withdrawn", scopes=["assistance"],
                 withdrawn_by="guardian")  # fmt: skip
    case.refused("other-party", "me-shelter", "shelter_left")
    case.refused("other-party", "me-csw-podgorica", "guardian_appointed", guardian_kind="parent")
    case.refused("other-party", "me-csw-podgorica", "best_interests_assessed",
                 outcome="return_to_family", child_heard=True)  # fmt: skip


def test_after_the_reception_the_other_country_decides_on_care_and_consent() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed().returned()
    case.take("me-csw-podgorica", "guardian_appointed", guardian_kind="parent")
    case.take("me-csw-podgorica", "consent_withdrawn", scopes=["return"], withdrawn_by="guardian")
    case.refused("other-party", "me-identification-team", "victim_status_changed",
                 status="PossibleVictimOfTrafficking", ground="statement")  # fmt: skip


def test_visits_repeat_until_they_are_closed_and_sooner_where_a_child_is_at_risk() -> None:
    case = Played().identified()
    case.assessed()
    case.agreed().returned()
    visiting = "me-csw-podgorica"

    def next_visit() -> int | None:
        assert case.state is not None
        known = {act.id: act for act in case.acts}
        steps = expected_steps(case.state, Agreement.of(PROTOCOL), known)
        own = [s for s in steps if s.action == "reintegration_monitored"]
        assert len(own) <= 1
        assert not own or own[0].party == "ME"
        assert not own or own[0].due is None, "an assumed deadline makes nobody late"
        return (own[0].expected_by - case.now).days if own and own[0].expected_by else None

    assert next_visit() in (89, 90)
    case.take(visiting, "reintegration_monitored", finding="progressing")
    assert next_visit() == 90
    case.take(visiting, "reintegration_monitored", finding="at_risk")
    assert next_visit() == 7
    case.refused("condition-last_visit_found_no_risk", visiting, "monitoring_closed",
                 finding="successfully_reintegrated", agreed_by_person=True)  # fmt: skip
    case.take(visiting, "reintegration_monitored", finding="needs_support")
    case.take(visiting, "monitoring_closed", finding="successfully_reintegrated",
              agreed_by_person=True)  # fmt: skip
    assert next_visit() is None
    visits = [
        one
        for one in obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values()
        if one.action == "reintegration_monitored"
    ]
    assert [one.outcome for one in visits].count(ObligationOutcome.DONE) == 3
    assert len(visits) == 4, "each visit is owed by itself"


def test_a_shelter_s_duty_is_that_of_the_shelter_that_took_the_person_in() -> None:
    case = Played().identified()
    case.take("xk-shelter-children", "sheltered")
    assert case.reads("xk-shelter-children", FieldGroup.CARE)
    assert not case.reads("xk-isf", FieldGroup.CARE)
    case.take("xk-shelter-children", "shelter_left")
    assert not case.reads("xk-shelter-children", FieldGroup.CARE)


@pytest.mark.parametrize(
    ("agency", "before", "after"),
    [
        (POLICE, FieldGroup.IDENTITY, FieldGroup.EXPLOITATION),
        (SOCIAL, FieldGroup.HEALTH, FieldGroup.WHEREABOUTS),
    ],
)
def test_an_adults_file_opens_by_duty_with_the_consent(
    agency: str, before: FieldGroup, after: FieldGroup
) -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="adult", countries=["XK"])
    assert case.reads(agency, before), "protection of life needs it"
    assert not case.reads(agency, after)
    case.take(SOCIAL, "consent_given", scopes=["assistance"], **PERSON)
    assert case.reads(agency, after)


def test_a_childs_file_needs_no_consent_to_open_by_duty() -> None:
    case = Played()
    case.take(POLICE, "case_opened", age_group="child", countries=["XK"])
    assert case.reads(POLICE, FieldGroup.EXPLOITATION)
    assert case.reads(SOCIAL, FieldGroup.WHEREABOUTS)


def test_a_text_without_the_new_parts_refuses_nothing_of_it() -> None:
    """As a protocol that was recorded before these parts existed."""
    text = text_of(PROTOCOL)
    for rule in text["actions"].values():
        for part in ("by", "conditions", "conditions_of", "party_named_in", "not_party_named_in",
                     "standing",
                     "party_that_established", "or_party_that_established", "source",
                     "waits_for_reflection_unless", "requires_for_adult"):  # fmt: skip
            rule.pop(part, None)
    for kind in ("return_decided", "departed", "received"):
        known = ("victim_identified", "risk_assessed", "consent_return", "departed",
                 "return_decided", "travel_document_issued")  # fmt: skip
        rule = text["actions"][kind]
        rule["requires"] = [fact for fact in rule["requires"] if fact in known]
    for part in ("conditions", "reflection"):
        text.pop(part)
    case = Played(Protocol.model_validate(text))
    case.take(POLICE, "case_opened", age_group="child", countries=["XK"])
    case.take(SOCIAL, "guardian_appointed", guardian_kind="parent")
    case.take(POLICE, "risk_assessed", risk_level="immediate")
    case.take(POLICE, "victim_identified", status="ActualVictimOfTrafficking")
    case.assessed("stay_in_country_of_identification", heard=False, suitable=False,
                  consent={"given_by": "person", "form": "oral_recorded"})  # fmt: skip
    case.take(SOCIAL, "return_decided", destination="ME")
    case.take("me-nac", "travel_document_issued", document="passport")
    case.take("xk-border", "departed")


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ({"values": ["back_home"]}, "is never 'back_home'"),
        ({"field": "reasoning"}, "has no ledger field 'reasoning'"),
        ({"fact": "assessed"}, "no action establishes 'assessed'"),
        ({"unless": "case_closed"}, "case_closed overrides nothing"),
        ({"values": [True]}, "is never True"),
    ],
)
def test_a_condition_that_does_not_hold_is_named_when_the_text_is_read(
    part: dict[str, Any], fault: str
) -> None:
    text = text_of(PROTOCOL)
    text["conditions"]["best_interests_return"] |= part
    with pytest.raises(ValidationError, match=fault):
        Protocol.model_validate(text)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"conditions": ["unknown"]}, "there is no condition 'unknown'"),
        ({"party_named_in": "return_requested.nothing"}, "has 'nothing'"),
        ({"by": [{"parties": ["XK"], "roles": ["shelter"]}]}, "which roles does not"),
        ({"by": [{"parties": ["MK"], "roles": ["court"]}]}, "are not parties"),
        ({"party_that_established": ["nothing"]}, "no action establishes 'nothing'"),
    ],
)
def test_a_rule_that_names_what_is_not_there_is_refused(change: dict[str, Any], fault: str) -> None:
    text = text_of(PROTOCOL)
    text["actions"]["return_decided"] |= change
    with pytest.raises(ValidationError, match=fault):
        Protocol.model_validate(text)


def test_the_shipped_text_says_of_each_new_rule_where_it_comes_from() -> None:
    parts = [*PROTOCOL.conditions.values(), *PROTOCOL.reflection]
    parts += [bodies for rule in PROTOCOL.actions.values() for bodies in rule.by]
    assert all(one.standing is not None for one in parts)
    assert all(one.source for one in parts if one.standing is Standing.SOURCE)


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_rules_and_refusals_are_told_in_each_language(language: str) -> None:
    things = wording(language, PROTOCOL)
    words = Words(texts(language), things)
    page = [one for _, own in rights(PROTOCOL, things) for one in own]
    (returned,) = (one for one in page if one.action == things.kind("return_decided"))
    assert (
        len(returned.further) == len(PROTOCOL.conditions_of(PROTOCOL.actions["return_decided"])) + 3
    )
    assumed = things.text("rule.assumed", sentence="").strip()
    for name, condition in PROTOCOL.conditions.items():
        refusal = reason(Refusal(None, f"condition-{name}", "x"), words)  # type: ignore[arg-type]
        assert refusal != "x"
        assert condition.field not in refusal or language == "en"
        assert (assumed in refusal) is condition.is_assumed, "an assumption is called one"
    for rule in ("together", "deciding-body", "other-party", "named-party", "reflection"):
        assert reason(Refusal(None, rule, "x"), words) != "x"  # type: ignore[arg-type]


def test_the_examples_hold() -> None:
    for file in CORRIDORS.glob("*/protocol.toml"):
        assert load_protocol(file).conditions


def test_the_adoption_of_the_shipped_text_fits_into_one_event() -> None:
    """With room for an amendment that adds a party, whose keys are in the text."""
    assert len(str(Agencies(PROTOCOL).adoption())) < MAX_BYTES - 1_000
