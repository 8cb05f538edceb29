"""Fold a case a second time, as simply as possible.

Nothing of the ledger's own fold is used, so that the two can disagree.
"""

from collections.abc import Iterable
from typing import Any

from ledger.events.act import Act
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.types import format_utc

_STAGES = {
    "victim_identified": 0, "victim_status_changed": 0, "not_a_victim": 0,
    "guardian_appointed": 1, "best_interests_assessed": 1, "risk_assessed": 1, "sheltered": 1,
    "shelter_left": 1, "protection_measure_taken": 1, "protection_measure_ended": 1,
    "service_started": 1, "service_ended": 1,
    "reintegration_planned": 2, "reintegration_monitored": 2,
    "family_traced": 3, "family_assessed": 3, "return_decided": 3, "travel_document_issued": 3,
    "departed": 3, "received": 3, "identification_requested": 0,
    "reintegration_plan_agreed": 2, "monitoring_closed": 2, "outcome_overridden": 3,
    "return_requested": 3, "return_accepted": 3, "return_refused": 3, "return_postponed": 3,
    "return_cancelled": 3, "early_departure_wished": 3, "turned_back": 3,
    "handover_recorded": 3, "handover_confirmed": 3, "shelter_exit_approved": 1,
    "travel_document_held": 3,
}  # fmt: skip
_OPENS = {
    "protection_measure_taken": "measures", "service_started": "services",
    "information_requested": "open_requests", "joint_action_agreed": "joint_actions",
    "legal_hold_placed": "holds", "sharing_decided": "sharing",
    "rectification_requested": "rectifications", "cases_linked": "links",
    "merge_accepted": "taken_in",
}  # fmt: skip
_ENDS = {
    "protection_measure_ended": ("measures", "measure_action"),
    "service_ended": ("services", "service_action"),
    "information_declined": ("open_requests", "request"),
    "joint_action_done": ("joint_actions", "agreed_action"),
    "legal_hold_lifted": ("holds", "hold"),
    "sharing_ended": ("sharing", "decision"),
    "rectification_declined": ("rectifications", "request"),
    "cases_unlinked": ("links", "link"),
}  # fmt: skip


def annulled(acts: Iterable[Act]) -> set[str]:
    """The ids of actions that a correction among these annuls, or that a merge's undoing undoes."""
    return {
        act.fields["merge"] if act.kind == "merge_undone" else act.fields["corrects"]
        for act in acts
        if act.kind == "merge_undone"
        or (act.kind == "correction" and act.fields["effect"] == "annulled")
    }


