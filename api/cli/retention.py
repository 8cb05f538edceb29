"""Commands on the end of the period of retention, for coordinators."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.case_tables import why_erased, words
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json
from api.client.schemas import ErasedCase, RetainedCase, RetentionStatus
from ledger.system import clock
from ledger.vocabulary.erasure import RetentionAnnounced

app = typer.Typer(
    name="retention",
    help="What will be erased because its period of retention ends: for coordinators.",
    no_args_is_help=True,
)

_COLOURS = {
    RetentionStatus.KEPT: "dim",
    RetentionStatus.DUE: "bold red",
    RetentionStatus.ANNOUNCED: "yellow",
    RetentionStatus.HELD: "cyan",
    RetentionStatus.ERASED: "green",
}
_MARGIN = timedelta(hours=1)


@app.command("list")
@asks
def listed(
    asked: AsAgencyOrJson,
    within: Annotated[
        int, typer.Option(help="So many days ahead, from the last cosigned time.")
    ] = 90,
    erased: Annotated[
        bool, typer.Option("--erased", help="What is erased instead, the last first.")
    ] = False,
) -> None:
    """List the cases that are announced for erasure, due, held, or erased."""
    with asked.client() as client:
        if erased:
            gone = list(client.erased_cases())
            if asked.as_json:
                print_json([one.model_dump(mode="json") for one in gone])
            else:
                out.print(erased_table(gone) if gone else "This country has erased nothing.")
            return
        found = list(client.retention(within_days=within))
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
        elif found:
            out.print(retention_table(found))
        else:
            out.print(f"No period of retention ends within {within} days.")


@app.command()
@asks
def announce(
    asked: AsAgencyOrJson,
    case_id: Annotated[UUID, typer.Argument(help="The case.")],
    erase_from: Annotated[
        datetime | None,
        typer.Option(help="Nothing is erased before (UTC).", show_default="the first that may be"),
    ] = None,
) -> None:
    """Announce the erasure of a case's data, or a later time than the one announced."""
    with asked.client() as client:
        version = client.case(case_id).view.version
        stands = next(iter(client.retention(case_id=case_id)), None)
        if stands is None or stands.closed_at is None:
            fail("the case is not closed, or the protocol has no period of retention for it")
        first = max(
            stands.period_ends,
            clock.now() + timedelta(days=stands.grace_days) + _MARGIN,
        )
        announced = RetentionAnnounced(
            acted_at=clock.now(),
            closed_at=stands.closed_at,
            kept_days=stands.kept_days,
            erase_from=erase_from.replace(tzinfo=UTC) if erase_from is not None else first,
        )
        receipt = client.append(announced, case_id, version)
        if asked.as_json:
            print_json(receipt)
        else:
            out.print(
                f"[green]Announced[/] at position {receipt.position}: erased from"
                f" {announced.erase_from:%d %b %Y %H:%M} UTC on, unless a hold is placed."
            )


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
