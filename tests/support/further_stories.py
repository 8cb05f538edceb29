"""Two whole stories, told as the demonstration tells its own: by steps, and by what is refused.

M is a man from Albania who was made to work in Kosovo and in Montenegro. He refuses help, then
takes it, refuses a return, is a witness under protection, and gets compensation. R is a boy from
Albania who is found alone in Montenegro: no crime was done to him. He is helped and returns.
All persons are invented. Nothing here reads a clock or draws a random number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from api.demo.story import Forbidden, Ids, Step
from ledger.refusals import Ground
from ledger.vocabulary import CASE_ACTIONS, Action

_NOT_ALLOWED, _OUT, _INVALID = Ground.NOT_ALLOWED, Ground.OUT_OF_PROCEDURE, Ground.INVALID
_BEGAN = {"M": datetime(2025, 2, 3, 9, tzinfo=UTC), "R": datetime(2025, 6, 2, 20, tzinfo=UTC)}
_ADULT = {"given_by": "person", "form": "written", "language": "sqi"}
_CHILDS = {"given_by": "guardian", "form": "written", "language": "sqi"}
_POTENTIAL, _AT_RISK = "PossibleVictimOfTrafficking", "PersonAtRiskOfTrafficking"
_TEXT = "Invented for a test."


@dataclass(frozen=True, slots=True)
class _Of:
    """The action that an earlier step recorded."""

    step: str


@dataclass(frozen=True, slots=True)
class _Told:
    """An action of so many days after its case was opened."""

    kind: str
    acted_at: datetime
    fields: Mapping[str, Any]

    def __call__(self, ids: Ids) -> Action:
        fields = {
            name: ids[value.step] if isinstance(value, _Of) else value
            for name, value in self.fields.items()
        }
        return CASE_ACTIONS[self.kind].model_validate({"acted_at": self.acted_at, **fields})


def _told(name: str, days: float, kind: str, fields: Mapping[str, Any]) -> _Told:
    return _Told(kind, _BEGAN[name[0]] + timedelta(days=days), fields)


def _step(name: str, days: float, agency: str, kind: str, /, **fields: Any) -> Step:
    caption = kind.replace("_", " ").capitalize()
    return Step(name, name[0], agency, _told(name, days, kind, fields), caption)


def _refused(
    after: str, ground: Ground, rule: str, days: float, agency: str, kind: str, /, **fields: Any
) -> Forbidden:
    case = after[0]
    told = _told(after, days, kind, fields)
    return Forbidden(f"{after}, then {rule}", after, case, agency, told, kind, ground, rule)


_INDICATORS = {
    "indicator_list": "adults_labour",
    "observed": ("exploitation_low_no_salary", "coercion_confiscation_documents"),
    "observers": ("labour_inspector", "own_account"),
    "acts_of_trafficking": ("recruitment", "harbouring"),
}
_VICTIM = {
    "status": "ActualVictimOfTrafficking", "decided_by": "Police",
    "types_of_exploitation": ("ForcedLabour",),
}  # fmt: skip

MAN: tuple[Step, ...] = (
    _step("M.opened", 0, "xk-labour-inspectorate", "case_opened", age_group="adult",
          countries=("XK",), ground="police_action", first_name="Izmišljen",
          indicators=("debt_or_unpaid_work", "no_documents"), citizenship=("AL",)),
    _step("M.lead_offered", 0.1, "xk-labour-inspectorate", "lead_transfer_offered",
          to_agency="xk-dhtqnj", reason="AdditionalServicesRequired"),
    _step("M.lead_accepted", 0.2, "xk-dhtqnj", "lead_transfer_accepted",
          offer=_Of("M.lead_offered")),
    _step("M.help_refused", 0.3, "xk-ngo-support", "refusal_recorded", subject="assistance",
          refused_by="person", circumstances=_TEXT),
    _step("M.risk", 1, "xk-dhtqnj", "risk_assessed", risk_level="high", threats=_TEXT),
    _step("M.consent", 4, "xk-ngo-support", "consent_given", groups=("identity", "care"),
          scopes=("assistance", "information_exchange", "participation_in_proceedings"),
          recipients=("AL", "ME"), **_ADULT),
    _step("M.screened", 5, "xk-dhtqnj", "indicators_assessed", protected_as=_POTENTIAL,
          **_INDICATORS),
    _step("M.sheltered", 5.2, "xk-isf", "sheltered", shelter_kind="high_security",
          provider="xk-isf", address=_TEXT),
    _step("M.reflection", 5.3, "xk-migration", "protection_measure_taken",
          measure="recovery_and_reflection_period", until=_BEGAN["M"] + timedelta(days=100)),
    _step("M.legal", 6, "xk-ngo-support", "service_started", service="legal",
          provider="xk-ngo-support"),
    _step("M.identified", 12, "xk-dhtqnj", "victim_identified", **_VICTIM),
    _step("M.investigated", 13, "xk-dhtqnj", "investigated", state="opened", suspects=_TEXT),
    _step("M.statement", 20, "xk-special-prosecution", "statement_taken",
          setting="child_friendly_room", support_person=True, recorded_once=True),
    _step("M.witness", 21, "xk-special-prosecution", "protection_measure_taken",
          measure="witness_protection"),
    _step("M.asked", 22, "xk-dhtqnj", "information_requested", addressee="al-nac",
          topics=("identity",), purpose="protection"),
    _step("M.acknowledged", 23, "al-nac", "information_acknowledged", request=_Of("M.asked")),
    _step("M.answered", 30, "al-nac", "information_provided", request=_Of("M.asked"),
          complete=True, answer=_TEXT),
    _step("M.notified", 31, "xk-nac", "state_notified", country="ME", message=_TEXT),
    _step("M.met", 40, "me-nac", "meeting_held", host="ME", countries=("XK", "ME", "AL"),
          agencies=("xk-nac", "me-nac", "al-nac")),
    _step("M.joint", 40.1, "me-nac", "joint_action_agreed", joint_action="joint_investigation",
          responsible=("me-police-thb", "xk-dhtqnj")),
    _step("M.joint_done", 90, "me-police-thb", "joint_action_done", agreed_action=_Of("M.joint"),
          outcome="achieved", report=_TEXT),
    _step("M.return_consent", 110, "xk-ngo-support", "consent_given", scopes=("return",), **_ADULT),
    _step("M.requested", 111, "xk-nac", "return_requested", destination="AL", needs=_TEXT),
    _step("M.refused_by_albania", 115, "al-nac", "return_refused", ground="no_suitable_reception"),
    _step("M.accepted", 125, "al-nac", "return_accepted", receiving_agency="al-vatra"),
    _step("M.return_refused", 126, "xk-ngo-support", "refusal_recorded", subject="return",
          refused_by="person", circumstances=_TEXT),
    _step("M.cancelled", 127, "xk-nac", "return_cancelled", ground="persons_wish"),
    _step("M.permit", 128, "xk-migration", "protection_measure_taken",
          measure="temporary_residence_permit"),
    _step("M.charged", 150, "xk-special-prosecution", "charged",
          offences=("trafficking_in_persons",)),
    _step("M.limit", 151, "xk-victim-advocate", "compensation_limit_set", claim_by="2025-09-01",
          claim_body="compensation_commission"),
    _step("M.heard", 170, "xk-court-prishtina", "hearing_held", hearing="main",
          victim_protected=True),
    _step("M.claimed", 172, "xk-victim-advocate", "compensation_recorded", state="claimed"),
    _step("M.judgment", 200, "xk-court-prishtina", "judgment_given", final=True,
          verdict="conviction"),
    _step("M.awarded", 230, "xk-compensation", "compensation_recorded", state="awarded",
          amount_eur="4200.00"),
    _step("M.paid", 260, "xk-compensation", "compensation_recorded", state="paid",
          amount_eur="4200.00"),
    _step("M.exit_by_police", 261, "xk-dhtqnj", "shelter_exit_approved"),
    _step("M.exit_by_prosecutor", 261.1, "xk-special-prosecution", "shelter_exit_approved"),
    _step("M.left", 262, "xk-isf", "shelter_left", planned=True),
    _step("M.witness_ended", 263, "xk-special-prosecution", "protection_measure_ended",
          measure_action=_Of("M.witness")),
    _step("M.planned", 264, "xk-csw-prishtina", "reintegration_planned",
          plan_types=("Legal",)),
    _step("M.legal_ended", 265, "xk-ngo-support", "service_ended", service_action=_Of("M.legal"),
          reason="completed"),
    _step("M.monitored", 300, "xk-csw-prishtina", "reintegration_monitored",
          finding="successfully_reintegrated"),
    _step("M.visits_ended", 301, "xk-csw-prishtina", "monitoring_closed",
          finding="successfully_reintegrated", agreed_by_person=True),
    _step("M.closed", 302, "xk-nac", "case_closed", reason="reintegrated"),
)  # fmt: skip
"""A man whom three countries deal with, from the opening to the closing."""

MAN_REFUSED: tuple[Forbidden, ...] = (
    _refused("M.help_refused", _OUT, "requires-consent_assistance", 0.4, "xk-nac",
             "person_referred", country="AL", reason="Other", referred_to="al-vatra"),
    _refused("M.help_refused", _OUT, "requires-consent_information_exchange", 0.4, "xk-nac",
             "state_notified", country="AL"),
    _refused("M.risk", _INVALID, "condition-adult_consents_alone", 2, "xk-csw-prishtina",
             "consent_given", scopes=("assistance",), **_CHILDS),
    _refused("M.identified", _NOT_ALLOWED, "role", 12.1, "xk-labour-inspectorate",
             "investigated", state="opened"),
    _refused("M.notified", _NOT_ALLOWED, "other-party", 32, "al-police-thb", "not_a_victim",
             decided_by="Police", ground="statement"),
    _refused("M.requested", _NOT_ALLOWED, "named-party", 112, "xk-nac", "return_accepted",
             receiving_agency="xk-isf"),
    _refused("M.refused_by_albania", _OUT, "requires-return_accepted", 116, "xk-nac",
             "return_decided", destination="AL", receiving_agency="al-vatra"),
    _refused("M.return_refused", _OUT, "requires-consent_return", 126.1, "xk-nac",
             "return_decided", destination="AL", receiving_agency="al-vatra"),
    _refused("M.paid", _OUT, "shelter-exit", 260.1, "xk-isf", "shelter_left", planned=True),
    _refused("M.left", _NOT_ALLOWED, "own-measure", 262.1, "al-nac", "protection_measure_ended",
             measure_action=_Of("M.witness")),
    _refused("M.planned", _OUT, "closing-reason", 264.1, "xk-nac", "case_closed",
             reason="no_longer_at_risk"),
    _refused("M.visits_ended", _NOT_ALLOWED, "lead-country", 301.1, "me-nac", "case_closed",
             reason="reintegrated"),
    _refused("M.closed", _OUT, "closed-case", 303, "xk-dhtqnj", "risk_assessed",
             risk_level="low"),
)  # fmt: skip

AT_RISK: tuple[Step, ...] = (
    _step("R.opened", 0, "me-border", "case_opened", age_group="child", countries=("ME",),
          protected_as=_AT_RISK, ground="border_control", first_name="Shembull",
          indicators=("unaccompanied_child", "no_documents")),
    _step("R.guardian", 0.5, "me-csw-podgorica", "guardian_appointed",
          guardian_kind="social_work_centre", guardian_name="Vera Primjer"),
    _step("R.risk", 0.6, "me-csw-podgorica", "risk_assessed", risk_level="medium"),
    _step("R.sheltered", 0.7, "me-ljubovic", "sheltered", shelter_kind="specialised",
          provider="me-ljubovic", address=_TEXT),
    _step("R.consent", 1, "me-csw-podgorica", "consent_given", groups=("identity", "family"),
          scopes=("assistance", "information_exchange"), recipients=("AL",), **_CHILDS),
    _step("R.school", 2, "me-ministry-education", "service_started", service="education",
          provider="me-ministry-education"),
    _step("R.notified", 3, "me-nac", "state_notified", country="AL", message=_TEXT),
    _step("R.screened", 6, "me-csw-podgorica", "indicators_assessed", protected_as=_AT_RISK,
          **_INDICATORS | {"indicator_list": "children_labour"}),
    _step("R.referred", 7, "me-nac", "person_referred", country="AL",
          reason="AdditionalServicesRequired", referred_to="al-child-protection"),
    _step("R.traced", 15, "al-child-protection", "family_traced", outcome="found_and_safe"),
    _step("R.family", 25, "al-child-protection", "family_assessed", suitable=True),
    _step("R.best_interests", 30, "me-csw-podgorica", "best_interests_assessed",
          outcome="return_to_family", child_heard=True),
    _step("R.return_consent", 31, "me-csw-podgorica", "consent_given", scopes=("return",),
          **_CHILDS),
    _step("R.requested", 32, "me-nac", "return_requested", destination="AL"),
    _step("R.accepted", 35, "al-nac", "return_accepted", receiving_agency="al-child-protection"),
    _step("R.planned", 36, "al-social-tirana", "reintegration_planned", plan_types=("Education",)),
    _step("R.agreed", 37, "me-csw-podgorica", "reintegration_plan_agreed", plan=_Of("R.planned")),
    _step("R.decided", 38, "me-nac", "return_decided", destination="AL",
          receiving_agency="al-child-protection"),
    _step("R.document", 39, "al-consular", "travel_document_issued",
          document="emergency_travel_document"),
    _step("R.school_ended", 39.5, "me-ministry-education", "service_ended",
          service_action=_Of("R.school"), reason="handed_over"),
    _step("R.departed", 40, "me-border", "departed", escort="social_worker"),
    _step("R.handover", 40.1, "me-border", "handover_recorded",
          receiving_agency="al-border", handed_over=("documents", "belongings")),
    _step("R.confirmed", 40.2, "al-border", "handover_confirmed", handover=_Of("R.handover"),
          is_complete=True),
    _step("R.received", 40.3, "al-border", "received", in_person=True),
    _step("R.lead_offered", 41, "me-nac", "lead_transfer_offered",
          to_agency="al-social-tirana", reason="MigrationOrChangeOfLocation"),
    _step("R.lead_accepted", 42, "al-social-tirana", "lead_transfer_accepted",
          offer=_Of("R.lead_offered")),
    _step("R.monitored", 70, "al-child-protection", "reintegration_monitored",
          finding="progressing"),
    _step("R.visits_ended", 160, "al-social-tirana", "monitoring_closed", finding="progressing",
          agreed_by_person=True),
    _step("R.closed", 161, "al-nac", "case_closed", reason="no_longer_at_risk"),
)  # fmt: skip
"""A boy to whom no crime was done, from the opening to the closing."""

AT_RISK_REFUSED: tuple[Forbidden, ...] = (
    _refused("R.opened", _OUT, "not-while-at_risk", 0.1, "me-police-thb", "investigated",
             state="opened"),
    _refused("R.risk", _OUT, "not-while-at_risk", 0.65, "me-csw-podgorica",
             "protection_measure_taken", measure="recovery_and_reflection_period"),
    _refused("R.consent", _INVALID, "condition-guardian_consents_to_return", 1.1,
             "me-csw-podgorica", "consent_given", scopes=("return",), given_by="person",
             form="written"),
    _refused("R.consent", Ground.UNKNOWN, "unknown-case", 1.1, "al-social-tirana",
             "risk_assessed", risk_level="low"),
    _refused("R.screened", _OUT, "requires-victim_identified", 6.1, "me-court-podgorica",
             "compensation_recorded", state="awarded"),
    _refused("R.family", _OUT, "requires-consent_return", 25.1, "me-nac", "return_requested",
             destination="AL"),
    _refused("R.accepted", _NOT_ALLOWED, "named-party", 35.1, "me-csw-podgorica",
             "reintegration_planned", plan_types=("Education",)),
    _refused("R.decided", _OUT, "requires-travel_document_issued", 38.1, "me-border", "departed",
             escort="police"),
    _refused("R.departed", _OUT, "requires-handover_confirmed", 40.05, "al-border", "received",
             in_person=True),
    _refused("R.visits_ended", _OUT, "closing-reason", 160.1, "al-nac", "case_closed",
             reason="not_a_victim"),
    _refused("R.visits_ended", _OUT, "closing-reason", 160.1, "al-nac", "case_closed",
             reason="reintegrated"),
)  # fmt: skip

STORIES: Mapping[str, tuple[tuple[Step, ...], tuple[Forbidden, ...]]] = {
    "M": (MAN, MAN_REFUSED),
    "R": (AT_RISK, AT_RISK_REFUSED),
}


def attempts_after(step: Step) -> Iterator[Forbidden]:
    """Yield what is tried and must be refused after a step is recorded."""
    return (one for one in STORIES[step.case][1] if one.after == step.name)
