"""The cases that are merged with each other, for the list of duplicates and a person's file."""

from collections.abc import Iterable
from uuid import UUID

from api.services.case_participation import sees_case
from ledger.application import Ledger
from ledger.procedure.merged_cases import with_taken_in
from ledger.procedure.protocol import Agency
from ledger.vault.duplicates.matches import Duplicate


def not_merged(ledger: Ledger, found: Iterable[Duplicate]) -> list[Duplicate]:
    """Return the duplicates of cases that are not merged with each other."""
    return [
        one
        for one in found
        if one.other_case_id is None
        or continues_in(ledger, one.case_id) != continues_in(ledger, one.other_case_id)
    ]


def merged_with(ledger: Ledger, agency: Agency, case_id: UUID) -> tuple[UUID, ...]:
    """Return the cases that were merged with a case and in which an agency has part."""
    first = continues_in(ledger, case_id)
    found = with_taken_in([first], ledger.case)
    return tuple(
        other
        for other, case in found.items()
        if other != case_id
        and continues_in(ledger, other) == first
        and sees_case(ledger, agency, case)
    )


def continues_in(ledger: Ledger, case_id: UUID) -> UUID:
    """Return the case in which a case continues, which is itself unless it was merged.

    A merge counts while the case that continues has taken the other one in: once it is undone
    there, the cases are apart, although the undoing in the case that ended is still to come.
    """
    seen: set[UUID] = set()
    while case_id not in seen:
        seen.add(case_id)
        case = ledger.case(case_id)
        into = case.state.merged_into if case is not None else None
        goes_on = ledger.case(into.case) if into is not None else None
        if into is None or goes_on is None or into.acceptance not in goes_on.state.taken_in:
            break
        case_id = into.case
    return case_id
