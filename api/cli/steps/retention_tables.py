"""Tables of retention periods and of erased cases."""

from collections.abc import Iterable, Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.steps.case_tables import why_erased
from api.cli.steps.table_words import words
from api.client.schemas import ErasedCase, RetainedCase, RetentionStatus
from api.client.schemas.retention import RetentionObstacle

_COLOURS = {
    RetentionStatus.KEPT: "dim",
    RetentionStatus.DUE: "bold red",
    RetentionStatus.ANNOUNCED: "yellow",
    RetentionStatus.HELD: "cyan",
    RetentionStatus.ERASED: "green",
}


def retention_table(cases: Iterable[RetainedCase]) -> Table:
    """Return a table of the cases whose period of retention ends, one row for each case."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Case", "State", "Closed for", "Period ends", "Erased from", "Announced by"):
        table.add_column(column, overflow="fold")
    for one in cases:
        holds = ", ".join(f"{hold.party}: {words(hold.ground)}" for hold in one.holds)
        state = f"{one.status.value} ({holds})" if holds else one.status.value
        table.add_row(
            str(one.case_id),
            Text(state, _COLOURS[one.status]),
            words(one.closure) if one.closure is not None else "",
            f"{one.period_ends:%d %b %Y}",
            f"{one.erase_from:%d %b %Y}" if one.erase_from else "",
            f"{one.announced_by}, {one.announced_at:%d %b %Y}" if one.announced_at else "",
        )
    return table


def obstacles(cases: Iterable[RetainedCase]) -> Iterator[Text]:
    """Yield lines on what blocks each erasure, in red, and what is still open in the case."""
    for case in cases:
        if case.obstacles:
            yield Text(f"Before {case.case_id} is erased:", "bold")
        yield from (Text("  ").append_text(_obstacle(one)) for one in case.obstacles)


def _obstacle(one: RetentionObstacle) -> Text:
    """Return one line: what it is, whose it is, and until when."""
    said = words(one.kind) if one.action is None else f"{words(one.kind)}: {words(one.action)}"
    whose = one.agency or one.party
    until = f" by {one.due:%d %b %Y}" if one.due is not None else ""
    return Text(f"{said}{f' ({whose}{until})' if whose else until}", "red" if one.blocks else "")


def erased_table(cases: Iterable[ErasedCase]) -> Table:
    """Return a table of the cases whose persons' data is all erased, one row for each case."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Case", "Erased", "Why", "Confirmed by", "Not yet confirmed by"):
        table.add_column(column, overflow="fold")
    for one in cases:
        table.add_row(
            str(one.case_id),
            f"{one.erased.erased_at:%d %b %Y %H:%M}",
            why_erased(one.erased),
            ", ".join(one.confirmed_by),
            ", ".join(one.pending),
        )
    return table
