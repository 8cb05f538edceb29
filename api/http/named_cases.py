"""The other cases that held fields name, as far as a caller may know of these cases."""

from uuid import UUID

from api.http.access import Caller
from api.node.node import Node
from ledger.procedure.case import Case
from ledger.procedure.checks.taking_part import has_part
from ledger.vault.held_fields import HeldFields

NAMING_CASES = frozenset({"linked_case", "continues_in"})
"""The sealed fields that name another case."""


def seen_case(node: Node, caller: Caller, case_id: object) -> Case | None:
    """Return a case in which the caller's agency has part."""
    if case_id is None:
        return None
    case = node.ledger.case(UUID(str(case_id)))
    if case is None or not has_part(caller.agency, case.state, case.history, caller.protocol):
        return None
    return case


def names_cases(held: HeldFields) -> bool:
    """Return whether any held field names another case."""
    return any(one.field in NAMING_CASES for one in held)


def seen_links(node: Node, caller: Caller, held: HeldFields) -> HeldFields:
    """Return held fields without the cases in which the caller's agency has no part.

    Which case is linked or proposed is told to an agency only if it takes part in that case: in
    answers of the API, in the trail, and at the top of a page.
    """
    return HeldFields(
        (
            one
            for one in held
            if one.field not in NAMING_CASES or seen_case(node, caller, one.value) is not None
        ),
        held.damaged,
    )
