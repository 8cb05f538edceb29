"""Check services, measures and shelter: the country that gives them ends them."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure import condition_checks
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
)
from ledger.refusals import invalid, not_allowed, out_of_procedure


def _of_the_same_country(what: str, field: str) -> Check:
    def check(p: Proposal) -> None:
        in_force = (p.state.services if what == "service" else p.state.measures).get(
            UUID(p.act.fields[field])
        )
        if in_force is None:
            raise invalid(f"no-such-{what}", f"No such {what} is in force in this case.", field)
        if in_force.party != p.agency.party:
            raise not_allowed(f"own-{what}", f"The country that gives a {what} ends it.")

    return check


def _shelter_left(p: Proposal) -> None:
    if p.state.shelter is not None and p.state.shelter.party != p.agency.party:
        raise not_allowed("own-shelter", "The country that shelters the person records this.")
    check_exit_approved(p)


def check_exit_approved(p: Proposal) -> None:
    """Check that the roles of the protocol approved the exit of a person at high risk.

    An approval counts if it came after the person was sheltered. Raises ``Refusal`` if one lacks.
    """
    annulled = annulled_ids(p.history.values())
    acts = [act for act in p.history.values() if act.id not in annulled]
    risks = [act for act in acts if act.kind == "risk_assessed"]
    sheltered = p.state.facts.get("sheltered")
    if not risks or sheltered is None:
        return
    since = p.history[sheltered.action].position
    approving = {
        (agency.party, agency.role)
        for act in acts
        if act.kind == "shelter_exit_approved" and act.position > since
        for agency in [p.protocol.agencies_by_id[act.agency]]
    }
    newest = {p.protocol.agencies_by_id[act.agency].party: act for act in risks}
    # From edition 2 on, a low risk that one country states does not hide the high one of another.
    judged = list(newest.values()) if p.protocol.edition >= 2 else risks[-1:]
    for needed in p.protocol.shelter_exits:
        levels = [act.fields["risk_level"] for act in judged]
        high = [level for level in levels if level in needed.risk_levels]
        if needed.party != sheltered.party or not high:
            continue
        missing = [one for one in needed.approved_by if (needed.party, one) not in approving]
        if missing:
            raise out_of_procedure(
                "shelter-exit",
                f"A person whose risk is {high[0]} leaves a shelter of {needed.party} for good once"
                f" each of these approved: {', '.join(missing)}. Let them record"
                " shelter_exit_approved.",
            )


def _measure_taken(p: Proposal) -> None:
    condition_checks.check_reflection_granted(p.act, p.agency, p.protocol)


CHECKS: Mapping[str, Check] = {
    "service_ended": _of_the_same_country("service", "service_action"),
    "protection_measure_taken": _measure_taken,
    "protection_measure_ended": _of_the_same_country("measure", "measure_action"),
    "shelter_left": _shelter_left,
}
