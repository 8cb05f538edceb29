"""Import of a country's existing cases, on the node's own machine."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from api.cli.building import expected
from api.cli.connection import Agency, KeyFile
from api.cli.output import AsJson, err, fail, failures, out, print_json
from api.importing.error_file import RefusalReason, reasons
from api.importing.import_run import CHUNK, ImportConflictError, Importer, Order, Progress, Summary
from api.keys.agency_keys import own_key
from api.node.agreed_protocol import with_agreed_protocol
from api.runtime.node_database import check_migrated, open_store
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.importing.import_map import ImportMap, load_map
from ledger.store.database import Database
from ledger.system.bounded_files import read_ordinary

REFUSED = 2
app = typer.Typer()


@app.command("import")
def import_cases(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="HTCDS as .csv, or as JSON lines (.jsonl).")
    ],
    agency: Agency,
    key: KeyFile = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="TOML: what the file calls things.")
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option(help="Where refused rows are listed. [default: FILE.errors.csv]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge every row, and record nothing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes. [default: one a core]")
    ] = None,
    chunk: Annotated[
        int,
        typer.Option(min=1, max=20_000, help="Events in a transaction, which others wait for."),
    ] = CHUNK,
    as_json: AsJson = False,
) -> None:
    """Record a country's existing cases, each row a new case, signed by the agency.

    Run it again after it was stopped, however it was: it goes on, and records nothing twice.
    """
    settings = Settings()
    if settings.ledger_url is not None:
        fail(
            "this is a country's node, and its ledger a copy that only the ledger node's events "
            "go into. Import on a node that is ledger node and this country's in one, or record "
            "the cases one by one: `case-ledger act` hands them to this node's outbox."
        )
    with failures(as_json):
        if not source.is_file():
            raise ValueError(f"there is no file {source}")
        private = own_key(settings, agency, key)
        content = read_ordinary(map_file) if map_file else b""
        order = Order(
            source=source,
            agency=agency,
            private=private,
            import_map=load_map(content, map_file) if map_file else ImportMap(),
            map_digest=hashlib.sha256(content).hexdigest(),
            errors=errors or source.with_name(f"{source.name}.errors.csv"),
            dry_run=dry_run,
            workers=workers,
            chunk=chunk,
        )
        summary = _run(settings, order, quiet=as_json)
        _tell(order, summary, as_json=as_json)
    if summary.mark.refused:
        raise typer.Exit(REFUSED)


def _run(settings: Settings, order: Order, *, quiet: bool) -> Summary:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with open_store(settings) as store:
        settings = with_agreed_protocol(settings, store.owner_conninfo)
        check_migrated(store.conninfo, settings.load_protocol().party_codes)
        with (
            Ledger(environment(store.conninfo, pool_size=2)) as ledger,
            Database(store.conninfo, max_size=2) as database,
            Bar(*columns, TimeRemainingColumn(), console=err, disable=quiet) as bar,
        ):
            importer = Importer(settings, ledger, database, order, expected)
            task = bar.add_task("Reading", total=None)

            def show(progress: Progress) -> None:
                mark = progress.mark
                bar.update(
                    task,
                    completed=progress.bytes_read,
                    total=progress.bytes_total,
                    description=f"{mark.rows} rows, {mark.refused} refused",
                )

            try:
                return importer.run(show)
            except ImportConflictError as error:
                raise ValueError(str(error)) from error


def _tell(order: Order, summary: Summary, *, as_json: bool) -> None:
    mark = summary.mark
    why = reasons(order.errors) if mark.refused else []
    if as_json:
        print_json(_as_json(order, summary, why))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("rows", str(mark.rows))
    if order.dry_run:
        table.add_row("could be recorded", str(mark.recorded))
    else:
        table.add_row("recorded", f"{mark.recorded} ({summary.recorded_now} by this run)")
    if summary.first is not None:
        table.add_row("positions", f"{summary.first} to {summary.last}")
    table.add_row("refused", f"[red]{mark.refused}[/]" if mark.refused else "0")
    out.print(table)
    if mark.not_imported:
        left = ", ".join(f"{name} ({count})" for name, count in sorted(mark.not_imported.items()))
        out.print(f"[yellow]No action has these columns; they stay with you:[/] {left}")
    if why:
        refusals = Table("Rule", "Column", "Action", "Rows", box=box.SIMPLE_HEAD)
        for reason, count in why:
            refusals.add_row(*reason, str(count))
        out.print(refusals)
        out.print(f"Each row is in {order.errors}", soft_wrap=True)


def _as_json(
    order: Order, summary: Summary, why: list[tuple[RefusalReason, int]]
) -> dict[str, Any]:
    mark = summary.mark
    return {
        "dry_run": order.dry_run,
        "rows": mark.rows,
        "recorded": 0 if order.dry_run else mark.recorded,
        "recorded_now": summary.recorded_now,
        "acceptable": mark.recorded,
        "refused": mark.refused,
        "first_position": summary.first,
        "last_position": summary.last,
        "errors": str(order.errors),
        "refusals": [{**reason._asdict(), "rows": count} for reason, count in why],
        "not_imported": mark.not_imported,
    }
