"""A country outside a case does not learn a person's place or destination."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.events import event_bytes
from ledger.refusals import Refusal
from ledger.signing.sd_jwt import decoy_digest, parse
from ledger.signing.signed_action import read
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.action import field_adapter
from ledger.vocabulary.coordination import ConsentGiven, MeetingHeld, PersonReferred
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.inclusion import (
    ReintegrationMonitored,
    ReintegrationPlanAgreed,
    ReintegrationPlanned,
)
from ledger.vocabulary.picklists import AgeGroup
from ledger.vocabulary.protection import RiskAssessed, ServiceStarted, Sheltered
from ledger.vocabulary.return_and_inclusion import (
    Departed,
    EarlyDepartureWished,
    HandoverConfirmed,
    HandoverRecorded,
    Received,
    ReturnAccepted,
    ReturnDecided,
    ReturnRequested,
    TravelDocumentIssued,
)
from ledger.vocabulary.upcasting import upcasters
from tests.attacks.target import Target, forged
from tests.support.actions import START, opening
from tests.support.web import signed_in

SHELTER, RECEIVER = "xk-shelter-children", "me-csw-niksic"
TRAVELS, VISITED = date(2031, 7, 19), date(2031, 9, 27)
SECRETS = (SHELTER, RECEIVER, "xk-ngo-support", TRAVELS.isoformat(), VISITED.isoformat(),
           "high_security", "police_and_social_worker")  # fmt: skip
"""Values that nobody outside the case may read. No agency among them acts in the case."""
NAMED = UUID(int=0)
"""Stands for the earlier action that a step names."""
OUTSIDE = ("al-nac", "al-advocate", "al-node")
READS = (
    "/v1/cases/{case}",
    "/v1/cases/{case}/trail",
    "/v1/cases/{case}/difference?from_position=0",
    "/v1/cases",
    "/v1/obligations?limit=200",
    "/v1/ledger/moment",
    "/v1/reciprocity",
)

PAGES = ("/cases/{case}", "/cases/{case}/trail", "/cases/{case}/replay", "/cases?show=all")


def story() -> Iterator[tuple[str, Action]]:
    """The return of an adult from Kosovo to Montenegro, by agencies that are no shelter."""
    at = iter(START + timedelta(hours=n) for n in range(1, 30))
    yield (
        "xk-csw-peja",
        VictimIdentified(
            acted_at=next(at), status="PossibleVictimOfTrafficking",
            decided_by="Police", types_of_exploitation=("ForcedLabour",),
        ),
    )  # fmt: skip
    yield "xk-csw-peja", RiskAssessed(acted_at=next(at), risk_level="high")
    yield (
        "xk-csw-peja",
        Sheltered(acted_at=next(at), shelter_kind="high_security", provider=SHELTER),
    )
    yield (
        "xk-csw-peja",
        ServiceStarted(acted_at=next(at), service="legal", provider="xk-ngo-support"),
    )
    scopes = ("return", "assistance")
    yield (
        "xk-csw-peja",
        ConsentGiven(acted_at=next(at), scopes=scopes, given_by="person", form="written"),
    )
    yield (
        "xk-nac",
        MeetingHeld(
            acted_at=next(at), host="XK", countries=("XK", "ME"),
            agencies=("xk-nac", "me-nac", SHELTER),
        ),
    )  # fmt: skip
    yield (
        "xk-nac",
        PersonReferred(
            acted_at=next(at), country="ME", reason="Other", referred_to=RECEIVER,
        ),
    )  # fmt: skip
    yield "xk-nac", ReturnRequested(acted_at=next(at), destination="ME", planned_for=TRAVELS)
    yield (
        "me-nac",
        ReturnAccepted(acted_at=next(at), receiving_agency=RECEIVER, planned_for=TRAVELS),
    )
    yield (
        "xk-nac",
        ReturnDecided(
            acted_at=next(at), destination="ME", planned_for=TRAVELS, receiving_agency=RECEIVER
        ),
    )
    plan = ReintegrationPlanned(acted_at=next(at), plan_types=("Health",))
    yield "me-csw-podgorica", plan
    yield "xk-nac", ReintegrationPlanAgreed(acted_at=next(at), plan=NAMED)
    yield "me-nac", TravelDocumentIssued(acted_at=next(at), document="laissez_passer")
    yield "xk-csw-peja", EarlyDepartureWished(acted_at=next(at), form="written")
    yield "xk-border", Departed(acted_at=next(at), escort="police_and_social_worker")
    yield (
        "xk-border",
        HandoverRecorded(
            acted_at=next(at), receiving_agency=RECEIVER, handed_over=("documents",),
            handover_list=TRAVELS.isoformat(),
        ),
    )  # fmt: skip
    yield "me-border", HandoverConfirmed(acted_at=next(at), handover=NAMED, is_complete=True)
    yield "me-nac", Received(acted_at=next(at), in_person=True)
    yield (
        "me-csw-podgorica",
        ReintegrationMonitored(acted_at=next(at), finding="progressing", next_visit=VISITED),
    )


@pytest.fixture(scope="module")
def returned(target: Target) -> tuple[UUID, int]:
    """The case, and the position before it."""
    with target.server.client("xk-csw-peja") as client:
        receipt = client.open_case(
            opening(("XK", "ME")).model_copy(update={"age_group": AgeGroup.ADULT})
        )
        case, last = receipt.case_id, receipt
    taken: dict[str, UUID] = {}
    for agency, planned in story():
        named = {
            "plan": taken.get("reintegration_planned"),
            "handover": taken.get("handover_recorded"),
        }
        own = {name: named[name] for name in named if name in type(planned).model_fields}
        action = planned.model_copy(update=own)
        with target.server.client(agency) as client:
            last = client.append(action, case, last.case_version)
            taken[action.kind] = last.action_id
            client.case(case, at_least=last.position)
            next(client.trail(case, at_least=last.position))
    return case, receipt.position - 1


def in_clear(target: Target, agency: str, after: int) -> str:
    """Return the decoded contents of the events after a position."""
    events = target.ask(f"/v1/events?after={after}&limit=500", agency).json()["events"]
    assert len(events) > 10, "the agency follows every event"
    told = [parse(event_bytes.unseal(event["entry"].encode())[0]) for event in events]
    return json.dumps([[dict(one.header), dict(one.payload)] for one in told])


@pytest.mark.parametrize("agency", OUTSIDE)
def test_no_event_tells_where_the_person_is_and_goes(
    target: Target, returned: tuple[UUID, int], agency: str
) -> None:
    """Every country's coordinator, oversight body and node follows the events of all cases."""
    case, before = returned
    told = in_clear(target, agency, before)
    assert str(case) in told
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize("agency", OUTSIDE[:2])
def test_no_page_tells_it(target: Target, returned: tuple[UUID, int], agency: str) -> None:
    with signed_in(target.server, agency) as browser:
        for path in PAGES:
            page = browser.get(path.format(case=returned[0]))
            assert page.status_code in (200, 403, 404), page.text
            # The list of cases offers every agency of the protocol as the leading one.
            told = re.sub(r'<select id="filter-agency".*?</select>', "", page.text, flags=re.S)
            assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("agency", OUTSIDE)
