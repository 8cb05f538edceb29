"""Commands for a node whose copy went on beyond the parties' decision to take over."""

from getpass import getuser
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from pydantic import TypeAdapter
from rich.table import Table

from api.cli.history import NAME
from api.cli.nodes import app, own_copy
from api.cli.output import AsJson, fail, failures, out, print_json
from api.exchange.mirror_sync import HttpSource
from api.exchange.rejoining import DiscardedTail, NothingToRejoinError, Rejoining, tails
from api.node.node import node_client
from api.runtime.settings import Settings
from ledger.export.export_source import ExportSource
from ledger.replication.divergence import Divergence
from ledger.replication.event_source import MirrorSource, SourceError
from ledger.replication.rejoining import MovedError, RolledBack
from projections.upkeep.rebuild import rebuild_views

_TAILS = TypeAdapter(list[DiscardedTail])


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
    settings = Settings()
    with failures(as_json), own_copy(settings) as copy:
        rejoining = Rejoining(
            settings, copy.store, copy.ledger, copy.database, _source(settings, directory)
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
                _tell_found(found, as_json)
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
        _tell_done(found, done, as_json)
        rebuild_views(copy.store.conninfo)  # the worker would fold them too, page by page


@app.command("tails")
def show_tails(as_json: AsJson = False) -> None:
    """Show the events that `node rejoin` moved out of this copy, and their signed notes."""
    with failures(as_json), own_copy(Settings()) as copy:
        found = tails(copy.database)
        if as_json:
            print_json(_TAILS.dump_python(found, mode="json"))
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


def _source(settings: Settings, directory: Path | None) -> MirrorSource:
    url = settings.ledger_url
    if url is None:
        fail("CASE_LEDGER_LEDGER_URL names the ledger node that the parties decided on; set it")
    if directory is not None:
        return ExportSource(directory)
    return HttpSource(url, node_client(settings, url), wait=0)


def _tell_found(found: Divergence, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "size": found.size,
                "common": found.common,
                "goes_back_to": found.checkpoint,
                "decision": found.decision.since,
            }
        )
        return
    out.print(f"{found}.", soft_wrap=True)
    out.print(f"`node rejoin` would go back to {found.checkpoint} events.")


def _tell_done(found: Divergence, done: RolledBack, as_json: bool) -> None:
    size = done.decision.goes_on_from.size
    if as_json:
        print_json(
            {
                "size": size,
                "common": found.common,
                "decision": found.decision.since,
                "kept": done.events,
                "put_back": done.put_back,
                "set_aside": done.set_aside,
            }
        )
        return
    out.print(
        f"[green]Gone back[/] to {size} events, the last checkpoint in common.\n"
        f"{done.events} events are kept as evidence (`case-ledger node tails`).\n"
        f"{done.put_back} actions of this country's agencies wait in the outbox again.\n"
        f"The disclosures of {done.set_aside} actions of other countries are set aside until the "
        "ledger has these actions.\nStart `case-ledger serve`.",
        soft_wrap=True,
    )
