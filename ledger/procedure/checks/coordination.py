"""Check what agencies ask of each other: requests, forms, meetings, joint actions, the lead."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure.case_access import agencies_with_access
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    acts_for,
    check_matrix,
    leading,
    leads,
    to_another_country,
)
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.form_rules import check_acknowledged, check_sent
from ledger.procedure.protocol import COORDINATOR, Operation
from ledger.refusals import invalid, not_allowed, out_of_procedure


def _requested(p: Proposal) -> None:
    if p.act.fields["addressee"] == p.agency.id:
        raise invalid("own-request", "A request is addressed to another agency.", "addressee")
    if p.act.fields.get("groups") and not p.act.fields.get("basis"):
        raise invalid(
            "basis-not-named", "Who asks for personal fields says on what legal basis.", "basis"
        )
    check_matrix(p, Operation.REQUEST)


def _answered(p: Proposal) -> None:
    request = p.state.open_requests.get(UUID(p.act.fields["request"]))
    if request is None:
        raise invalid("no-such-request", "No such request is open in this case.", "request")
    addressee = p.protocol.agencies_by_id[request.addressee]
    if not acts_for(p, addressee.id):
        raise not_allowed(
            "addressee", f"Only {addressee.id} or its country's coordinator answers this request."
        )
    if p.act.kind == "information_acknowledged" and request.acknowledged:
        raise out_of_procedure(
            "already-acknowledged", "This request is acknowledged already.", "act.request"
        )


def _form_sent(p: Proposal) -> None:
    check_sent(p.act, p.state, p.history, p.agency, p.protocol)


def _form_acknowledged(p: Proposal) -> None:
    check_acknowledged(p.act, p.state, p.agency, p.protocol)


def _joint_action_done(p: Proposal) -> None:
    agreed = p.state.joint_actions.get(UUID(p.act.fields["agreed_action"]))
    if agreed is None:
        raise invalid("no-such-joint-action", "No such joint action is open.", "agreed_action")
    responsible = {p.protocol.answering_for(one).id for one in agreed.responsible}
    if p.agency.id not in responsible:
        raise not_allowed("responsible", "Only an agency responsible for it reports it done.")


def _met(p: Proposal) -> None:
    if p.agency.party not in p.act.fields["countries"]:
        raise invalid("own-meeting", "A meeting is recorded by a country that met.", "countries")


def _manager_named(p: Proposal) -> None:
    if p.agency.international:
        raise not_allowed(
            "international-body",
            "A country names its case manager by an agency of its own, not by an international"
            " body.",
        )


def _admitted(p: Proposal) -> None:
    """Check who admits an agency to the case, or ends that.

    Raises ``Refusal`` (``unknown-agency``, ``own-agencies``, ``admission``, ``lead-stays``,
    ``already-admitted``, ``not-admitted``).
    """
    named = p.protocol.agencies_by_id.get(p.act.fields["agency"])
    if named is None:
        raise invalid("unknown-agency", "This is no agency of the protocol.", "agency")
    is_other = named.party != p.agency.party or named.international
    if is_other or not is_bound(named, p.protocol) or p.protocol.sees_figures_alone(named):
        raise invalid(
            "own-agencies",
            "A country admits agencies of its own, where the protocol in force does not let each of"
            " them see every case. Coordinators see every case of their country.",
            "agency",
        )
    if p.agency.role != COORDINATOR and not leads(p):
        raise not_allowed(
            "admission", "Only the lead agency or the country's coordinator admits an agency."
        )
    has_access = named.id in agencies_with_access(p.history.values())
    if p.act.kind == "agency_admitted" and has_access:
        raise out_of_procedure("already-admitted", "This agency sees the case already.", "agency")
    if p.act.kind == "agency_admission_ended":
        if named.id == leading(p).id:
            raise invalid("lead-stays", "The lead agency sees its case; offer the lead.", "agency")
        if not has_access:
            raise out_of_procedure("not-admitted", "This agency does not see the case.", "agency")


def _lead_offered(p: Proposal) -> None:
    if not leads(p):
        raise not_allowed("lead", "Only the lead agency or its coordinator offers the lead.")
    to = p.protocol.agencies_by_id[p.act.fields["to_agency"]]
    if to.id == leading(p).id:
        raise invalid("lead", "This agency has the lead already.", "to_agency")
    if to.role not in p.protocol.actions["lead_transfer_accepted"].roles:
        raise invalid("lead-role", f"A {to.role} cannot take the lead.", "to_agency")


def _lead_accepted(p: Proposal) -> None:
    offer = p.state.lead_offer
    if offer is None or offer.offer != UUID(p.act.fields["offer"]):
        raise invalid("no-such-offer", "No such offer of the lead is open.", "offer")
    receiver = p.protocol.answering_for(offer.to).id
    if receiver != p.agency.id:
        raise not_allowed(
            "handover-by-the-receiver", f"Only {receiver}, to which it was offered, accepts it."
        )


def _lead_declined(p: Proposal) -> None:
    offer = p.state.lead_offer
    if offer is None or offer.offer != UUID(p.act.fields["offer"]):
        raise invalid("no-such-offer", "No such offer of the lead is open.", "offer")
    receiver = p.protocol.answering_for(offer.to)
    if not acts_for(p, offer.to):
        raise not_allowed(
            "handover-by-the-receiver",
            f"Only {receiver.id}, to which it was offered, or its coordinator declines it.",
        )


CHECKS: Mapping[str, Check] = {
    "information_requested": _requested,
    "information_acknowledged": _answered,
    "information_provided": _answered,
    "information_declined": _answered,
    "form_sent": _form_sent,
    "form_acknowledged": _form_acknowledged,
    "joint_action_done": _joint_action_done,
    "meeting_held": _met,
    "case_manager_named": _manager_named,
    "agency_admitted": _admitted,
    "agency_admission_ended": _admitted,
    "lead_transfer_offered": _lead_offered,
    "lead_transfer_accepted": _lead_accepted,
    "lead_transfer_declined": _lead_declined,
    "state_notified": to_another_country("country"),
}
