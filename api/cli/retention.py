"""Commands on the end of the period of retention, for coordinators."""

from datetime import timedelta
from typing import Annotated

import typer

from api.cli.connection import AsAgencyOrJson, CaseName, asks
from api.cli.output import fail, out, print_json

app = typer.Typer(
    name="retention",
    help="Retention: the cases whose data are erased, and when. For coordinators and oversight.",
    no_args_is_help=True,
)
_MARGIN = timedelta(hours=1)


@app.command("list")
@asks
def listed(
    asked: AsAgencyOrJson,
    within: Annotated[
        int, typer.Option(help="The number of days ahead, from the last cosigned time.")
    ] = 90,
    erased: Annotated[
        bool, typer.Option("--erased", help="List the erased cases instead, the newest first.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")
    ] = False,
) -> None:
    """List the cases that are announced for erasure, due, held, or erased, and what blocks it."""

    from pydantic import TypeAdapter

    from api.cli.steps.retention_tables import erased_table, obstacles, retention_table
    from api.client.schemas import ErasedCase, RetainedCase

    if schema:
        items = TypeAdapter(list[ErasedCase] if erased else list[RetainedCase])
        print_json(items.json_schema())
        return
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
            for line in obstacles(found):
                out.print(line, soft_wrap=True)
        else:
            out.print(f"No period of retention ends within {within} days.")


@app.command()
@asks
def announce(
    asked: AsAgencyOrJson,
    case: CaseName,
    erase_from: Annotated[
        str | None,
        typer.Option(
            help="The earliest time of the erasure, with its offset, or a day of your country.",
            show_default="the first that may be",
        ),
    ] = None,
) -> None:
    """Announce the erasure of a case's data, or a later time than the one announced."""

    from api.cli.steps.own_time import since
    from ledger.system import clock
    from ledger.vocabulary.erasure import RetentionAnnounced

    with asked.client() as client:
        case_id = client.case_named(case)
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
            erase_from=since(erase_from, asked.agency) or first,
        )
        receipt = client.append(announced, case_id, version)
        if asked.as_json:
            print_json(receipt)
        else:
            out.print(
                f"[green]Announced[/] at position {receipt.position}: erased from"
                f" {announced.erase_from:%d %b %Y %H:%M} UTC on, unless a hold is placed."
            )
