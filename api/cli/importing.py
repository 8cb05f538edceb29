"""Import of a country's existing cases, on the node's own machine."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from api.cli.connection import Agency, KeyFile
from api.cli.output import AsJson, fail, failures

REFUSED = 2
app = typer.Typer()


@app.command("import")
def import_cases(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table (.csv, .xlsx, .ods …) or JSON lines (.jsonl)."
        ),
    ],
    agency: Agency,
    key: KeyFile = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map", help="A TOML file for the columns and values, or a shipped map: `primero`."
        ),
    ] = None,
    defaults: Annotated[
        list[str] | None,
        typer.Option("--default", help="FIELD=VALUE of all rows, besides the map's; repeatable."),
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option(help="A file for the refused rows.", show_default="FILE.errors.csv"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, and record nothing.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="The number of processes.", show_default="one for each core"
        ),
    ] = None,
    skip_known: Annotated[
        bool,
        typer.Option(
            "--skip-known", help="Pass over rows whose file number is that of a recorded case."
        ),
    ] = False,
    update_known: Annotated[
        bool,
        typer.Option(
            "--update-known",
            help="Record what such rows change in their cases, as the map's part `update` says. "
            "Try it with --dry-run, which shows the differences.",
        ),
    ] = False,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Print a map to begin with, by the file's head. Read it!"),
    ] = False,
    chunk: Annotated[
        int,
        typer.Option(
            min=1,
            max=20_000,
            help="Events in a transaction. Other appends wait for the end of a transaction.",
        ),
    ] = 2000,
    as_json: AsJson = False,
) -> None:
    """Record a country's existing cases, each row a new case, signed by the agency.

    A run that was stopped goes on when the command is run again. No row is recorded twice.
    """

    from api.cli.steps.import_reports import print_changes, print_persons, print_summary, run_import
    from api.importing.import_run import Order
    from api.importing.shipped_maps import shipped_map
    from api.importing.suggestion import suggested_map
    from api.keys.agency_keys import own_key
    from api.runtime.settings import Settings
    from ledger.importing.import_map import ImportMap, load_map, with_defaults
    from ledger.system.bounded_files import read_ordinary

    if suggest:
        with failures(as_json):
            typer.echo(suggested_map(source), nl=False)
        return
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
        map_file = shipped_map(map_file)
        content = read_ordinary(map_file) if map_file else b""
        given = [one.encode() for one in defaults or ()]
        choice = [b"update"] if update_known else []
        if update_known and skip_known:
            raise ValueError("choose one: --skip-known passes over them, --update-known does not")
        order = Order(
            source=source,
            agency=agency,
            private=private,
            import_map=with_defaults(
                load_map(content, map_file) if map_file else ImportMap(), defaults or ()
            ),
            map_digest=hashlib.sha256(b"\n".join((content, *given, *choice))).hexdigest(),
            errors=errors or source.with_name(f"{source.name}.errors.csv"),
            dry_run=dry_run,
            skip_known=skip_known,
            update_known=update_known,
            workers=workers,
            chunk=chunk,
        )
        summary = run_import(settings, order, quiet=as_json)
        print_summary(order, summary, as_json=as_json)
        if dry_run and not as_json:
            print_persons(order, summary)
            print_changes(summary)
    if summary.mark.refused:
        raise typer.Exit(REFUSED)
