"""The command on what travels between countries: what waits, what was refused, and what then."""

from typing import Annotated
from uuid import UUID

import typer

from api.cli.nodes import app
from api.cli.output import AsJson, failures


@app.command()
def parcels(
    send_again: Annotated[
        list[UUID] | None,
        typer.Option(help="Send this parcel again at once. May be repeated."),
    ] = None,
    give_up: Annotated[
        list[UUID] | None,
        typer.Option(help="Give up this parcel, which its recipient refused."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the parcels that wait between countries, are sent again, or were refused.

    Run it on a node's own machine. The node may run meanwhile.
    """

    from api.cli.steps.parcel_tables import decide_parcel, show_parcels
    from api.exchange.parcel_standing import WithoutKeys, parcels_standing
    from api.keys.country_keys import parcel_keys
    from api.keys.log_keys import own_parties
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.replication.mailbox import Mailbox
    from ledger.store.database import Database

    settings = Settings()
    with (
        failures(as_json),
        open_store(settings) as store,
        Database(store.conninfo) as database,
    ):
        countries = [WithoutKeys.of(database, party) for party in own_parties(settings)]
        if send_again or give_up:
            decide_parcel(countries, send_again or [], give_up or [], as_json)
            return
        leads = settings.ledger_url is None
        mailbox = Mailbox(database, parcel_keys(settings)) if leads else None
        show_parcels(countries, parcels_standing(countries, mailbox), as_json)
