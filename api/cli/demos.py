"""Commands that play the story of two children, on one node or across several."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.output import AsJson, failures

app = typer.Typer()


@app.command()
def demo(
    keep_running: Annotated[
        bool | None,
        typer.Option(
            "--keep-running/--no-keep-running",
            help="Keep the server running until Ctrl-C, and print links for a browser.",
            show_default="at a terminal, without --json",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture of the output, as SVG.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play the story of two children through the real API, and show what each country sees."""

    from api.demo.play import play
    from api.processes.server import log_nothing
    from api.processes.supervisor import leave_when_told
    from api.runtime.settings import Settings

    log_nothing()
    leave_when_told()
    stays = sys.stdout.isatty() and not as_json if keep_running is None else keep_running
    with failures(as_json):
        play(Settings(), keep_running=stays, as_json=as_json, picture=picture)


@app.command("demo-nodes")
def demo_nodes(as_json: AsJson = False) -> None:
    """Play the story across a ledger node and three countries' nodes, each of which fails once."""

    from api.demo.play_nodes import play_nodes
    from api.processes.server import log_nothing
    from api.processes.supervisor import leave_when_told
    from api.runtime.settings import Settings

    log_nothing()
    leave_when_told()
    with failures(as_json):
        play_nodes(Settings(), as_json=as_json)
