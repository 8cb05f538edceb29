"""The assignments of an agency's cases, for pages: names, the filter of the list, the form."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from api.authentication.members import Member
from api.http.access import Caller
from api.node.node import Node
from api.web.case_filters import MINE, NOBODY, ListChoice
from ledger.procedure.protocol import NODE, OVERSIGHT
from ledger.vault.assignments import Assignments
from projections.tables.case_lists import CaseFilter


@dataclass(frozen=True, slots=True)
class Assigned:
    """The members who work on a case, as the own agency sees them."""

    member: UUID
    name: str
    deputy: UUID | None
    deputy_name: str | None


def assigns(node: Node, caller: Caller) -> bool:
    """Return whether the caller's agency assigns cases here: an agency whose vault is here."""
    agency = caller.agency
    return agency.role not in (NODE, OVERSIGHT) and node.vaults.has(agency.party)


def active_members(node: Node, caller: Caller) -> Sequence[Member]:
    """Return the members of the caller's agency to whom a case can be assigned."""
    found = node.members.of_agencies([caller.agency.id])
    return [one for one in found if one.disabled_at is None]


def assigned(node: Node, caller: Caller, case_ids: Collection[UUID]) -> Mapping[UUID, Assigned]:
    """Return to whom the caller's agency assigned some cases, by the case's id."""
    if not case_ids or not assigns(node, caller):
        return {}
    kept = _of(node, caller).of_cases(caller.agency.id, case_ids)
    ids = {one for a in kept.values() for one in (a.member, a.deputy) if one is not None}
    members = node.members.some(ids) if ids else {}

    def name(member: UUID) -> str:
        found = members.get(member)
        details = found.details if found is not None else None
        return details.name if details is not None else str(member)[:8]

    return {
        case_id: Assigned(
            one.member,
            name(one.member),
            one.deputy,
            name(one.deputy) if one.deputy is not None else None,
        )
        for case_id, one in kept.items()
    }


def with_assignment(node: Node, caller: Caller, choice: ListChoice, only: CaseFilter) -> CaseFilter:
    """Return a filter of cases with the choice by assignment added to it."""
    if not choice.assigned or not assigns(node, caller):
        return only
    kept, agency = _of(node, caller), caller.agency.id
    if choice.assigned == NOBODY:
        return replace(only, but=tuple(kept.all(agency)))
    member = caller.member if choice.assigned == MINE else choice.assigned_to
    found = kept.of_member(agency, member) if member is not None else ()
    return replace(only, among=tuple(found))


def _of(node: Node, caller: Caller) -> Assignments:
    return node.vaults.of(caller.agency.party).assignments
