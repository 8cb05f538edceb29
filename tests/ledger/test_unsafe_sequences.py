"""Each safeguard and each "whose decision" of the shipped text refuses an unsafe attempt.

A rule of the text that no attempt here tries fails the last two tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from ledger.procedure.amendments import text_of
from ledger.procedure.condition_checks import CONDITION
from ledger.procedure.protocol import Protocol
from tests.support.played import GUARDIAN, PERSON, POLICE, PROTOCOL, SOCIAL, Played

THERE = "me-csw-podgorica"
ORAL = {"form": "oral_recorded"}
STAY = "stay_in_country_of_identification"
RETURN = {"scopes": ["return"]}


@dataclass(frozen=True)
class Unsafe:
    """An attempt that a rule refuses, after a case has come so far."""

    so_far: str
    agency: str
    kind: str
    rule: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    """Actions that are taken before it."""


def earlier_text() -> Protocol:
    """The shipped text without the conditions of consents: as consents were once given."""
    text = text_of(PROTOCOL)
    for kind in ("consent_given", "consent_withdrawn"):
        text["actions"][kind].pop("conditions")
    return Protocol.model_validate(text)


@cache
def _played(so_far: str) -> tuple[Any, ...]:
    case = Played()
    match so_far:
        case "opened child" | "opened adult":
            case.take(POLICE, "case_opened", age_group=so_far.split()[1], countries=["XK", "ME"])
        case "opened by al-police-thb" | "opened by me-police-thb":
            by = so_far.split()[-1]
            case.take(by, "case_opened", age_group="adult", countries=[by[:2].upper()])
        case "identified in AL":
            police, social = "al-police-thb", "al-social-tirana"
            case.take(police, "case_opened", age_group="adult", countries=["AL"])
            case.take(social, "identification_requested", requested_by="person")
            case.jointly("victim_identified", police, social)
        case "identified child" | "identified adult":
            case.identified(so_far.split()[1])
            case.take(SOCIAL, "information_requested", addressee="me-nac", topics=["risk"],
                      purpose="return")  # fmt: skip
        case "assessed" | "requested" | "agreed" | "departed" | "received":
            case.identified()
            case.assessed()
            case.take("xk-shelter-children", "sheltered")
            if so_far == "requested":
                case.take(SOCIAL, "return_requested", destination="ME")
            if so_far in ("agreed", "departed", "received"):
                case.agreed()
            if so_far == "departed":
                case.take("xk-border", "departed", days=100)
            if so_far == "received":
                case.returned()
    return tuple(case.acts), case.now


def played(so_far: str) -> Played:
    acts, now = _played(so_far)
    return Played(acts=list(acts), now=now)


def consented(age_group: str, **consent: str) -> tuple[tuple[str, str, Mapping[str, Any]], ...]:
    """The consent of an earlier text, and all else that a return needs."""
    assessed: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
        (SOCIAL, "best_interests_assessed", {"outcome": "return_to_family", "child_heard": True}),
        (SOCIAL, "family_traced", {"outcome": "found_and_safe"}),
        (SOCIAL, "family_assessed", {"suitable": True}),
    )
    return (
        *(assessed if age_group == "child" else ()),
        (SOCIAL, "consent_given", {**RETURN, **consent}),
    )


REQUEST = {"destination": "ME"}
SAFEGUARDS = (
    Unsafe("assessed", SOCIAL, "return_requested", "condition-best_interests_return", REQUEST,
           ((SOCIAL, "best_interests_assessed", {"outcome": STAY, "child_heard": True}),)),
    Unsafe("assessed", SOCIAL, "return_requested", "condition-child_was_heard", REQUEST,
           ((SOCIAL, "best_interests_assessed",
             {"outcome": "return_to_family", "child_heard": False}),)),
    Unsafe("assessed", SOCIAL, "return_requested", "condition-risk_allows_return", REQUEST,
           ((POLICE, "risk_assessed", {"risk_level": "immediate"}),)),
    Unsafe("assessed", SOCIAL, "return_requested", "condition-family_is_suitable", REQUEST,
           ((SOCIAL, "family_assessed", {"suitable": False}),)),
    Unsafe("assessed", SOCIAL, "return_requested", "condition-family_is_not_involved", REQUEST,
           ((SOCIAL, "family_traced", {"outcome": "involved_in_trafficking"}),)),
    Unsafe("identified child", SOCIAL, "return_requested",
           "condition-guardian_consented_to_return", REQUEST, consented("child", **PERSON)),
    Unsafe("identified adult", SOCIAL, "return_requested", "condition-adult_consented_to_return",
           REQUEST, consented("adult", **GUARDIAN)),
    Unsafe("identified adult", SOCIAL, "return_requested", "condition-return_consented_in_writing",
           REQUEST, consented("adult", **{**PERSON, **ORAL})),
    Unsafe("identified adult", SOCIAL, "consent_given", "condition-adult_consents_alone",
           {"scopes": ["assistance"], **GUARDIAN}),
    Unsafe("identified child", SOCIAL, "consent_given", "condition-guardian_consents_to_return",
           {**RETURN, **PERSON}),
    Unsafe("identified child", SOCIAL, "consent_given", "condition-consent_to_return_is_written",
           {**RETURN, **GUARDIAN, **ORAL}),
    Unsafe("identified adult", SOCIAL, "consent_withdrawn", "condition-adult_withdraws_alone",
           {"scopes": ["return"], "withdrawn_by": "guardian"}, consented("adult", **PERSON)),
    Unsafe("received", THERE, "monitoring_closed", "condition-last_visit_found_no_risk",
           {"finding": "progressing"},
           ((THERE, "reintegration_monitored", {"finding": "at_risk"}),)),
    Unsafe("received", THERE, "monitoring_closed", "condition-monitoring_ends_without_risk",
           {"finding": "at_risk"},
           ((THERE, "reintegration_monitored", {"finding": "progressing"}),)),
    Unsafe("agreed", "xk-border", "departed", "reflection"),
    Unsafe("opened child", SOCIAL, "best_interests_assessed", "requires-guardian_appointed",
           {"outcome": "return_to_family", "child_heard": True}),
    Unsafe("opened child", SOCIAL, "consent_given", "requires-guardian_appointed",
           {**RETURN, **GUARDIAN}),
    Unsafe("opened adult", SOCIAL, "state_notified", "requires-consent_information_exchange",
           {"country": "AL"}),
    Unsafe("opened adult", SOCIAL, "person_referred", "requires-consent_assistance",
           {"country": "AL"}),
    Unsafe("assessed", SOCIAL, "return_decided", "requires-return_accepted", REQUEST),
)  # fmt: skip
VICTIM = {"status": "ActualVictimOfTrafficking"}
POTENTIAL = {"protected_as": "PossibleVictimOfTrafficking"}
AT_RISK = {"protected_as": "PersonAtRiskOfTrafficking"}
NOT_ALONE: tuple[Unsafe, ...] = (
    Unsafe("identified adult", POLICE, "not_a_victim", "together"),
    Unsafe("identified adult", "xk-court-prishtina", "not_a_victim", "deciding-body"),
    Unsafe("opened by al-police-thb", "al-police-thb", "not_a_victim", "together"),
    Unsafe("identified adult", POLICE, "victim_status_changed", "together", VICTIM),
    Unsafe("identified in AL", "al-police-thb", "victim_status_changed", "together", VICTIM),
    Unsafe("opened adult", POLICE, "indicators_assessed", "together", AT_RISK),
    Unsafe("opened adult", "xk-ngo-support", "indicators_assessed", "deciding-body", AT_RISK),
    Unsafe("opened adult", POLICE, "indicators_assessed", "together", AT_RISK,
           ((POLICE, "indicators_assessed", POTENTIAL),)),
    Unsafe("opened by me-police-thb", "me-police-thb", "indicators_assessed", "together", AT_RISK),
    Unsafe("opened by me-police-thb", "me-csw-podgorica", "indicators_assessed", "together",
           AT_RISK),
    Unsafe("opened adult", POLICE, "risk_assessed", "together", {"risk_level": "medium"}),
    Unsafe("opened adult", "xk-ngo-support", "risk_assessed", "deciding-body",
           {"risk_level": "low"}),
    Unsafe("opened adult", POLICE, "risk_assessed", "together", {"risk_level": "high"},
           ((SOCIAL, "risk_assessed", {"risk_level": "immediate"}),)),
    Unsafe("opened by me-police-thb", "me-police-thb", "risk_assessed", "together",
           {"risk_level": "low"}, (("me-shelter", "risk_assessed", {"risk_level": "high"}),)),
    Unsafe("opened by me-police-thb", "me-csw-podgorica", "risk_assessed", "together",
           {"risk_level": "high"}, (("me-border", "risk_assessed", {"risk_level": "immediate"}),)),
    Unsafe("opened by me-police-thb", "me-shelter", "risk_assessed", "deciding-body",
           {"risk_level": "low"}, (("me-border", "risk_assessed", {"risk_level": "medium"}),)),
)  # fmt: skip
"""Decisions that lower a status or a risk, by one body of the country alone."""
WHOSE = (
    *NOT_ALONE,
    Unsafe("opened adult", "xk-nac", "victim_identified", "deciding-body", VICTIM),
    Unsafe("opened adult", POLICE, "victim_identified", "together", VICTIM),
    Unsafe("opened adult", "me-police-thb", "victim_identified", "deciding-body", VICTIM),
    Unsafe("identified adult", "me-nac", "victim_status_changed", "other-party", VICTIM),
    Unsafe("opened by me-police-thb", "me-nac", "not_a_victim", "deciding-body"),
    Unsafe("identified adult", "me-identification-team", "not_a_victim", "other-party"),
    Unsafe("opened adult", "me-identification-team", "not_a_victim", "other-party"),
    Unsafe("opened adult", "me-police-thb", "indicators_assessed", "other-party",
           {"protected_as": "PersonAtRiskOfTrafficking"},
           ((POLICE, "indicators_assessed", {"protected_as": "PossibleVictimOfTrafficking"}),)),
    Unsafe("identified child", THERE, "guardian_appointed", "other-party",
           {"guardian_kind": "parent"}),
    Unsafe("requested", THERE, "best_interests_assessed", "other-party",
           {"outcome": STAY, "child_heard": True}),
    Unsafe("requested", "me-court-podgorica", "outcome_overridden", "other-party",
           {"destination": "XK", "overrides": UUID(int=0), "reasons": ["new_information"]}),
    Unsafe("requested", "me-shelter", "shelter_left", "other-party"),
    Unsafe("requested", THERE, "consent_given", "other-party", {**RETURN, **GUARDIAN}),
    Unsafe("requested", THERE, "consent_withdrawn", "other-party",
           {**RETURN, "withdrawn_by": "guardian"}),
    Unsafe("requested", "xk-nac", "return_accepted", "named-party"),
    Unsafe("requested", "xk-nac", "return_refused", "named-party"),
    Unsafe("requested", "xk-nac", "reintegration_planned", "named-party"),
    Unsafe("requested", "me-nac", "return_decided", "other-party", {"destination": "ME"},
           (("me-nac", "return_accepted", {}),)),
    Unsafe("agreed", "me-nac", "return_cancelled", "other-party"),
    Unsafe("agreed", "al-nac", "return_postponed", "other-party", {},
           ((SOCIAL, "information_requested",
             {"addressee": "al-nac", "topics": ["risk"], "purpose": "return"}),)),
    Unsafe("agreed", "me-nac", "reintegration_plan_agreed", "other-party"),
    Unsafe("agreed", "me-border", "departed", "other-party"),
    Unsafe("departed", "me-border", "turned_back", "named-party"),
    Unsafe("departed", "me-border", "handover_recorded", "named-party"),
    Unsafe("departed", "xk-border", "handover_confirmed", "handover-by-the-receiver", {},
           (("xk-border", "handover_recorded", {}),)),
)  # fmt: skip


@pytest.mark.parametrize(
    "unsafe",
    [*SAFEGUARDS, *WHOSE],
    ids=lambda one: f"{one.so_far}, {one.agency} {one.kind}: {one.rule}",
)
def test_an_unsafe_attempt_is_refused_by_its_own_rule(unsafe: Unsafe) -> None:
    case = played(unsafe.so_far)
    for agency, kind, fields in unsafe.before:
        case.protocol = earlier_text() if kind == "consent_given" else PROTOCOL
        case.take(agency, kind, **fields)
    case.protocol = PROTOCOL
    fields = dict(unsafe.fields)
    if unsafe.kind == "handover_confirmed":
        fields["handover"] = case.acts[-1].id
    case.refused(unsafe.rule, unsafe.agency, unsafe.kind, **fields)


def test_every_condition_of_the_text_has_an_attempt() -> None:
    tried = {one.rule.removeprefix(CONDITION) for one in SAFEGUARDS}
    assert PROTOCOL.conditions.keys() <= tried


def test_every_rule_on_whose_decision_it_is_has_an_attempt() -> None:
    of_somebody = {
        kind
        for kind, rule in PROTOCOL.actions.items()
        if rule.by
        or rule.party_named_in
        or rule.not_party_named_in
        or rule.party_that_established
        or any(one.party_that_established for one in rule.where)
    }
    assert of_somebody <= {one.kind for one in WHOSE}


def test_every_decision_of_several_bodies_has_an_attempt_of_each_alone() -> None:
    tried = {
        (
            one.kind,
            PROTOCOL.agencies_by_id[one.agency].party,
            PROTOCOL.agencies_by_id[one.agency].role,
        )
        for one in WHOSE
        if one.rule == "together"
    }
    for kind, rule in PROTOCOL.actions.items():
        named = {party for one in rule.by for party in one.parties}
        for bodies in rule.by:
            if not bodies.together:
                continue
            parties = set(bodies.parties) or {"ME"} - named
            for role in bodies.roles:
                missing = {(kind, party, role) for party in parties} - tried
                assert kind == "victim_identified" or not missing


@pytest.mark.parametrize("kind", ["indicators_assessed", "not_a_victim", "risk_assessed"])
def test_two_bodies_lower_what_one_does_not(kind: str) -> None:
    case = played("opened adult")
    case.take("xk-border", "risk_assessed", risk_level="immediate")
    fields: dict[str, Any] = {"risk_level": "low"} if kind == "risk_assessed" else {}
    fields |= AT_RISK if kind == "indicators_assessed" else {}
    case.refused("together", POLICE, kind, **fields)
    case.jointly(kind, POLICE, "xk-victim-advocate", **fields)


def test_one_body_alone_raises_the_risk_at_any_time() -> None:
    case = played("opened adult")
    case.jointly("risk_assessed", POLICE, "xk-victim-advocate", risk_level="low")
    for level in ("high", "immediate"):
        case.take("xk-ngo-support", "risk_assessed", risk_level=level)


def test_a_low_risk_of_another_country_opens_no_shelter() -> None:
    case = played("opened adult")
    case.take("xk-isf", "sheltered")
    case.take(POLICE, "risk_assessed", risk_level="high")
    case.take("me-police-thb", "risk_assessed", risk_level="low")
    case.refused("shelter-exit", "xk-isf", "shelter_left")


def test_no_country_takes_a_suspicion_away_on_which_another_opened_the_case() -> None:
    """The country that stated a status later takes that back."""
    case = played("opened adult")
    case.refused("other-party", "me-identification-team", "not_a_victim")
    case.take("me-police-thb", "indicators_assessed", **POTENTIAL)
    case.take("me-identification-team", "not_a_victim")
