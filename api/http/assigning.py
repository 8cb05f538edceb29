"""The rules by which an agency assigns its cases to members. Denied unless a rule here allows it.

This is a reading of the procedure: no published text says how an agency divides its work.
"""

from typing import Literal
from uuid import UUID

from api.authentication.members import Member, member_disabled
from api.http.access import Caller
from api.http.desks import check_case, notes_of
from api.http.member_documents import state_of
from api.http.member_rights import CaseWork
from api.http.member_rights import assigns as may_assign
from api.node.node import Node
from api.runtime.readiness import check_may_record
from ledger.refusals import Ground, Refusal
from ledger.vault.assignments import Assignment, Assignments
from ledger.vault.erasures import erased_case

NOBODY: Literal["nobody"] = "nobody"
Expected = UUID | Literal["nobody"]
"""The member to whom a case is assigned, or nobody."""


def assignments_of(node: Node, caller: Caller) -> Assignments:
    """Return the assignments in the vault of the caller's country.

    Raises ``Refusal`` for a node, and (``no-vault-here``) where this node has no such vault.
    """
    notes_of(node, caller)
    return node.vaults.of(caller.agency.party).assignments


def assign(
    node: Node,
    caller: Caller,
    case_id: UUID,
    member: UUID,
    deputy: UUID | None,
    expected: Expected | None = None,
) -> None:
    """Assign a case to a member of the caller's agency, with a deputy.

    The head of the agency and its systems assign each case; a member takes a case that nobody has,
    and gives away a case of the member's own. ``expected`` is the member to whom the case was
    assigned when the caller looked. Raises ``Refusal`` (``unknown-case``, ``unknown-member``,
    ``member-disabled``, ``assigns``, ``assigned-meanwhile``, ``same-member``, ``erased-case``).
    """
    kept = assignments_of(node, caller)
    check_case(node, caller, case_id)
    check_may_record(node.room.look())
    if deputy == member:
        raise Refusal(Ground.INVALID, "same-member", "The deputy is another member.", "deputy")
    for one in (member, *((deputy,) if deputy is not None else ())):
        _check_own(node, caller, one)
    known = _expected(kept, caller, case_id, expected)
    _check_assigns(node, caller, known, takes_free=known is None and member == caller.member)
    if kept.put(caller.agency.id, case_id, member, deputy, caller.member, known):
        return
    if kept.of_cases(caller.agency.id, [case_id]).get(case_id) != known:
        raise assigned_meanwhile()
    raise erased_case()


def unassign(node: Node, caller: Caller, case_id: UUID, expected: Expected | None = None) -> None:
    """Take the assignment of a case back, as those who may assign it. Raises ``Refusal``."""
    kept = assignments_of(node, caller)
    check_case(node, caller, case_id)
    known = _expected(kept, caller, case_id, expected)
    if known is None:
        return
    _check_assigns(node, caller, known, takes_free=False)
    if not kept.remove(caller.agency.id, known):
        raise assigned_meanwhile()


def assigned_meanwhile() -> Refusal:
    """Make the refusal of an assignment that would overwrite one that the caller has not seen."""
    return Refusal(
        Ground.CONFLICT,
        "assigned-meanwhile",
        "Somebody assigned the case meanwhile. Look who has it now, and decide again.",
    )


def _expected(
    kept: Assignments, caller: Caller, case_id: UUID, expected: Expected | None
) -> Assignment | None:
    """Return the assignment of a case. Raises ``Refusal`` if it is not the expected one."""
    known = kept.of_cases(caller.agency.id, [case_id]).get(case_id)
    if expected is not None and expected != (known.member if known is not None else NOBODY):
        raise assigned_meanwhile()
    return known


def _check_assigns(
    node: Node, caller: Caller, known: Assignment | None, *, takes_free: bool
) -> None:
    work = CaseWork.NONE
    if known is not None and caller.member == known.member:
        work = CaseWork.ASSIGNED
    elif known is not None and caller.member == known.deputy:
        work = CaseWork.DEPUTY
    if not may_assign(state_of(node, caller), work, takes_free=takes_free):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "assigns",
            "The head of the agency assigns cases. A member takes a case that nobody has, and gives"
            " away an own one.",
        )


def hand_over(node: Node, caller: Caller, leaver: Member, to: UUID) -> int:
    """Give all cases of a member whom the caller manages to another member of the agency.

    Returns the number of cases. Raises ``Refusal`` (``unknown-member``, ``member-disabled``).
    """
    found = node.members.get(to)
    if found is None or found.agency != leaver.agency or found.id == leaver.id:
        raise Refusal(
            Ground.INVALID, "unknown-member", "Choose another member of the same agency.", "to"
        )
    if found.disabled_at is not None:
        raise member_disabled()
    if not node.vaults.has(leaver.party):
        return 0
    kept = node.vaults.of(leaver.party).assignments
    return kept.hand_over(leaver.agency, leaver.id, to, caller.member)


def _check_own(node: Node, caller: Caller, member: UUID) -> None:
    found = node.members.get(member)
    if found is None or found.agency != caller.agency.id:
        raise Refusal(
            Ground.INVALID, "unknown-member", "This is no member of the agency.", "member"
        )
    if found.disabled_at is not None:
        raise member_disabled()
