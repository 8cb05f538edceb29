"""Cases that a search found, and an agency's file numbers, readable at a glance."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from rich import box
from rich.markup import escape
from rich.table import Table

from api.client import LedgerClient, RefusedError
from api.client.schemas.finding import FoundCase
from projections.folds.case_view import CaseView


def own_numbers(client: LedgerClient, agency: str, views: Iterable[CaseView]) -> Mapping[UUID, str]:
    """Return an agency's own file numbers of some cases; none for an agency that has none."""
    ids = [view.case_id for view in views]
    if not ids:
        return {}
    try:
        found = client.file_numbers(ids)
    except RefusedError as error:
        if error.problem.rule == "no-file-numbers":
            return {}
        raise
    return {one.case_id: one.number for one in found if one.agency == agency and one.number}


def found_table(cases: Iterable[FoundCase]) -> Table:
    """Return a table with one row for each case that was found."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Case", "File numbers", "Person", "Opened", "By", "Led by"):
        table.add_column(column, overflow="fold", no_wrap=column == "Case")
    for one in cases:
        numbers = ", ".join(f"{n.number or 'does not open'} ({n.agency})" for n in one.file_numbers)
        table.add_row(
            one.reference,
            escape(numbers),
            escape(_person(one)),
            f"{one.opened_at:%Y-%m-%d}",
            one.opened_by or "",
            one.lead_agency,
        )
    return table


def _person(one: FoundCase) -> str:
    if one.person is None:
        return ""
    how = "alike" if one.person.is_exact else "similar"
    if one.person.is_earlier:
        how += ", by an earlier statement"
    return f"{one.person.name or 'no basis to show the name'} ({how})"
