"""The rights of a member in the member's agency, and in its cases. Pure rules.

This is a reading of the procedure: no published text says how an agency divides its work.
"""

from enum import StrEnum

from ledger.procedure.protocol import COORDINATOR, NODE, Agency


class MemberState(StrEnum):
    """The member behind a request."""

    SYSTEM = "system"
    """None: the key or the session is of a system of the agency."""
    STRANGER = "stranger"
    """The key names a member whom this node knows of no such agency."""
    MEMBER = "member"
    HEAD = "head"
    DISABLED = "disabled"


class CaseWork(StrEnum):
    """The part of a member in a case of the agency."""

    ASSIGNED = "assigned"
    DEPUTY = "deputy"
    NONE = "none"


def names_seen(own: Agency, agency: Agency) -> bool:
    """Return whether a caller of ``own`` may know the names of the members of ``agency``."""
    if NODE in (own.role, agency.role):
        return False
    return agency.id == own.id or (own.role == COORDINATOR and agency.party == own.party)


def manages(own: Agency, agency: Agency, state: MemberState) -> bool:
    """Return whether a caller of ``own`` may add, change and disable members of ``agency``.

    The head of the agency may, and the coordinator of its country. Within the coordinator's own
    agency a member who is no head may not.
    """
    if own.role == NODE or own.party != agency.party or state is MemberState.DISABLED:
        return False
    if own.id != agency.id:
        return own.role == COORDINATOR
    return state is MemberState.HEAD or (own.role == COORDINATOR and state is MemberState.SYSTEM)


def assigns(state: MemberState, work: CaseWork, *, takes_free: bool) -> bool:
    """Return whether a caller may assign a case of its agency, or take the assignment back.

    ``takes_free``: nobody has the case, and the member takes it.
    """
    if state in (MemberState.SYSTEM, MemberState.HEAD):
        return True
    return state is MemberState.MEMBER and (work is not CaseWork.NONE or takes_free)
