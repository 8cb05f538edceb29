"""Check decisions that several bodies take together, and the override of an outcome."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure import condition_checks
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    to_another_country,
)
from ledger.refusals import invalid


def _proposed(p: Proposal) -> None:
    condition_checks.check_proposed(p.act, p.agency, p.state, p.protocol)


def _confirmed(p: Proposal) -> None:
    condition_checks.check_confirmed(p.act, p.agency, p.state, p.history, p.protocol)


def _overridden(p: Proposal) -> None:
    """Check that the assessment stands and that a condition of the protocol can be overridden."""
    to_another_country("destination")(p)
    assessed = p.history.get(UUID(p.act.fields["overrides"]))
    of_conditions = {
        kind
        for one in p.protocol.conditions.values()
        if one.unless == p.act.kind and one.fact is not None
        for kind in p.protocol.establishing(one.fact)
    }
    if (
        assessed is None
        or assessed.kind not in of_conditions
        or assessed.id in annulled_ids(p.history.values())
    ):
        raise invalid(
            "no-such-outcome",
            "Name an assessment of this case whose outcome the protocol lets a body override.",
            "overrides",
        )


CHECKS: Mapping[str, Check] = {
    "decision_proposed": _proposed,
    "decision_confirmed": _confirmed,
    "outcome_overridden": _overridden,
}
