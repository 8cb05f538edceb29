"""Show the parts that the ledger requires in a vault and that the vault lacks."""

from typing import Annotated

import typer

from api.cli.nodes import app
from api.cli.output import AsJson, failures, out, print_json


@app.command()
def missing(
    country: Annotated[
        str | None,
        typer.Argument(help="The country of the vault.", show_default="every country of this node"),
    ] = None,
    ask_again: Annotated[
        bool,
        typer.Option(
            "--ask-again",
            help="Forget the answers of other nodes, so that the node asks for lost parts again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the parts that a vault lacks by the ledger, and the nodes that were asked for them.

    Contents of other countries' documents that are not here yet are listed too.

    The running node compares all the time. `case-ledger verify vault` compares now.
    """

    from datetime import timedelta

    from api.cli.steps.missing_tables import (
        MOST_CONTENTS,
        VaultMissing,
        all_missing,
        contents_table,
        missing_table,
    )
    from api.keys.log_keys import own_parties
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.store.database import Database
    from ledger.vault.documents.content_standings import ContentStandings
    from ledger.vault.missing_disclosures import MissingParts

    settings = Settings()
    with failures(as_json), open_store(settings) as store, Database(store.conninfo) as database:
        own = own_parties(settings)
        if country is not None and country not in own:
            raise ValueError(f"this is no node of {country} (CASE_LEDGER_COUNTRIES)")
        tables = {
            one: MissingParts(database, one) for one in ([country] if country is not None else own)
        }
        if ask_again:
            for table in tables.values():
                table.ask_again()
        patience = timedelta(seconds=settings.missing_after_seconds)
        found = [
            VaultMissing(
                country=one,
                missing=tuple(all_missing(table)),
                contents=tuple(
                    ContentStandings(database, one).not_held(MOST_CONTENTS, patience=patience)
                ),
            )
            for one, table in tables.items()
        ]
        if as_json:
            print_json([one.model_dump(mode="json") for one in found])
            return
        for one in found:
            if one.missing:
                out.print(missing_table(one.country, one.missing))
            if one.contents:
                out.print(contents_table(one.country, one.contents))
            if not one.missing and not one.contents:
                out.print(f"[green]The vault of {one.country} has all that it must hold.[/]")
