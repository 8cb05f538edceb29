"""Persons at risk, potential victims and victims, each on a path of their own.

Each test plays actions of one case by the rules of the shipped protocol alone.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.paper.subject_access.wording import wording
from api.web.refusal_text import reason
from api.web.rendering import Words
from api.web.texts import texts
from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.available_actions import offer_of
from ledger.procedure.merge_conditions import lacking
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.protocol_changes import changes
from ledger.procedure.retention import retention_rule
from ledger.refusals import Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import TraffickingStatus
from projections.folds.expected_steps import expected_steps
from projections.folds.obligation_terms import ObligationOutcome
from projections.folds.obligations import obligations
from tests.support.played import ADVOCATE, GUARDIAN, PERSON, POLICE, PROTOCOL, SOCIAL, Played

AT_RISK = {"protected_as": "PersonAtRiskOfTrafficking"}
POTENTIAL = {"protected_as": "PossibleVictimOfTrafficking"}
VICTIM = {"status": "ActualVictimOfTrafficking"}
NGO = "xk-ngo-support"
_NO_STATUS = ("where", "requires_one_of")


def opened(age_group: str = "adult", **fields: Any) -> Played:
    case = Played()
    case.take(SOCIAL, "case_opened", age_group=age_group, countries=["XK"], **fields)
    return case


def status(case: Played) -> TraffickingStatus:
    assert case.state is not None
    return case.state.trafficking_status


def owed(case: Played) -> set[str]:
    assert case.state is not None
    known = {act.id: act for act in case.acts}
    return {one.action for one in expected_steps(case.state, Agreement.of(PROTOCOL), known)}


def agreed(case: Played) -> None:
    """Have Montenegro accept the return of an adult, and agree on the plan."""
    scopes = ["assistance", "return"]
    case.take(SOCIAL, "risk_assessed", risk_level="medium")
    case.take(SOCIAL, "consent_given", scopes=scopes, **PERSON)
    case.agreed()


def test_a_person_at_risk_is_helped_and_returns_without_an_identification() -> None:
    case = opened(**AT_RISK)
    assert status(case) is TraffickingStatus.AT_RISK
    case.take(NGO, "service_started", service="legal")
    agreed(case)
    case.take("xk-border", "departed", days=1)
    handover = case.take("xk-border", "handover_recorded")
    case.take("me-border", "handover_confirmed", handover=handover, is_complete=True)
    case.take("me-border", "received", in_person=True)
    case.take("me-csw-podgorica", "reintegration_monitored", finding="progressing")
    assert status(case) is TraffickingStatus.AT_RISK
    assert case.state is not None
    assert "victim_identified" not in case.state.facts


@pytest.mark.parametrize(
    ("agency", "kind", "fields", "rule"),
    [
        (POLICE, "investigated", {"state": "opened"}, "not-while-at_risk"),
        (POLICE, "investigated", {"state": "extended"}, "not-while-at_risk"),
        (POLICE, "investigated", {"state": "suspended"}, "requires-investigated"),
        (POLICE, "investigated", {"state": "completed"}, "requires-investigated"),
        (POLICE, "protection_measure_taken", {"measure": "recovery_and_reflection_period"},
         "not-while-at_risk"),
        ("xk-compensation", "compensation_recorded", {"state": "paid"},
         "requires-victim_identified"),
        (POLICE, "new_exploitation_found", {"exploitation_country": "DE"}, "not-while-at_risk"),
        (POLICE, "victim_status_changed", VICTIM, "requires-victim_identified"),
        (SOCIAL, "return_requested", {"destination": "ME"}, "requires-risk_assessed"),
        (SOCIAL, "person_referred", {"country": "ME"}, "requires-consent_assistance"),
        (SOCIAL, "state_notified", {"country": "ME"}, "requires-consent_information_exchange"),
        ("xk-nac", "case_closed", {"reason": "reintegrated"}, "closing-reason"),
        ("xk-nac", "case_closed", {"reason": "not_a_victim"}, "closing-reason"),
    ],
)  # fmt: skip
def test_what_a_person_at_risk_has_not(
    agency: str, kind: str, fields: dict[str, Any], rule: str
) -> None:
    opened(**AT_RISK).refused(rule, agency, kind, **fields)


def test_a_return_of_a_person_at_risk_needs_the_own_consent_and_the_other_state() -> None:
    case = opened(**AT_RISK)
    case.take(SOCIAL, "risk_assessed", risk_level="low")
    case.refused("requires-consent_return", SOCIAL, "return_requested", destination="ME")
    case.refused("condition-adult_consents_alone", SOCIAL, "consent_given", scopes=["return"],
                 **GUARDIAN)  # fmt: skip
    case.take(SOCIAL, "consent_given", scopes=["return"], **PERSON)
    case.take(SOCIAL, "return_requested", destination="ME")
    case.refused("requires-return_accepted", SOCIAL, "return_decided", destination="ME")


def test_a_child_at_risk_has_every_safeguard_of_a_child() -> None:
    case = opened("child", **AT_RISK)
    assert {"guardian_appointed", "risk_assessed"} <= owed(case)
    case.take(SOCIAL, "risk_assessed", risk_level="low")
    case.refused("requires-guardian_appointed", SOCIAL, "consent_given", scopes=["return"],
                 **GUARDIAN)  # fmt: skip
    case.take(SOCIAL, "guardian_appointed", guardian_kind="parent")
    case.take(SOCIAL, "consent_given", scopes=["return"], **GUARDIAN)
    case.refused("requires-best_interests_assessed", SOCIAL, "return_requested", destination="ME")
    case.take(SOCIAL, "best_interests_assessed", outcome="stay_in_country_of_identification",
              child_heard=True)  # fmt: skip
    case.take(SOCIAL, "family_traced", outcome="found_and_safe")
    case.take(SOCIAL, "family_assessed", suitable=True)
    case.refused("condition-best_interests_return", SOCIAL, "return_requested", destination="ME")


def test_the_status_changes_by_events_and_is_never_rewritten() -> None:
    case = opened(**AT_RISK)
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    assert status(case) is TraffickingStatus.POSSIBLE
    case.take(POLICE, "investigated", state="opened")
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    assert status(case) is TraffickingStatus.AT_RISK
    case.refused("not-while-at_risk", "xk-prosecution-prishtina", "charged")
    case.take(POLICE, "investigated", state="completed")
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.jointly("victim_identified", POLICE, "xk-victim-advocate")
    assert status(case) is TraffickingStatus.ACTUAL
    assert case.state is not None
    assert not {"at_risk", "potential_victim"} & case.state.facts.keys()
    for again in (AT_RISK, POTENTIAL):
        case.refused("not-while-victim_identified", POLICE, "indicators_assessed", **again)
    case.take(POLICE, "indicators_assessed")
    assert status(case) is TraffickingStatus.ACTUAL, "a later assessment leaves the status"
    case.jointly("not_a_victim", POLICE, ADVOCATE, decided_by="Police", ground="new_evidence")
    assert status(case) is TraffickingStatus.NOT_A_VICTIM
    case.take(SOCIAL, "indicators_assessed", **AT_RISK)
    assert status(case) is TraffickingStatus.AT_RISK
    said = [a.fields["protected_as"] for a in case.acts if "protected_as" in a.fields]
    assert len(said) == 5, "each status stays on the trail"


def test_an_annulled_screening_leaves_the_status_before_it() -> None:
    case = opened(**AT_RISK)
    screened = case.take(POLICE, "indicators_assessed", **POTENTIAL)
    proposal = case.take(POLICE, "decision_proposed", decision="indicators_assessed")
    case.take(ADVOCATE, "decision_confirmed", proposal=proposal)
    case.take(POLICE, "correction", corrects=screened, effect="annulled", reason="entry_error")
    assert status(case) is TraffickingStatus.AT_RISK
    case.refused("not-while-at_risk", POLICE, "investigated", state="opened")


def test_no_country_lowers_the_status_that_another_found() -> None:
    case = opened()
    case.take(SOCIAL, "information_requested", addressee="me-nac", topics=["risk"],
              purpose="protection")  # fmt: skip
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.refused("other-party", "me-police-thb", "indicators_assessed", **AT_RISK)
    case.refused("other-party", "me-identification-team", "not_a_victim", decided_by="Other",
                 ground="statement")  # fmt: skip
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    case.take("me-police-thb", "indicators_assessed", **POTENTIAL)
    assert status(case) is TraffickingStatus.POSSIBLE, "any country may see more"


def test_no_country_lowers_the_suspicion_on_which_another_opened_the_case() -> None:
    """A case is opened on suspicion without a word of status."""
    case = opened()
    case.take(SOCIAL, "information_requested", addressee="me-nac", topics=["risk"],
              purpose="protection")  # fmt: skip
    case.refused("other-party", "me-police-thb", "indicators_assessed", **AT_RISK)
    assert status(case) is TraffickingStatus.POSSIBLE
    case.take("me-police-thb", "indicators_assessed", **POTENTIAL)
    case.refused("other-party", POLICE, "indicators_assessed", **AT_RISK)
    case.jointly("indicators_assessed", "me-police-thb", "me-csw-podgorica", **AT_RISK)
    assert status(case) is TraffickingStatus.AT_RISK, "a country takes back what it found"


def test_a_lowered_status_ends_no_reflection_period() -> None:
    case = opened()
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    agreed(case)
    case.refused("reflection", "xk-border", "departed", days=30)
    case.take("xk-border", "departed", days=91)


def test_no_file_opens_by_a_statement_that_an_investigation_was_completed() -> None:
    """An investigation of a crime against a person at risk is not opened."""
    case = opened(**AT_RISK)
    for state in ("completed", "suspended"):
        case.refused("requires-investigated", POLICE, "investigated", state=state)
    for agency in (POLICE, "xk-prosecution-prishtina"):
        assert not case.reads(agency, FieldGroup.EXPLOITATION)
        assert not case.reads(agency, FieldGroup.PROCEEDINGS)
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.take(POLICE, "investigated", state="opened")
    assert case.reads("xk-prosecution-prishtina", FieldGroup.PROCEEDINGS)


def test_no_case_is_closed_as_one_of_a_person_at_risk_while_an_appeal_is_pending() -> None:
    case = opened()
    case.jointly("not_a_victim", POLICE, ADVOCATE, decided_by="Police", ground="statement")
    case.take(NGO, "appeal_filed")
    case.take(SOCIAL, "indicators_assessed", **AT_RISK)
    case.take(SOCIAL, "risk_assessed", risk_level="low")
    case.refused("closing-reason", "xk-nac", "case_closed", reason="no_longer_at_risk")


def test_a_potential_victim_returns_after_a_screening_and_the_reflection_period() -> None:
    case = opened()
    assert status(case) is TraffickingStatus.POSSIBLE
    case.jointly("risk_assessed", POLICE, ADVOCATE, risk_level="low")
    case.take(SOCIAL, "consent_given", scopes=["assistance", "return"], **PERSON)
    refusal = case.refused("one-of-victim_identified", SOCIAL, "return_requested",
                           destination="ME")  # fmt: skip
    assert "potential_victim, at_risk" in refusal.message
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.agreed()
    case.refused("reflection", "xk-border", "departed", days=30)
    case.take("xk-border", "departed", days=91)


def test_what_is_owed_to_a_person_at_risk() -> None:
    case = opened(**AT_RISK)
    assert "victim_identified" not in owed(case)
    assert "indicators_assessed" in owed(case)
    assert "service_started" not in owed(case), "help waits for the person's consent"
    case.take(SOCIAL, "consent_given", scopes=["assistance"], **PERSON)
    assert "service_started" in owed(case)
    case.take(NGO, "service_started", service="psychosocial")
    assert "service_started" not in owed(case)
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    assert "victim_identified" in owed(case), "of a potential victim it is expected"
    folded = obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values()
    done = {
        one.action: one.outcome
        for one in folded
        if one.action in ("service_started", "indicators_assessed")
    }
    assert set(done.values()) == {ObligationOutcome.DONE}


def test_a_person_who_becomes_at_risk_is_owed_no_identification() -> None:
    case = opened()
    assert "victim_identified" in owed(case)
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    assert "victim_identified" not in owed(case)
    folded = obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values()
    (gone,) = (one for one in folded if one.action == "victim_identified")
    assert gone.outcome is ObligationOutcome.NOT_EXPECTED


def test_the_file_of_a_person_at_risk_opens_no_further_than_by_consent() -> None:
    case = opened(**AT_RISK)
    assert not case.reads(POLICE, FieldGroup.EXPLOITATION)
    assert not case.reads("xk-labour-inspectorate", FieldGroup.IDENTITY)
    assert not case.reads("xk-prosecution-prishtina", FieldGroup.IDENTITY)


def test_a_case_of_a_person_at_risk_is_closed_as_such_and_kept_a_year() -> None:
    case = opened(**AT_RISK)
    case.refused("closing-reason", "xk-nac", "case_closed", reason="no_longer_at_risk")
    case.take(SOCIAL, "risk_assessed", risk_level="low")
    case.take("xk-nac", "case_closed", reason="no_longer_at_risk")
    assert case.state is not None
    kept = retention_rule(case.state, PROTOCOL)
    assert kept is not None
    assert kept.days == 365
    other = opened()
    other.jointly("risk_assessed", POLICE, ADVOCATE, risk_level="low")
    other.refused("closing-reason", "xk-nac", "case_closed", reason="no_longer_at_risk")


def test_a_case_in_which_a_crime_was_investigated_is_kept_as_that_of_a_victim() -> None:
    case = opened(**AT_RISK)
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.take(POLICE, "investigated", state="opened")
    case.take(POLICE, "investigated", state="completed")
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    case.take(SOCIAL, "risk_assessed", risk_level="low")
    case.take("xk-nac", "case_closed", reason="no_longer_at_risk")
    assert case.state is not None
    kept = retention_rule(case.state, PROTOCOL)
    assert kept is not None
    assert kept.days == 3650


def test_pages_offer_the_statuses_that_the_rules_accept() -> None:
    case = opened(**AT_RISK)
    police = PROTOCOL.agencies_by_id[POLICE]

    def offered(kind: str) -> Any:
        history = {act.id: act for act in case.acts}
        return offer_of(kind, case.state, history, police, PROTOCOL, case.now)

    refused = offered("investigated").refusal
    assert refused is not None
    assert refused.rule == "not-while-at_risk", "no state of an investigation is possible"
    assert (
        "recovery_and_reflection_period"
        not in (offered("protection_measure_taken").choices["measure"])
    )
    assert "protected_as" not in offered("indicators_assessed").choices
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    assert offered("investigated").choices == {"state": ("opened", "extended")}
    case.take(POLICE, "investigated", state="opened")
    assert offered("investigated").choices == {}
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    assert offered("investigated").choices == {"state": ("suspended", "completed")}
    case.take(POLICE, "indicators_assessed", **POTENTIAL)
    case.jointly("victim_identified", POLICE, "xk-victim-advocate")
    assert offered("indicators_assessed").choices["protected_as"] == ()


def earlier() -> Protocol:
    """The shipped text as it was before persons at risk."""
    text = text_of(PROTOCOL)
    for rule in text["actions"].values():
        for part in _NO_STATUS:
            rule.pop(part, None)
        rule["by"] = [one for one in rule.get("by", ()) if "not_while" not in one]
        for part in _NAMING_FACTS:
            rule[part] = [one for one in rule.get(part, ()) if one not in _STATUSES]
    text["actions"]["investigated"]["establishes"] = ["investigated"]
    for closing in text["closings"]:
        closing["forbidden_while"] = [
            one for one in closing.get("forbidden_while", ()) if one not in _STATUSES
        ]
    text["closings"] = [one for one in text["closings"] if one["reason"] != "no_longer_at_risk"]
    text["expected"] = [
        {name: part for name, part in one.items() if name != "not_while"}
        for one in text["expected"]
        if "at_risk" not in one["after"]
    ]
    for period in text["reflection"]:
        period.pop("or_after")
    return Protocol.model_validate(text)


_STATUSES = ("at_risk", "potential_victim", "screened")
_NAMING_FACTS = ("ends", "forbidden_while", "party_that_established", "or_party_that_established")


def test_a_text_that_does_not_know_persons_at_risk_takes_no_such_status() -> None:
    """As a recorded protocol, until the parties amend it."""
    case = Played(earlier())
    opening = {"age_group": "adult", "countries": ["XK"]}
    case.refused("status-not-agreed", SOCIAL, "case_opened", **opening, **AT_RISK)
    case.take(SOCIAL, "case_opened", **opening)
    for said in (AT_RISK, POTENTIAL):
        case.refused("status-not-agreed", POLICE, "indicators_assessed", **said)
    case.take(POLICE, "indicators_assessed")
    case.protocol = shipped_protocol()
    case.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    assert status(case) is TraffickingStatus.AT_RISK


def test_an_amendment_says_each_new_rule() -> None:
    found = {one.id for one in changes(earlier(), PROTOCOL)}
    assert {"where", "requires_one_of", "expected", "expected_otherwise", "closing"} <= found
    assert "other" not in found
    back = {one.id for one in changes(PROTOCOL, earlier())}
    assert {"where_no_more", "requires_one_of_no_more"} <= back


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ({"field": "summary", "values": ["x"]}, "has no ledger field 'summary'"),
        ({"field": "protected_as", "values": ["AtRisk"]}, "is never 'AtRisk'"),
        ({"field": "protected_as", "values": ["PersonAtRiskOfTrafficking"],
          "forbidden_while": ["unheard_of"]}, "no action establishes 'unheard_of'"),
    ],
)  # fmt: skip
def test_a_rule_of_a_value_that_does_not_hold_is_named_when_the_text_is_read(
    where: dict[str, Any], fault: str
) -> None:
    text = text_of(PROTOCOL)
    text["actions"]["indicators_assessed"]["where"].append(where)
    with pytest.raises(ValueError, match=fault):
        Protocol.model_validate(text)


def test_a_merge_waits_until_both_cases_say_the_same_status() -> None:
    """A later status in the case that continues takes the place of an earlier one."""
    ended, other = opened(**AT_RISK), opened()
    assert ended.state is not None

    def missing(case: Played) -> tuple[str, ...]:
        history: dict[Any, Act] = {one.id: replace(one, id=uuid4()) for one in case.acts}
        return lacking(ended.state, history, PROTOCOL)  # type: ignore[arg-type]

    assert "at_risk" in missing(other)
    other.take(POLICE, "indicators_assessed", **POTENTIAL)
    assert "at_risk" not in missing(other)
    screened, later = opened(), opened()
    screened.take(POLICE, "indicators_assessed", **POTENTIAL)
    later.now += timedelta(days=1)
    later.jointly("indicators_assessed", POLICE, ADVOCATE, **AT_RISK)
    assert later.state is not None
    history = {one.id: one for one in screened.acts}
    assert "at_risk" in lacking(later.state, history, PROTOCOL), "said later in the case that ends"


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_statuses_and_refusals_are_told_in_each_language(language: str) -> None:
    things = wording(language, PROTOCOL)
    words = Words(texts(language), things)
    labels = {things.picked(one) for one in TraffickingStatus}
    assert len(labels) == len(TraffickingStatus)
    assert not any("Trafficking" in one for one in labels)
    for rule in ("one-of-victim_identified", "not-while-at_risk", "status-not-agreed"):
        said = reason(Refusal(None, rule, "x"), words)  # type: ignore[arg-type]
        assert said != "x"
        assert "_" not in said
    for one in TraffickingStatus:
        assert texts(language).find(f"path.{one.value}")
