"""The table of possible duplicates."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from api.cli.steps.table_words import words
from api.client.schemas import DuplicateDocument


def duplicate_table(duplicates: Iterable[DuplicateDocument]) -> Table:
    """Return a table with one row for each duplicate."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Found", "Id", "Our case", "Country", "Their case", "Agrees in", "State"):
        table.add_column(column, overflow="fold")
    for one in duplicates:
        table.add_row(
            one.found_at.strftime("%d %b %y %H:%M"),
            str(one.id),
            str(one.case_id),
            one.country,
            str(one.other_case_id or one.reference),
            f"{', '.join(words(kind.value) for kind in one.agrees)} ({one.strength})",
            words(one.state.value),
        )
    return table
