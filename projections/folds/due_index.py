"""The agencies and roles that a case waits for, and until when: the order of a viewer's cases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.procedure.protocol import Agency, Protocol
from projections.folds.expected_steps import ExpectedStep

UNDATED = datetime(9999, 12, 31, tzinfo=UTC)
"""Stands for the date of a step that has none: behind all that have one."""


@dataclass(frozen=True, slots=True)
class DueSteps:
    """The steps of a case that may be the viewer's: when the first is due, and for whom."""

    next_due: datetime | None
    """``None`` where there is no such step."""
    until: Mapping[str, datetime]
    """The first date for each role and agency that may take one."""


def waiting(steps: Iterable[ExpectedStep], viewer: str, protocol: Protocol) -> DueSteps:
    """Return the expected steps that are ``viewer``'s or any party's."""
    until: dict[str, datetime] = {}
    first: datetime | None = None
    for step in steps:
        if step.party not in (viewer, None):
            continue
        due = step.due or UNDATED
        first = due if first is None else min(first, due)
        for key in takers(step, protocol):
            until[key] = min(until.get(key, due), due)
    return DueSteps(first, dict(sorted(until.items())))


def takers(step: ExpectedStep, protocol: Protocol) -> tuple[str, ...]:
    """Return the one agency that owes a step, or the roles that may take it."""
    if step.agency is not None:
        return (step.agency,)
    rule = protocol.actions.get(step.action)
    return step.roles or (rule.roles if rule is not None else ())


def keys_of(agency: Agency) -> tuple[str, str]:
    """Return the keys under which a case can wait for an agency: its id and its role."""
    return agency.id, agency.role
