"""Commands for a node whose copy went on beyond the parties' decision to take over."""

from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.cli.history import NAME
from api.cli.nodes import app
from api.cli.output import AsJson, fail, failures, out, print_json


@app.command()
def rejoin(
    why: Annotated[str, typer.Option(help="What happened and what was done, for the record.")],
    by: Annotated[str | None, typer.Option(help=NAME)] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--from", help="A directory made by `log export`, in place of the node."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Compare and verify; say what would be done, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the last checkpoint in common with the ledger that the parties decided on.

    CASE_LEDGER_LEDGER_URL names the new ledger node. Run it with this node stopped, as the owner of
    the database. Its ledger is verified first. The events that it does not have are kept as
    evidence; the actions of this country's agencies among them go back into the outbox.
    """

    import psycopg

    from api.cli.steps.own_copies import own_copy
    from api.cli.steps.rejoin_reports import rejoin_source, tell_done, tell_found
    from api.exchange.rejoining import NothingToRejoinError, Rejoining
    from api.runtime.settings import Settings
    from ledger.replication.event_source import SourceError
    from ledger.replication.rejoining import MovedError
    from projections.upkeep.rebuild import rebuild_views

    settings = Settings()
    with failures(as_json), own_copy(settings) as copy:
        rejoining = Rejoining(
            settings, copy.store, copy.ledger, copy.database, rejoin_source(settings, directory)
        )
        if not dry_run and (finished := rejoining.finish()) is not None:
            size = finished.goes_on_from.size
            if as_json:
                print_json({"finished": True, "size": size})
            else:
                out.print(f"[green]Finished[/] what an earlier run began: back to {size} events.")
            return
        try:
            found = rejoining.find()
            if dry_run:
                tell_found(found, as_json)
                return
            done = rejoining.go_back(found, by or getuser(), why)
        except (NothingToRejoinError, MovedError, SourceError) as error:
            fail(f"{error}")
        except ConnectionError as error:
            fail(f"{rejoining.source.name} does not answer ({error}); nothing was changed")
        except psycopg.errors.InsufficientPrivilege:
            fail(
                "only the owner of the database may do this, and nothing was changed; name it in "
                "CASE_LEDGER_OWNER_DATABASE_URL"
            )
        tell_done(found, done, as_json)
        rebuild_views(copy.store.conninfo)  # the worker would fold them too, page by page


@app.command("tails")
def show_tails(as_json: AsJson = False) -> None:
    """Show the events that `node rejoin` moved out of this copy, and their signed notes."""

    from api.cli.steps.own_copies import own_copy
    from api.cli.steps.rejoin_reports import TAILS
    from api.exchange.rejoining import tails
    from api.runtime.settings import Settings

    with failures(as_json), own_copy(Settings()) as copy:
        found = tails(copy.database)
        if as_json:
            print_json(TAILS.dump_python(found, mode="json"))
            return
        for tail in found:
            out.print(
                f"{tail.decided_at:%d %b %Y %H:%M:%S} UTC, {tail.decided_by}: {tail.why} "
                f"({tail.common} events in common with {tail.source})",
                soft_wrap=True,
            )
            table = Table("position", "kind", "agency", "action", "in the ledger at")
            for event in tail.events:
                again = "-" if event.recorded_again is None else str(event.recorded_again)
                table.add_row(str(event.position), event.kind, event.agency, event.action, again)
            out.print(table)
        if not found:
            out.print("[green]This copy never had a tail.[/]")
