"""The command that exports the ledger as columns.

Arrow and DuckDB take longer to load than most commands do to run: those that use them load them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from api.cli.output import AsJson, err, failures, out, print_json

app = typer.Typer()

FromExport = Annotated[
    Path | None,
    typer.Option(
        "--export", help="Read a directory that `case-ledger log export` wrote, and no database."
    ),
]


@app.command("export")
def export_columns(
    parquet: Annotated[
        Path, typer.Option(help="The directory for Parquet files. It may hold an older export.")
    ],
    static: FromExport = None,
    upto: Annotated[
        int | None, typer.Option("--to", min=1, help="The last position.", show_default="the head")
    ] = None,
    without_obligations: Annotated[
        bool,
        typer.Option(
            "--without-obligations",
            help="Leave out what is owed and the deadlines, which take more than half of the time. "
            "An export that has them keeps them.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the ledger as columns: Parquet files by kind and position, cases and obligations.

    The files have the `ledger` fields alone. A later run writes the new events only.
    """

    from api.cli.steps.column_sources import source_of
    from ledger.events.newer_event import needs_update
    from projections.columnar.parquet_export import export

    with failures(as_json), source_of(static) as source, writing(as_json) as progress:
        manifest = export(
            source,
            parquet,
            progress,
            upto=upto,
            with_obligations=not without_obligations,
            when_newer=lambda position: err.print(
                f"[yellow]The export ends before it.[/] {needs_update(position)}", soft_wrap=True
            ),
        )
    told = {
        "upto": manifest.upto,
        "root": manifest.root,
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
    }
    if as_json:
        print_json(told)
    else:
        out.print(
            f"{manifest.upto} events in {len(manifest.files)} files, root {manifest.root}",
            soft_wrap=True,
        )


@contextmanager
def writing(as_json: bool, what: str = "Writing") -> Iterator[Callable[[int, int], None]]:
    """Show how many events of how many are done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=out,
        disable=as_json,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
