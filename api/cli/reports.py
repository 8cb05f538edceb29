"""Commands that report: the joint annual report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from api.cli.output import AsJson, failures, out

app = typer.Typer(name="report", help="Reports, made from the ledger alone.", no_args_is_help=True)


@app.callback()
def _reports() -> None:
    """Reports, made from the ledger alone."""  # noqa: D401  # a title, which help shows


@app.command()
def annual(
    year: Annotated[
        int, typer.Option(min=2000, max=9998, help="The year, at the parties' local time.")
    ],
    at: Annotated[
        int | None,
        typer.Option(
            min=1, help="Up to a checkpoint of this size.", show_default="the last published one"
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="A language, by its code.")] = "en",
    export: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A directory that `case-ledger log export` wrote.",
            show_default="the database",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write it as canonical JSON, and beside it as Markdown."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the joint annual report: for coordinators and oversight, not for publication.

    The same events make the same JSON, byte for byte: compare the two files of two parties.
    """

    from api.cli.steps.report_kinds import report_of
    from api.paper.annual_report import markdown
    from api.paper.languages.found import language as find_language
    from projections.reports.annual_report import canonical

    columns = (SpinnerColumn(), TextColumn("Reading"), MofNCompleteColumn())
    with (
        failures(as_json),
        Progress(*columns, console=out, disable=as_json, transient=True) as progress,
    ):
        find_language(language)  # before the ledger is read, which may take long
        task = progress.add_task("", total=None)
        found = report_of(export, year, at, lambda events: progress.advance(task, events))
    content = canonical(found.report)
    text = markdown(found.report, language, found.protocol)
    with failures(as_json):
        if file is not None:
            file.write_bytes(content)
            file.with_suffix(".md").write_text(text, encoding="utf-8")
    if as_json:
        typer.echo(content)
    elif file is not None:
        out.print(f"Written to {file} and {file.with_suffix('.md')}", soft_wrap=True)
    else:
        typer.echo(text, nl=False)
