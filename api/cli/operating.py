"""Commands that begin a ledger, serve it, and keep its database and views."""

from collections import Counter
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

from api.cli.connection import KeyFile
from api.cli.output import AsJson, err, fail, failures, out, print_json

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="The number of request processes.",
            show_default="one for each core",
        ),
    ] = None,
) -> None:
    """Run a node: request processes, a worker process, and a supervisor that restarts them."""

    import structlog
    from psycopg.conninfo import conninfo_to_dict

    from api.continuity.lost_keys import check_none_lost
    from api.keys.country_keys import country_keys
    from api.keys.log_keys import own_parties
    from api.node.agreed_protocol import with_agreed_protocol
    from api.node.node import check_settings, own_key_names
    from api.paper.languages.found import missing_languages
    from api.processes.server import log_as_json, tls_context
    from api.processes.server import serve as run_server
    from api.processes.supervisor import leave_when_told
    from api.runtime import disk
    from api.runtime.node_database import check_migrated, open_store
    from api.runtime.schema import migrate_all
    from api.runtime.settings import Settings

    log_as_json()
    leave_when_told()
    with failures():
        settings = Settings().listening_on(host, port, processes)
        check_settings(settings)
        tls_context(settings)
    with failures(), open_store(settings, watch=False) as store:
        settings = with_agreed_protocol(settings, store.owner_conninfo)
        if store.embedded or settings.owner_database_url is not None:
            login = conninfo_to_dict(store.conninfo).get("user")
            migrate_all(
                store.owner_conninfo,
                settings.load_protocol(),
                grant_to=None if store.embedded or login is None else str(login),
            )
        check_migrated(store.conninfo, settings.load_protocol().every_party_code)
        if lacking := missing_languages(settings.load_protocol()):
            structlog.get_logger(__name__).warning(
                "no catalogues of languages that the protocol names", languages=lacking
            )
        leads = settings.ledger_url is None
        check_none_lost(settings, store.conninfo, own_key_names(settings, leads=leads))
        country_keys(settings, own_parties(settings))  # made here, or refused in one line
        reserve = disk.reserve(settings)

        def look_after() -> None:
            reserve.look()  # first: a server that stopped on a full disk needs room to start
            store.look_after()

        run_server(settings, store.conninfo, look_after)


@app.command()
def migrate(
    grant_to: Annotated[
        str | None, typer.Option(help="The API's login. It is granted the roles that it needs.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name each migration that was applied.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to date, as its owner."""

    from api.node.agreed_protocol import with_agreed_protocol
    from api.runtime.node_database import open_store
    from api.runtime.schema import migrate_all
    from api.runtime.settings import Settings

    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        settings = with_agreed_protocol(settings, store.owner_conninfo)
        applied = migrate_all(store.owner_conninfo, settings.load_protocol(), grant_to=grant_to)
        if as_json:
            print_json({"applied": applied})
        elif applied and verbose:
            out.print("Applied: " + ", ".join(applied))
        elif applied:
            # Each country has a vault and a witness: `vault-xk/0001_…`.
            parts = Counter(name.partition("/")[0].partition("-")[0] for name in applied)
            counts = ", ".join(f"{part} {count}" for part, count in parts.items())
            out.print(
                f"Applied {len(applied)} migrations ({counts}). -v names each.", soft_wrap=True
            )
        else:
            out.print("Up to date.")


@app.command()
def adopt(
    signer: Annotated[str, typer.Option("--as", help="The coordinator that signs the adoption.")],
    coordinator: Annotated[
        list[str] | None,
        typer.Option(
            help="AGENCY=FILE with the output of `keys public`. The signer's own is not needed."
        ),
    ] = None,
    key: KeyFile = None,
    years: Annotated[int, typer.Option(min=1, max=10, help="How long the keys are valid.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Begin a ledger: record the protocol and its coordinators' keys as the first event.

    The command prints the leaf hash of the first event. The parties compare it, since all
    proofs begin with it.
    """

    from api.cli.steps.key_requests import read_request
    from api.keys.agency_keys import own_key
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from api.services.adoption import adopt_protocol
    from ledger.signing.key_possession import request_of

    settings = Settings()
    if settings.ledger_url is not None:
        fail("a country's node copies the adoption; adopt on the ledger node")
    with failures(as_json), open_store(settings) as store:
        protocol = settings.load_protocol()
        private = own_key(settings, signer, key)
        requests = {signer: request_of(private, protocol=protocol.id, agency=signer)}
        for pair in coordinator or []:
            agency, equals, file = pair.partition("=")
            if not equals:
                fail(f"{pair!r} is not AGENCY=FILE")
            requests[agency] = read_request(Path(file), agency)
        receipt = adopt_protocol(store, protocol, signer, private, requests.values(), years)
        if as_json:
            print_json({"position": receipt.position, "leaf_hash": receipt.leaf_hash.hex()})
        else:
            out.print(f"[green]Adopted[/] {protocol.title}.")
            out.print(f"Compare with the other parties: {receipt.leaf_hash.hex()}", soft_wrap=True)


@app.command()
def rebuild(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The view: case_views, audit_trail or obligations.", show_default="all"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every view, in one pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild views beside the live ones, and swap them in."""

    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.events.newer_event import needs_update
    from projections.tables.all_views import VIEWS
    from projections.upkeep.rebuild import rebuild_views

    if name is not None and every:
        fail("name one view, or say --all")
    names = tuple(VIEWS) if name is None else (name,)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        failures(as_json),
        open_store(Settings()) as store,
        Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=out,
            disable=as_json,
        ) as progress,
    ):
        task = progress.add_task(f"Folding {' and '.join(names)}", total=None)
        positions = rebuild_views(
            store.conninfo,
            names,
            lambda done, of: progress.update(task, completed=done, total=of),
            when_newer=lambda position: err.print(
                f"[yellow]The views end before it.[/] {needs_update(position)}", soft_wrap=True
            ),
        )
        if as_json:
            found = [{"view": view, "position": at} for view, at in positions.items()]
            print_json(found[0] if name is not None else found)
        else:
            for view, at in positions.items():
                out.print(f"[green]{view}[/] is rebuilt and live, at position {at}.")
