"""The proposed action that each check judges."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_state import CaseState
from ledger.procedure.merged_cases import OtherCases
from ledger.procedure.protocol import Agency, Operation, Protocol
from ledger.refusals import Ground, Refusal, invalid
from ledger.vocabulary.levels import FieldGroup

CLOCK_SKEW = timedelta(minutes=5)
"""The clocks of agencies may be so far ahead of the ledger's."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An action that an agency proposes for an open case."""

    state: CaseState
    history: Mapping[UUID, Act]
    act: Act
    agency: Agency
    protocol: Protocol
    now: datetime
    not_before: datetime
    """When it was judged at the earliest: ``now``, unless it is judged again after the fact."""
    others: OtherCases
    """The other cases that the action or the case names, by id."""


Check = Callable[[Proposal], None]

NO_ID = str(UUID(int=0))
"""The id that stands for a reference that an action leaves out. No action has it."""


def to_another_country(field: str) -> Check:
    """Return the check that a field names another country than the agency's."""

    def check(p: Proposal) -> None:
        if p.act.fields[field] == p.agency.party:
            raise invalid("own-country", "Name another country than your own.", field)

    return check


def names_fact(fact: str, field: str) -> Check:
    """Return the check that an action names the action that a fact in force stands on."""

    def check(p: Proposal) -> None:
        in_force = p.state.facts.get(fact)
        if in_force is None or in_force.action != UUID(p.act.fields[field]):
            raise invalid(f"no-such-{field}", f"No such {fact} is in force in this case.", field)

    return check


def check_matrix(p: Proposal, operation: Operation) -> None:
    """Check that the access matrix has the operation on each field group that the action names.

    Raises ``Refusal`` (``access-matrix``).
    """
    for group in p.act.fields.get("groups") or ():
        if not p.protocol.allows(p.agency.role, operation, FieldGroup(group)):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "access-matrix",
                f"A {p.agency.role} has no {operation} of {group} in this protocol.",
                "act.groups",
            )


def leading(p: Proposal) -> Agency:
    """Return the agency that leads the case."""
    return p.protocol.leading(p.state.lead_agency, p.state.parties)


def leads(p: Proposal) -> bool:
    """Return whether the agency leads the case or coordinates for the country that does."""
    return acts_for(p, leading(p).id)


def acts_for(p: Proposal, agency: str) -> bool:
    """Return whether the acting agency is ``agency``, answers for it or coordinates for it."""
    return p.protocol.acts_for(p.agency, agency)
