"""Check a return: what the two countries decide, and which of them records what."""

from collections.abc import Mapping

from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    names_fact,
    to_another_country,
)
from ledger.refusals import invalid, not_allowed


def _return_decided(p: Proposal) -> None:
    asked = p.state.facts.get("return_requested")
    if asked is None or asked.action not in p.history:
        return
    destination = p.history[asked.action].fields["destination"]
    if p.act.fields["destination"] != destination:
        raise invalid(
            "destination-differs", f"The return was requested of {destination}.", "destination"
        )


def _plan_agreed(p: Proposal) -> None:
    names_fact("reintegration_planned", "plan")(p)
    if p.state.facts["reintegration_planned"].party == p.agency.party:
        raise not_allowed("other-side", "The other country agrees with the plan.")


def _handover_recorded(p: Proposal) -> None:
    planned = p.state.planned_return
    if planned is not None and p.agency.party == planned.destination:
        raise not_allowed(
            "departure-by-the-sender", "The country of departure records the handover."
        )


def _handover_confirmed(p: Proposal) -> None:
    names_fact("handover_recorded", "handover")(p)
    _received(p)


def _departed(p: Proposal) -> None:
    if p.state.planned_return is not None and p.agency.party == p.state.planned_return.destination:
        raise not_allowed(
            "departure-by-the-sender", "The departure is recorded by the country of departure."
        )


def _received(p: Proposal) -> None:
    planned = p.state.planned_return
    if planned is not None and p.agency.party != planned.destination:
        raise not_allowed(
            "handover-by-the-receiver",
            f"Only {planned.destination}, the country of destination, confirms the reception; "
            "the country that made the handover cannot.",
        )


CHECKS: Mapping[str, Check] = {
    "return_requested": to_another_country("destination"),
    "return_decided": _return_decided,
    "reintegration_plan_agreed": _plan_agreed,
    "handover_recorded": _handover_recorded,
    "handover_confirmed": _handover_confirmed,
    "turned_back": _departed,
    "departed": _departed,
    "received": _received,
}
