"""Leaves out duplicates whose two cases are merged: nobody has to look at them any more."""

from collections.abc import Iterable
from uuid import UUID

from ledger.application import Ledger
from ledger.vault.duplicates.matches import Duplicate


def not_merged(ledger: Ledger, found: Iterable[Duplicate]) -> list[Duplicate]:
    """Return the duplicates of cases that are not merged with each other."""
    return [
        one
        for one in found
        if one.other_case_id is None
        or continues_in(ledger, one.case_id) != continues_in(ledger, one.other_case_id)
    ]


def continues_in(ledger: Ledger, case_id: UUID) -> UUID:
    """Return the case in which a case continues, which is itself unless it was merged."""
    seen: set[UUID] = set()
    while case_id not in seen:
        seen.add(case_id)
        case = ledger.case(case_id)
        if case is None or case.state.merged_into is None:
            break
        case_id = case.state.merged_into.case
    return case_id