def test_no_answer_tells_it_either(
    target: Target, returned: tuple[UUID, int], agency: str, path: str
) -> None:
    answer = target.ask(path.format(case=returned[0]), agency)
    assert answer.status_code in (200, 403, 404), answer.text
    assert [secret for secret in SECRETS if secret in answer.text] == []


def test_the_countries_of_the_case_read_it(target: Target, returned: tuple[UUID, int]) -> None:
    """Hidden fields are not lost: each country reads its own agencies' fields."""
    case, _ = returned
    ours = target.ask(f"/v1/cases/{case}", "xk-nac").text
    theirs = target.ask(f"/v1/cases/{case}", "me-nac").text
    assert [s for s in (*SECRETS[:4], *SECRETS[5:]) if s not in ours] == []
    assert VISITED.isoformat() in theirs
    decided = returned[1] + 11
    view = target.ask(f"/v1/cases/{case}?as_of_position={decided}", "xk-nac").json()["view"]
    assert view["shelter"]["party"] == "XK"
    assert view["planned_return"] == {"destination": "ME", "departed_from": None}


@pytest.mark.parametrize(
    ("receiver", "rule"),
    [("xk-csw-peja", "receiving-agency"), ("me-unheard-of", "unknown-agency")],
)
def test_the_country_still_checks_whom_it_names(target: Target, receiver: str, rule: str) -> None:
    """The ledger node does not see the agency; the node that keeps the disclosure checks it."""
    decided = ReturnDecided(acted_at=START, destination="ME", receiving_agency=receiver)
    signed = target.sign("xk-nac", decided, target.case)
    with target.untouched():
        told = target.append(signed, case=target.case, agency="xk-nac", version=1)
    target.refuses(told, 422, rule)