def simple_fold(acts: Iterable[Act], protocol: Protocol) -> dict[str, Any] | None:
    """The parts that are told here, of a case whose annulled acts are left out beforehand."""
    party = {agency.id: agency.party for agency in protocol.agencies}
    told: dict[str, Any] | None = None
    by_proposal: str | None = None
    for act in acts:
        fields, own = act.fields, party[act.agency]
        if told is None:
            assert act.kind == "case_opened"
            told = {
                "status": "Active", "stage": 0,
                "trafficking_status": fields.get("protected_as", "PossibleVictimOfTrafficking"),
                "priority": "normal", "lead": act.agency, "parties": [own, *fields["countries"]],
                "shelter": None, "closure": None, "return_to": None, "offered_to": None,
                "erase_from": None, "age_group": fields["age_group"],
                "rectifications": set(), "links": set(), "taken_in": set(),
                "merged_into": None, "to_merge": None,
                "measures": set(), "services": set(), "open_requests": set(),
                "joint_actions": set(), "holds": set(), "sharing": set(),
            }  # fmt: skip
            told["parties"] = sorted(set(told["parties"]))
            continue
        told["stage"] = max(told["stage"], _STAGES.get(act.kind, 0))
        if act.kind in _OPENS:
            told[_OPENS[act.kind]].add(str(act.id))
        if act.kind in _ENDS:
            part, field = _ENDS[act.kind]
            told[part].discard(fields[field])
        joined: list[str] = []
        if act.kind in ("victim_identified", "victim_status_changed"):
            told["trafficking_status"] = fields["status"]
        elif act.kind == "indicators_assessed" and "protected_as" in fields:
            told["trafficking_status"] = fields["protected_as"]
        elif act.kind == "age_assessed":
            told["age_group"] = fields["age_group"]
        elif act.kind == "identity_recorded" and "request" in fields:
            told["rectifications"].discard(fields["request"])
        elif act.kind == "not_a_victim":
            told["trafficking_status"] = "NotAVictimOfTrafficking"
        elif act.kind == "sheltered":
            told["shelter"] = own
        elif act.kind == "shelter_left" or act.kind == "departed":
            told["shelter"] = None
        elif act.kind == "received":
            told["return_to"], told["status"] = None, "FollowUp"
        elif act.kind == "information_provided" and fields["complete"]:
            told["open_requests"].discard(fields["request"])
        elif act.kind == "case_prioritised":
            told["priority"] = fields["priority"]
        elif act.kind == "lead_transfer_offered":
            told["offered_to"] = fields["to_agency"]
            joined = [party[fields["to_agency"]]]
        elif act.kind == "lead_transfer_accepted":
            told["lead"], told["offered_to"] = act.agency, None
        elif act.kind == "lead_transfer_declined":
            told["offered_to"] = None
        elif act.kind == "return_cancelled":
            told["return_to"] = None
        elif act.kind in ("return_requested", "outcome_overridden"):
            joined = [fields["destination"]]
        elif act.kind in ("state_notified", "person_referred"):
            joined = [fields["country"]]
        elif act.kind == "return_decided":
            told["return_to"] = fields["destination"]
            joined = [fields["destination"]]
        elif act.kind == "retention_announced":
            told["erase_from"] = fields["erase_from"]
        elif act.kind == "legal_hold_placed":
            told["erase_from"] = None
        elif act.kind == "case_closed":
            told["erase_from"] = None
            told["closure"] = fields["reason"]
            told["status"] = "ClosedReferred" if fields["reason"] == "referred" else "Closed"
        elif act.kind == "case_reopened":
            told["closure"], told["status"], told["erase_from"] = None, "Active", None
            joined = [party[act.agency]]
        elif act.kind == "case_merged":
            told |= {"merged_into": fields["continues_in"], "status": "Closed", "closure": None}
            told |= {"erase_from": None, "offered_to": None, "to_merge": None}
        elif act.kind == "merge_declined":
            told["to_merge"] = None
            told["parties"] = [one for one in told["parties"] if one != by_proposal]
        elif act.kind == "merge_accepted":
            joined = list(fields["countries"])
        elif act.kind == "merge_proposed":
            told["to_merge"], joined = fields["addressee"], [party[fields["addressee"]]]
        elif act.kind == "meeting_held":
            joined = list(fields["countries"])
        elif act.kind in ("information_requested", "form_sent"):
            joined = [party[fields["addressee"]]]
        elif act.kind == "joint_action_agreed":
            joined = [party[agency] for agency in fields["responsible"]]
        if act.kind == "merge_proposed":
            by_proposal = joined[0] if joined[0] not in told["parties"] else None
        elif by_proposal in joined or act.kind in ("case_merged", "merge_declined"):
            by_proposal = None
        told["parties"] = sorted({*told["parties"], *joined})
    return told


_STAGE_NAMES = (
    "identification",
    "first_assistance_and_protection",
    "long_term_assistance_and_social_inclusion",
    "return_and_social_inclusion",
)


def told_of(state: CaseState | None) -> dict[str, Any] | None:
    """The same parts, of a state that the ledger's fold made."""
    if state is None:
        return None
    sets = (
        "measures", "services", "open_requests", "joint_actions", "holds", "sharing",
        "rectifications", "links", "taken_in",
    )  # fmt: skip
    return {
        "status": state.status.value,
        "stage": _STAGE_NAMES.index(state.stage.value),
        "trafficking_status": state.trafficking_status.value,
        "priority": state.priority.value,
        "age_group": state.age_group.value,
        "lead": state.lead_agency,
        "parties": sorted(state.parties),
        "shelter": state.shelter.party if state.shelter else None,
        "closure": state.closure.value if state.closure else None,
        "merged_into": str(state.merged_into.case) if state.merged_into else None,
        "to_merge": state.merge_proposal.addressee if state.merge_proposal else None,
        "return_to": state.planned_return.destination if state.planned_return else None,
        "offered_to": state.lead_offer.to if state.lead_offer else None,
        "erase_from": format_utc(state.retention.erase_from) if state.retention else None,
        **{name: set(map(str, getattr(state, name))) for name in sets},
    }
