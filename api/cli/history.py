"""Commands for a node whose database was put back to an older copy."""

from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer

from api.cli.nodes import app
from api.cli.output import AsJson, fail, failures, out, print_json

NAME = "The person who decides, for the record."


@app.command()
def history(as_json: AsJson = False) -> None:
    """Show the highest known position, the database's position now, and the decisions."""

    from api.cli.steps.history_tables import history_table
    from api.cli.steps.own_copies import own_copy
    from api.continuity.history_guard import mark_file, troubles_of
    from api.runtime.settings import Settings

    settings = Settings()
    with failures(as_json), own_copy(settings) as copy:
        mark = mark_file(settings).read()
        tree = copy.ledger.tree()
        found = [trouble.message for trouble in troubles_of(mark, settings)] if mark else []
        decisions = mark.decisions if mark else ()
        reached = mark.reached.size if mark else None
        if as_json:
            print_json(
                {
                    "reached": reached,
                    "database": tree.size,
                    "needs_decision": mark is not None and mark.needs_decision,
                    "troubles": found,
                    "decisions": [one.model_dump(mode="json") for one in decisions],
                }
            )
            return
        out.print(f"The mark: {'none' if reached is None else f'{reached} events'}.")
        out.print(f"The database: {tree.size} events.")
        for message in found:
            out.print(f"[red]{message}[/]", soft_wrap=True)
        if mark is None or not mark.needs_decision:
            out.print("[green]There is nothing to decide.[/]")
        if decisions:
            out.print(history_table(decisions))


@app.command("accept-history")
def accept_history(
    why: Annotated[str, typer.Option(help="What happened and what was done, for the record.")],
    by: Annotated[str | None, typer.Option(help=NAME)] = None,
    as_json: AsJson = False,
) -> None:
    """Go on from the events that the database has now, and record this decision for good.

    Complete the ledger from other nodes' copies first: events that are still missing then are
    lost. A running node records again within seconds.
    """

    from api.cli.steps.history_tables import vaults_of
    from api.cli.steps.own_copies import own_copy
    from api.continuity.history_guard import accept, mark_file
    from api.continuity.key_faults import find
    from api.runtime.settings import Settings

    settings = Settings()
    file = mark_file(settings)
    with failures(as_json), own_copy(settings) as copy:
        faults = find(settings.key_directory, file.read(), vaults_of(settings, copy.database))
        decision = accept(copy.database, copy.ledger.tree, file, faults, by or getuser(), why)
        if as_json:
            print_json(decision)
            return
        lost = decision.seen - decision.goes_on_from.size
        out.print(f"[green]Decided.[/] The node goes on from {decision.goes_on_from.size} events.")
        if lost > 0:
            out.print(
                f"{lost} events that were recorded here are lost. Agencies that have a receipt of "
                "one send the same signed action again.",
                soft_wrap=True,
            )


@app.command()
def complete(
    sources: Annotated[
        list[str],
        typer.Argument(help="Another node's address, or a directory made by `log export`."),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the events that this database lacks from other nodes' copies, and verify them.

    Each event is judged, and the log must have signed all of them. It may run while the node runs.
    """

    from api.cli.steps.own_copies import copy_from, own_copy
    from api.exchange.mirror_sync import HttpSource
    from api.keys.log_keys import own_parties
    from api.node.node import node_client
    from api.runtime.settings import Settings
    from ledger.export.export_source import ExportSource

    settings = Settings()
    addresses = [source for source in sources if source.startswith(("http://", "https://"))]
    if addresses and not own_parties(settings):
        fail(
            "a ledger node of no country has no key with which another node answers it: ask that "
            "node's operator for an export (`case-ledger log export --signed DIRECTORY`), and name "
            "the directory here"
        )
    with failures(as_json), own_copy(settings) as copy:
        before = copy.mirror.size
        for source in sources:
            if source in addresses:
                client = node_client(settings, source)
                copy_from(copy.mirror, HttpSource(source, client, wait=0), as_json)
            else:
                copy_from(copy.mirror, ExportSource(Path(source)), as_json)
        size = copy.mirror.size
        if as_json:
            print_json({"events": size, "copied": size - before})
        else:
            out.print(f"{size - before} events copied; this database has {size} now.")


@app.command("restore-keys")
def restore_keys(
    copy_of: Annotated[
        Path | None,
        typer.Option("--from", help="A newer copy of the directory of persons' keys."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore missing data keys from a newer copy, and destroy those of erased persons again."""

    from api.cli.steps.history_tables import vaults_of
    from api.cli.steps.own_copies import own_copy
    from api.runtime.settings import Settings

    settings = Settings()
    restored = destroyed = left = 0
    with failures(as_json), own_copy(settings) as copy:
        for vault in vaults_of(settings, copy.database):
            missing, returned = vault.key_faults()
            if copy_of is not None:
                restored += vault.restore_keys(copy_of / vault.party.lower(), missing)
            destroyed += vault.destroy_keys(returned)
            left += len(vault.key_faults()[0])
        if as_json:
            print_json({"restored": restored, "destroyed": destroyed, "missing": left})
            return
        out.print(f"{restored} keys restored, {destroyed} of erased persons destroyed again.")
        if left:
            out.print(f"[red]{left} keys are still missing.[/] Try another copy with --from.")
