"""The command that looks at all that a node needs, on one screen."""

from typing import Annotated

import typer

from api.cli.connection import AtNode, asks
from api.cli.output import AsJson, failures, out, print_json

app = typer.Typer()


@app.command()
@asks
def doctor(
    node: AtNode,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a node and its surroundings, and say what to do about each fault.

    Run it on the node's machine with the node's settings. It changes nothing. Exits with 0 if
    nothing is broken, and with 3 if something is.
    """

    from rich.markup import escape
    from rich.table import Table

    from api.cli.steps.doctor_checks import Examination, State, examine
    from api.cli.steps.verification_reports import DOES_NOT_HOLD
    from api.runtime.settings import Settings

    if schema:
        print_json(Examination.model_json_schema())
        return
    with failures(as_json):
        found = examine(Settings(), node.url)
    if as_json:
        print_json(found)
    else:
        colours = {
            State.OK: "green",
            State.UNKNOWN: "dim",
            State.WARNING: "yellow",
            State.BROKEN: "bold red",
        }
        table = Table(box=None, padding=(0, 1), show_header=False)
        for one in found.findings:
            what = escape(one.what) + (f"\n→ {escape(one.do)}" if one.do else "")
            table.add_row(f"[{colours[one.state]}]{one.state}[/]", one.check, what)
        out.print(table)
    if found.state is State.BROKEN:
        raise typer.Exit(DOES_NOT_HOLD)
