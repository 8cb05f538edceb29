"""Commands on what countries and agencies owe each other, for coordinators and oversight."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.case_tables import words
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json
from projections.folds.expected_steps import ObligationKind
from projections.folds.obligations import Obligation, ObligationState
from projections.reports.accountability import Balance, Dimension, ObligationTally, ResponseTimes

app = typer.Typer(
    name="obligations",
    help="Who owes whom what, and how it is answered: for coordinators and oversight.",
    no_args_is_help=True,
)

_HOUR, _DAY = 3600, 86400


@app.command("list")
@asks
def listed(
    asked: AsAgencyOrJson,
    party: Annotated[str | None, typer.Option(help="The country that owes it.")] = None,
    creditor: Annotated[str | None, typer.Option(help="A country that it is owed to.")] = None,
    of: Annotated[str | None, typer.Option("--of", help="The agency that owes it.")] = None,
    kind: ObligationKind | None = None,
    state: ObligationState | None = None,
    case: Annotated[UUID | None, typer.Option(help="In one case.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Open and due by now, the longest first.")
    ] = False,
    as_of: Annotated[
        datetime | None, typer.Option(help="With --overdue: as it stood then (UTC).")
    ] = None,
) -> None:
    """List obligations in the country's cases, the last opened first."""
    with asked.client() as client:
        found = list(
            client.obligations(
                party=party,
                creditor=creditor,
                agency=of,
                kind=kind,
                state=state,
                case_id=case,
                overdue=overdue,
                as_of=_utc(as_of),
            )
        )
        if asked.as_json:
            print_json([obligation.model_dump(mode="json") for obligation in found])
        elif found:
            out.print(obligation_table(found, _utc(as_of) or datetime.now(UTC)))
        else:
            out.print("Nothing is owed that fits.")


@app.command("response-times")
@asks
def response_times(
    asked: AsAgencyOrJson,
    by: Annotated[
        list[Dimension] | None, typer.Option(help="May be repeated. [default: country, kind]")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="As it stood then (UTC).", show_default="now")
    ] = None,
) -> None:
    """Show how fast obligations are discharged."""
    with asked.client() as client:
        found = client.response_times(by or (), as_of=_utc(as_of))
        if asked.as_json:
            print_json(found)
        else:
            out.print(times_table(found.response_times))


@app.command("reciprocity")
@asks
def reciprocity(
    asked: AsAgencyOrJson,
    as_of: Annotated[
        datetime | None, typer.Option(help="As it stood then (UTC).", show_default="now")
    ] = None,
) -> None:
    """Show what the country and each other one owe each other."""
    with asked.client() as client:
        found = client.reciprocity(as_of=_utc(as_of))
        if asked.as_json:
            print_json(found)
        else:
            out.print(balance_table(found.balances))


def obligation_table(obligations: Iterable[Obligation], now: datetime) -> Table:
    """Return a table with one row for each obligation."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Case", "What", "Who owes it", "To whom", "Opened", "Due", "State"):
        table.add_column(column, overflow="fold")
    for owed in obligations:
        table.add_row(
            str(owed.case_id),
            words(owed.action),
            owed.debtor_agency or owed.debtor or "any party",
            owed.creditor_agency or ", ".join(owed.creditors),
            f"{owed.opened.acted_at:%d %b %Y}",
            f"{owed.due:%d %b %Y}" if owed.due else "",
            _state(owed, now),
        )
    return table


def times_table(times: Iterable[ResponseTimes]) -> Table:
    """Response times, a group a row."""
    table = _tallies("Country", "Agency", "Kind")
    for column in ("On time", "Median", "90 of 100", "Longest"):
        table.add_column(column, justify="right")
    for group in times:
        share = group.share_on_time
        table.add_row(
            group.country or "",
            group.agency or "",
            words(group.kind.value) if group.kind else "",
            *_counts(group),
            "" if share is None else f"{share / 10:.1f} %",
            *map(_lasted, (group.median_seconds, group.p90_seconds, group.max_seconds)),
        )
    return table


def balance_table(balances: Iterable[Balance]) -> Table:
    """Return a table of what each two countries owe each other, one row for each direction."""
    table = _tallies("Who owes", "Whom")
    for balance in balances:
        one, other = balance.countries
        table.add_row(one, other, *_counts(balance.first_owes))
        table.add_row(other, one, *_counts(balance.second_owes), end_section=True)
    return table


def _tallies(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name)
    for name in ObligationTally.model_fields:
        table.add_column(words(name), justify="right")
    return table


def _counts(tally: ObligationTally) -> Iterable[str]:
    return (str(getattr(tally, name) or "·") for name in ObligationTally.model_fields)


def _state(owed: Obligation, now: datetime) -> Text:
    if owed.is_overdue(now) and owed.due is not None:
        return Text(f"overdue for {_lasted((now - owed.due) // timedelta(seconds=1))}", "bold red")
    if owed.state is ObligationState.OPEN or owed.outcome is None:
        return Text("open", "yellow")
    if owed.late:
        return Text(f"{words(owed.outcome.value)}, late", "red")
    done = owed.state is ObligationState.DISCHARGED
    return Text(words(owed.outcome.value), "green" if done else "dim")


def _lasted(seconds: int | None) -> str:
    if seconds is None:
        return ""
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // 60} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)
