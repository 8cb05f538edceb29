"""`case-ledger node init`: the guided set-up of a ledger node or of a country's node."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from api.cli.nodes import app
from api.cli.output import AsJson, fail, failures


@app.command()
def init(
    side: Annotated[
        str, typer.Argument(help="ledger, or the code of the country whose node it is, such as XK.")
    ],
    directory: Annotated[
        Path | None, typer.Option(help="Where the node keeps its keys, settings and data.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Where the other nodes reach this one, such as https://node.example.al."),
    ] = None,
    received: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Another side's file. May be repeated."),
    ] = None,
    compared: Annotated[
        list[str] | None,
        typer.Option(help="A fingerprint that the other side read out. May be repeated."),
    ] = None,
    coordinator: Annotated[
        list[Path] | None,
        typer.Option(
            help="A country's side: the file with the output of `keys public` for its coordinator."
        ),
    ] = None,
    adopt_as: Annotated[
        str | None,
        typer.Option(help="The ledger node's side: the coordinator that signs the adoption."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The private key of the coordinator of --adopt-as.")
    ] = None,
    years: Annotated[int, typer.Option(min=1, max=10, help="How long keys are valid.")] = 2,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="The ledger node's side: the log's name.", show_default="address/protocol"
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="A PostgreSQL of your own.", show_default="a private one")
    ] = None,
    owner_database_url: Annotated[
        str | None, typer.Option(help="The same database as its owner, for migrations.")
    ] = None,
    protocol: Annotated[
        Path | None, typer.Option(help="A protocol file.", show_default="the one that is shipped")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set up a node, step by step: make its keys, check the machine, write its settings.

    Run it again as often as you like: it goes on where it was and replaces no key. It asks for the
    values that it needs at a terminal; elsewhere name them by options. At its end it prints the
    next steps.
    """

    import psycopg

    from api.cli.steps.node_setup import (
        adopter_of,
        ask_address,
        choose_directory,
        choose_party,
        show_checks,
        show_side,
        take_in,
    )
    from api.node.agreed_protocol import settings_here
    from api.node.setting_up.checks import CheckLevel, check_machine, directory_is_usable
    from api.node.setting_up.hand_over import read_key_request
    from api.node.setting_up.sides import SideDirectory, advance_country, advance_ledger, load
    from api.runtime.node_database import StoreError
    from ledger.procedure.protocol import COORDINATOR

    is_asking = sys.stdin.isatty() and not as_json
    with failures(as_json):
        place = SideDirectory(choose_directory(directory, side, is_asking))
        usable = directory_is_usable(place.directory)
        if usable.level is CheckLevel.FAILED:
            fail(usable.said)
        values = load(place)
        given = {
            "host": host,
            "port": None if port is None else str(port),
            "ledger_origin": origin,
            "database_url": database_url,
            "owner_database_url": owner_database_url,
            "protocol": None if protocol is None else str(protocol.resolve()),
        }
        values |= {name: value for name, value in given.items() if value is not None}
        # A database that does not answer is among the checks below, which stop the set-up.
        first = place.settings(values)
        with suppress(StoreError, psycopg.Error):
            first = settings_here(first)
        agreed = first.load_protocol()
        party = choose_party(side, agreed)
        values.setdefault("host", "127.0.0.1")
        values.setdefault("port", "8420")
        values["data_directory"] = str(place.directory)
        values["countries"] = "[]" if party is None else f'["{party}"]'
        where = ask_address(place, side, address, is_asking)
        if party is None:
            values.setdefault("ledger_origin", f"{where.partition('//')[2]}/{agreed.id}")
        elif origin is not None:
            fail("the log's name comes from the ledger node's file; leave --origin out")
        take_in(place, agreed, party, received or [], compared or [], is_asking)
        of_ledger = place.accepted.ledger if party is not None else None
        checks = check_machine(
            place.settings(values), where, of_ledger.address if of_ledger is not None else None
        )
        show_checks(checks, as_json)
        if failed := [one.said for one in checks if one.level is CheckLevel.FAILED]:
            fail("; ".join(failed) + ". Nothing was set up; put this right and run it again")
        if party is None:
            if coordinator:
                fail("--coordinator belongs to a country's side; each country names its own")
            adopter = adopter_of(agreed, adopt_as, key, years)
            outcome = advance_ledger(place, values, where, adopter)
        else:
            if adopt_as is not None:
                fail("the protocol is adopted on the ledger node's side")
            requests = [
                read_key_request(path, agreed, party, COORDINATOR) for path in coordinator or []
            ]
            outcome = advance_country(place, party, values, where, requests)
        show_side(side, outcome, checks, as_json)
