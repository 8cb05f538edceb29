"""Commands on backups."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.connection import AtNode, asks
from api.cli.output import AsJson, failures, print_json

app = typer.Typer(name="backup", help="Prove that a backup restores.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Prove that a backup restores."""


@app.command()
@asks
def drill(
    node: AtNode,
    directory: Annotated[
        Path | None,
        typer.Argument(
            envvar="CASE_LEDGER_BACKUP_DIRECTORY",
            help="The backup: base-…/ and wal/, as `case-ledger-backup` keeps them.",
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The copy of the node's key directory, `keys/`.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Another base backup.")] = None,
    wal: Annotated[Path | None, typer.Option(help="The WAL files that follow the base.")] = None,
    restored: Annotated[
        str | None,
        typer.Option(help="A server that another program restored, instead: its database's URL."),
    ] = None,
    programs: Annotated[
        Path | None, typer.Option(help="The directory of PostgreSQL's programs, of pg_ctl.")
    ] = None,
    database: Annotated[str, typer.Option(help="The name of the database.")] = "case_ledger",
    superuser: Annotated[str, typer.Option(help="A superuser of the server.")] = "postgres",
    scratch: Annotated[
        Path | None, typer.Option(help="A directory with room for the restored copy.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup beside the node, verify it, open sealed fields, and count what is lost.

    The backup and the node are only read. Exits with 3 if the backup does not hold, or lacks an
    event that the running node, a witness or the mark among the keys knows.
    """

    from api.cli.steps.backup_drill import DrillReport, drilled, keep_last
    from api.cli.steps.backup_tables import show_drill
    from api.cli.steps.restored_server import backup_in
    from api.cli.steps.verification_reports import DOES_NOT_HOLD
    from api.runtime.settings import Settings

    if schema:
        print_json(DrillReport.model_json_schema())
        return
    settings = Settings()
    with failures(as_json):
        if keys is None:
            raise ValueError("name the copy of the node's keys, --keys DIR: no backup holds them")
        backup = backup_in(directory, base, wal) if restored is None else None
        report = drilled(
            settings,
            keys,
            node.url,
            backup=backup,
            programs=programs,
            conninfo=restored,
            database=database,
            superuser=superuser,
            scratch=scratch,
        )
        keep_last(report, directory)
        if as_json:
            print_json(report)
        else:
            show_drill(report)
        if not report.holds:
            raise typer.Exit(DOES_NOT_HOLD)
