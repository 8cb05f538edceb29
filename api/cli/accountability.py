"""Commands on what countries and agencies owe each other, for coordinators and oversight."""

from datetime import UTC, datetime
from typing import Annotated

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
    case: Annotated[
        str | None,
        typer.Option(help="Obligations of this case alone, by its id or its short reference."),
    ] = None,
    overdue: Annotated[
        bool,
        typer.Option(
            "--overdue", help="Open obligations past their deadline, the longest overdue first."
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="With --overdue: as of this time, with its offset, or day of your country."
        ),
    ] = None,
) -> None:
    """List obligations in the country's cases, the last opened first."""

    from api.cli.steps.obligation_tables import obligation_table
    from api.cli.steps.own_time import until

    with asked.client() as client:
        moment = until(as_of, asked.agency)
        found = list(
            client.obligations(
                party=party,
                creditor=creditor,
                agency=of,
                kind=kind,
                state=state,
                case_id=client.case_named(case) if case is not None else None,
                overdue=overdue,
                as_of=moment,
            )
        )
        if asked.as_json:
            print_json([obligation.model_dump(mode="json") for obligation in found])
        elif found:
            out.print(obligation_table(found, moment or datetime.now(UTC)))
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
        str | None,
        typer.Option(
            help="As of this time, with its offset, or day of your country.", show_default="now"
        ),
    ] = None,
) -> None:
    """Show how fast obligations are discharged."""

    from api.cli.steps.obligation_tables import times_table
    from api.cli.steps.own_time import until

    with asked.client() as client:
        found = client.response_times(by or (), as_of=until(as_of, asked.agency))
        if asked.as_json:
            print_json(found)
        else:
            out.print(times_table(found.response_times))


@app.command("reciprocity")
@asks
def reciprocity(
    asked: AsAgencyOrJson,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="As of this time, with its offset, or day of your country.", show_default="now"
        ),
    ] = None,
) -> None:
    """Compare what the country owes to each other one, and the other one to it."""

    from api.cli.steps.obligation_tables import balance_table
    from api.cli.steps.own_time import until

    with asked.client() as client:
        found = client.reciprocity(as_of=until(as_of, asked.agency))
        if asked.as_json:
            print_json(found)
        else:
            out.print(balance_table(found.balances))
