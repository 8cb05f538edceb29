"""Commands that play the story of two children, on one node or across several."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.output import AsJson, failures, out

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


@app.command()
def practice(
    directory: Annotated[
        Path | None,
        typer.Option(
            help="The practice's own data directory.",
            show_default="case-ledger-practice, beside a node's own",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65535)] = 8430,
    public_url: Annotated[
        str | None,
        typer.Option(help="Where browsers find it, such as https://practice.example.org."),
    ] = None,
    protocol: Annotated[
        Path | None, typer.Option(help="A protocol file to practise. Without it, the shipped one.")
    ] = None,
    exercises: Annotated[
        Path | None, typer.Option(help="A file of exercises. Without it, the shipped ones.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Remove all that was recorded in it, and end.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a reset.")] = False,
) -> None:
    """Serve a ledger of invented people with exercises, to train people on the same pages.

    It has a database, keys and a port of its own. It reads no setting of a node from the
    environment, and starts in no directory that holds anything else.
    """

    from api.demo.play_practice import (
        default_directory,
        exercises_for,
        play_practice,
        practice_settings,
        reset_practice,
    )
    from api.processes.server import log_nothing
    from api.processes.supervisor import leave_when_told

    log_nothing()
    leave_when_told()
    with failures():
        settings = practice_settings(
            directory or default_directory(),
            host=host,
            port=port,
            protocol=protocol,
            public_url=public_url,
        )
        if reset:
            if not yes:
                typer.confirm("Remove everything that was recorded in the practice?", abort=True)
            reset_practice(settings)
            out.print("The practice is as it was at the beginning.")
        else:
            play_practice(settings, exercises_for(settings, exercises))