VALUES: dict[str, Any] = {
    "shelter_kind": "emergency", "provider": SHELTER, "planned": False, "next_visit": "2031-01-01",
    "planned_for": "2031-01-01", "receiving_agency": RECEIVER, "escort": "police",
    "agencies": [SHELTER],
}  # fmt: skip
"""Of the fields that the first versions had in the clear."""
OTHERS = {"destination": "ME", "host": "XK", "countries": ["XK", "ME"], "service": "legal",
          "finding": "progressing"}  # fmt: skip
MOVED = [kind for kind in CASE_ACTIONS if upcasters().signs_in_clear(kind, 1)]


@pytest.mark.parametrize("kind", MOVED)
def test_an_outdated_program_cannot_tell_it_again(target: Target, kind: str) -> None:
    """An action of the version that had the field in the clear is refused."""
    model, digests = CASE_ACTIONS[kind], upcasters().digests(kind, 1) or 0
    act = {"acted_at": "2026-01-06T08:00:00Z",
           **{name: value for name, value in VALUES.items() if name in model.model_fields},
           **{name: value for name, value in OTHERS.items() if name in model.ledger_fields()},
           "_sd": [decoy_digest() for _ in range(digests)]}  # fmt: skip
    signed = target.sign("xk-csw-peja", opening(), target.case)
    payload = {**_first_version(signed.payload), "kind": kind, "act": act}
    old = forged(signed.header, payload, target.key("xk-csw-peja")) + "~"
    with target.untouched():
        told = target.append(old, case=target.case, agency="xk-csw-peja", version=1)
    target.refuses(told, 422, "outdated-version")


def test_what_an_old_version_signed_is_still_held_to_its_model(target: Target) -> None:
    act = {"acted_at": "2026-01-06T08:00:00Z", "shelter_kind": "palace", "provider": SHELTER,
           "_sd": [decoy_digest(), decoy_digest()]}  # fmt: skip
    signed = target.sign("xk-csw-peja", opening(), uuid4())
    payload = {**_first_version(signed.payload), "kind": "sheltered", "act": act}
    old = forged({**signed.header}, payload,
                 target.key("xk-csw-peja")) + "~"  # fmt: skip
    with pytest.raises(Refusal) as refused:
        read(parse(old))
    assert refused.value.field == "act.shelter_kind"


def _first_version(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "version"}


