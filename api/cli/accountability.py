"""Commands on what countries and agencies owe each other, for coordinators and oversight."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json
from projections.folds.obligation_terms import Dimension, ObligationKind, ObligationState

app = typer.Typer(
    name="obligations",
    help="Obligations between countries and agencies: for coordinators and oversight.",
    no_args_is_help=True,
)


@app.command("list")
@asks
def listed(
    asked: AsAgencyOrJson,
    party: Annotated[str | None, typer.Option(help="Obligations of this country alone.")] = None,
    creditor: Annotated[
        str | None, typer.Option(help="Obligations towards this country alone.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", help="Obligations of this agency alone.")
    ] = None,
    kind: ObligationKind | None = None,
    state: ObligationState | None = None,
    case: Annotated[UUID | None, typer.Option(help="Obligations of this case alone.")] = None,
    overdue: Annotated[
        bool,
        typer.Option(
            "--overdue", help="Open obligations past their deadline, the longest overdue first."
        ),
    ] = False,
    as_of: Annotated[
        datetime | None, typer.Option(help="With --overdue: as of this time (UTC).")
    ] = None,
) -> None:
    """List obligations in the country's cases, the last opened first."""

    from api.cli.steps.obligation_tables import obligation_table

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
        list[Dimension] | None, typer.Option(help="May be repeated.", show_default="country, kind")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="As of this time (UTC).", show_default="now")
    ] = None,
) -> None:
    """Show how fast obligations are discharged."""

    from api.cli.steps.obligation_tables import times_table

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
        datetime | None, typer.Option(help="As of this time (UTC).", show_default="now")
    ] = None,
) -> None:
    """Compare what the country owes to each other one, and the other one to it."""

    from api.cli.steps.obligation_tables import balance_table

    with asked.client() as client:
        found = client.reciprocity(as_of=_utc(as_of))
        if asked.as_json:
            print_json(found)
        else:
            out.print(balance_table(found.balances))


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)