WHY = {
    "rule": "a rule, the fold of the case, a deadline or a legal basis depends on it",
    "count": "the annual report, the statistics or the standard's columns count it",
    "account": "it says how a safeguard was kept; it names no place, day of travel or agency",
}
LEDGER_LEVEL = {
    "case_opened": {"age_group": "rule", "countries": "rule", "of_age_from": "rule",
                    "protected_as": "rule",
                    "confirmed": "account"},
    "victim_identified": {"status": "rule", "decided_by": "count"},
    "victim_status_changed": {"status": "rule", "decided_by": "count", "ground": "account"},
    "not_a_victim": {"decided_by": "count", "ground": "account"},
    "identity_recorded": {"ground": "rule", "request": "rule", "of_age_from": "rule",
                          "confirmed": "account"},
    "age_assessed": {"age_group": "rule", "of_age_from": "rule", "confirmed": "account"},
    "rectification_requested": {},
    "rectification_declined": {"request": "rule", "reason": "account"},
    "guardian_appointed": {"guardian_kind": "account"},
    "best_interests_assessed": {"outcome": "rule", "child_heard": "rule"},
    "risk_assessed": {"risk_level": "rule", "review_by": "account"},
    "sheltered": {},
    "shelter_left": {},
    "protection_measure_taken": {"measure": "rule", "until": "rule"},
    "protection_measure_ended": {"measure_action": "rule"},
    "service_started": {"service": "rule"},
    "service_ended": {"service_action": "rule", "reason": "account"},
    "reintegration_planned": {"plan_types": "count", "planned_end_date": "count"},
    "reintegration_monitored": {"finding": "rule"},
    "family_traced": {"outcome": "rule"},
    "family_assessed": {"suitable": "rule"},
    "return_decided": {"destination": "rule"},
    "travel_document_issued": {"document": "account"},
    "departed": {},
    "received": {"in_person": "account"},
    "investigated": {"state": "account"},
    "charged": {},
    "hearing_held": {"hearing": "account", "victim_protected": "account"},
    "judgment_given": {"final": "account"},
    "compensation_recorded": {"state": "rule"},
    "shelter_exit_approved": {},
    "travel_document_held": {"document": "account"},
    "appeal_decided": {"appeal_outcome": "rule"},
    "appeal_filed": {"filed_by": "account"},
    "compensation_limit_set": {"claim_by": "rule"},
    "non_punishment_recorded": {"non_punishment": "rule"},
    "statement_taken": {"setting": "account", "support_person": "account",
                        "recorded_once": "account"},
    "child_born": {"birth_registered": "account"},
    "citizenship_assessed": {},
    "countries_recorded": {},
    "death_notified": {"notified": "account"},
    "death_recorded": {},
    "new_exploitation_found": {},
    "person_found": {},
    "referred_abroad": {"channel": "account"},
    "indicators_assessed": {"protected_as": "rule"},
    "went_missing": {"police_alerted": "account"},
    "consent_given": {"scopes": "rule", "given_by": "rule", "form": "rule",
                      "expires": "rule", "groups": "rule", "recipients": "rule"},
    "consent_withdrawn": {"scopes": "rule", "withdrawn_by": "rule"},
    "information_requested": {"addressee": "rule", "topics": "rule", "purpose": "rule",
                              "groups": "rule", "basis": "rule", "answer_by": "rule"},
    "information_acknowledged": {"request": "rule"},
    "information_provided": {"request": "rule", "complete": "rule"},
    "information_declined": {"request": "rule", "reason": "count"},
    "form_sent": {"form_number": "rule", "addressee": "rule", "actions": "rule",
                  "answers": "rule"},
    "form_acknowledged": {"sent": "rule"},
    "meeting_held": {"host": "rule", "countries": "rule"},
    "joint_action_agreed": {"joint_action": "rule", "responsible": "rule", "due": "rule"},
    "joint_action_done": {"agreed_action": "rule", "outcome": "account"},
    "case_prioritised": {"priority": "rule"},
    "agency_admitted": {"agency": "rule"},
    "agency_admission_ended": {"agency": "rule"},
    "case_manager_named": {},
    "lead_transfer_offered": {"to_agency": "rule", "reason": "count"},
    "lead_transfer_accepted": {"offer": "rule"},
    "correction": {"corrects": "rule", "effect": "rule", "reason": "count"},
    "case_closed": {"reason": "rule"},
    "case_reopened": {"reason": "account"},
    "sharing_decided": {"groups": "rule", "recipients": "rule", "until": "rule",
                        "child_heard": "account"},
    "sharing_ended": {"decision": "rule"},
    "document_added": {},
    "information_released": {"recipient": "rule", "request": "rule", "groups": "rule",
                             "purpose": "account", "basis": "rule", "basis_action": "rule",
                             "released": "rule"},
    "break_glass_opened": {"danger": "rule", "groups": "rule", "until": "rule"},
    "break_glass_reviewed": {"access": "rule", "finding": "account"},
    "cases_linked": {"told": "rule"},
    "cases_unlinked": {"link": "rule"},
    "merge_proposed": {"addressee": "rule", "told": "rule", "answer_by": "rule"},
    "merge_accepted": {"ended_case": "rule", "proposal": "rule", "countries": "rule",
                       "opened_at": "rule"},
    "case_merged": {"continues_in": "rule", "acceptance": "rule"},
    "merge_declined": {"proposal": "rule", "reason": "rule"},
    "merge_undone": {"merge": "rule", "ground": "account", "undoing": "rule",
                     "continued_in": "rule"},
    "legal_hold_placed": {"ground": "rule"},
    "legal_hold_lifted": {"hold": "rule"},
    "retention_announced": {"closed_at": "rule", "kept_days": "rule", "erase_from": "rule"},
    "erasure_proposed": {"ground": "rule"},
    "erasure_approved": {"proposal": "rule"},
    "erasure_confirmed": {"order": "rule", "upto": "rule"},
    "error_closing_proposed": {},
    "error_closing_accepted": {"proposal": "rule"},
    "destruction_proposed": {"annulled": "rule"},
    "destruction_approved": {"proposal": "rule"},
    "destruction_confirmed": {"order": "rule"},
    "identification_requested": {"requested_by": "account"},
    "decision_proposed": {"decision": "rule", "status": "rule", "risk_level": "rule"},
    "decision_confirmed": {"proposal": "rule"},
    "outcome_overridden": {"overrides": "rule", "destination": "rule", "reasons": "account"},
    "refusal_recorded": {"subject": "rule", "refused_by": "account"},
    "state_notified": {"country": "rule"},
    "person_referred": {"country": "rule", "reason": "count"},
    "lead_transfer_declined": {"offer": "rule", "reason": "count"},
    "return_requested": {"destination": "rule"},
    "return_accepted": {},
    "return_refused": {"ground": "account"},
    "return_postponed": {"ground": "account"},
    "return_cancelled": {"ground": "account"},
    "early_departure_wished": {"form": "account"},
    "turned_back": {},
    "handover_recorded": {},
    "handover_confirmed": {"handover": "rule", "is_complete": "account"},
    "reintegration_plan_agreed": {"plan": "rule"},
    "monitoring_closed": {"finding": "rule", "agreed_by_person": "account"},
}  # fmt: skip
"""Every field that all countries read, and why. A new one is decided upon here."""


@pytest.mark.parametrize("kind", sorted(CASE_ACTIONS))
def test_each_field_that_all_countries_read_was_decided_upon(kind: str) -> None:
    fields = {name for name in CASE_ACTIONS[kind].ledger_fields() if name != "acted_at"}
    assert fields <= LEDGER_LEVEL[kind].keys()
    assert set(LEDGER_LEVEL[kind].values()) <= WHY.keys()


def test_no_agency_that_a_rule_does_not_read_is_named_to_all() -> None:
    """An agency at ``ledger`` level could be a shelter: only those that must act are named."""
    named = {
        (kind, field)
        for kind, model in CASE_ACTIONS.items()
        for field in model.ledger_fields()
        if "a-z0-9-" in json.dumps(field_adapter(model, field).json_schema())
    }
    assert named == {
        ("agency_admitted", "agency"),
        ("agency_admission_ended", "agency"),
        ("form_sent", "addressee"),
        ("information_requested", "addressee"),
        ("joint_action_agreed", "responsible"),
        ("lead_transfer_offered", "to_agency"),
        ("merge_proposed", "addressee"),
    }
