"""Every command of ``case-ledger``."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

import typer
from psycopg.conninfo import conninfo_to_dict
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from api.agency_keys import own_key
from api.cli import (
    accountability,
    duplicates,
    importing,
    keys,
    log,
    nodes,
    personal,
    reports,
    verify,
)
from api.cli.building import build, fields_table, kinds_table
from api.cli.connection import DEFAULT_URL, Agency, KeyFile, Url, connect
from api.cli.output import AsJson, fail, failures, out, print_json
from api.cli.tables import case_list, case_panel, event_table, outcome_table, trail_table
from api.demo.play import play
from api.demo.play_nodes import play_nodes
from api.node import check_settings
from api.schema import migrate_all
from api.server import leave_when_told, log_as_json, log_nothing, tls_context
from api.server import serve as run_server
from api.settings import Settings
from api.store import check_migrated, open_store
from ledger import signing
from ledger.application import Ledger, environment
from ledger.keys import public_part
from ledger.protocol import COORDINATOR
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage
from ledger.vocabulary.registration import KeyGrant, ProtocolAdopted, PublicKey
from projections.rebuild import rebuild_views
from projections.views import VIEWS

app = typer.Typer(
    name="case-ledger",
    help="The transnational case ledger: signed case actions, shared by countries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with locals could print a child's data
)
app.add_typer(importing.app)
app.add_typer(keys.app)
app.add_typer(log.app)
app.add_typer(log.witness_app)
app.add_typer(verify.app)
app.add_typer(nodes.app)
app.add_typer(personal.app)
app.add_typer(duplicates.app)
app.add_typer(accountability.app)
app.add_typer(reports.app)


@app.command()
def demo(
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave the server running afterwards.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw what is printed, as SVG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play the story of two children through the real API, and show what each country sees."""
    log_nothing()
    leave_when_told()
    with failures(as_json):
        play(Settings(), keep_running=keep_running, as_json=as_json, picture=picture)


@app.command("demo-nodes")
def demo_nodes(as_json: AsJson = False) -> None:
    """Play it across a ledger node and three countries' nodes, each of which fails once."""
    log_nothing()
    leave_when_told()
    with failures(as_json):
        play_nodes(Settings(), as_json=as_json)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve the ledger: every role of a node in one process."""
    log_as_json()
    leave_when_told()
    with failures():
        settings = Settings().listening_on(host, port)
        check_settings(settings)
        tls_context(settings)
    with failures(), open_store(settings) as store:
        if store.embedded or settings.owner_database_url is not None:
            login = conninfo_to_dict(store.conninfo).get("user")
            migrate_all(
                store.owner_conninfo,
                settings.load_protocol(),
                grant_to=None if store.embedded or login is None else str(login),
            )
        check_migrated(store.conninfo, settings.load_protocol().party_codes)
        run_server(settings, store.conninfo)


@app.command()
def migrate(
    grant_to: Annotated[
        str | None, typer.Option(help="The API's login, which may take the roles it needs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to date, as its owner."""
    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        applied = migrate_all(store.owner_conninfo, settings.load_protocol(), grant_to=grant_to)
        if as_json:
            print_json({"applied": applied})
        elif applied:
            out.print("Applied: " + ", ".join(applied))
        else:
            out.print("Up to date.")


@app.command()
def adopt(
    signer: Annotated[str, typer.Option("--as", help="The coordinator that signs the adoption.")],
    coordinator: Annotated[
        list[str] | None,
        typer.Option(help="AGENCY=FILE with a coordinator's public key; its own is known."),
    ] = None,
    key: KeyFile = None,
    years: Annotated[int, typer.Option(min=1, max=10, help="How long the keys are valid.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Begin a ledger: record the protocol and its coordinators' keys as the first event.

    The parties compare the leaf hash that this prints: it is what they all trust.
    """
    settings = Settings()
    if settings.ledger_url is not None:
        fail("a country's node copies the adoption; adopt on the ledger node")
    with failures(as_json), open_store(settings) as store:
        protocol = settings.load_protocol()
        private = own_key(settings, signer, key)
        public = {signer: public_part(private)}
        for pair in coordinator or []:
            agency, equals, file = pair.partition("=")
            if not equals:
                fail(f"{pair!r} is not AGENCY=FILE")
            public[agency] = PublicKey.model_validate_json(Path(file).read_text())
        needed = {a.id for a in protocol.agencies if a.role == COORDINATOR}
        if missing := needed - public.keys():
            fail(f"public keys are missing: --coordinator {' '.join(sorted(missing))}")
        now = datetime.now(UTC)
        adopted = ProtocolAdopted(
            acted_at=now,
            protocol=protocol.model_dump(mode="json", exclude_none=True),
            keys=tuple(
                KeyGrant(
                    agency=agency,
                    key=public_key,
                    valid_from=now - timedelta(minutes=5),
                    valid_until=now + timedelta(days=365 * years),
                )
                for agency, public_key in public.items()
            ),
        )
        signed = signing.sign(
            adopted, agency=signer, key=private, protocol=protocol.id, case_id=None
        )
        migrate_all(store.owner_conninfo, protocol)
        with Ledger(environment(store.conninfo)) as ledger:
            receipt = ledger.append_to_registry(signing.read(signed))
        if as_json:
            print_json({"position": receipt.position, "leaf_hash": receipt.leaf_hash.hex()})
        else:
            out.print(f"[green]Adopted[/] {protocol.title}.")
            out.print(f"Compare with the other parties: {receipt.leaf_hash.hex()}", soft_wrap=True)


@app.command()
def act(
    kind: Annotated[str | None, typer.Argument(help="What was done.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Its fields.")
    ] = None,
    case: Annotated[UUID | None, typer.Option(help="The case; none to open a new one.")] = None,
    version: Annotated[
        int | None, typer.Option(help="The case version acted on. [default: the present one]")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A JSON file with the fields.")] = None,
    list_kinds: Annotated[bool, typer.Option("--list", help="List every action.")] = False,
    agency: Annotated[
        str | None,
        typer.Option("--agency", "-a", envvar="CASE_LEDGER_AGENCY", help="The agency that acts."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign an action and record it. With a kind alone, show its fields."""
    with failures(as_json):
        if list_kinds or kind is None:
            if as_json:
                print_json(sorted(CASE_ACTIONS))
            else:
                out.print(kinds_table())
            return
        if not assignments and file is None:
            out.print(fields_table(kind))
            return
        if agency is None:
            fail("say which agency acts: --agency, or CASE_LEDGER_AGENCY")
        action = build(kind, assignments or [], file)
        with connect(url, agency, key) as client:
            if case is None:
                receipt = client.append(action, uuid4(), 0)
            else:
                acted_on = version if version is not None else client.case(case).view.version
                receipt = client.append(action, case, acted_on)
        if as_json:
            print_json(receipt)
        else:
            out.print(
                f"[green]Recorded[/] {kind} at position {receipt.position}: "
                f"case {receipt.case_id}, version {receipt.case_version}",
                soft_wrap=True,
            )


@app.command()
def case(
    agency: Agency,
    case_id: Annotated[UUID | None, typer.Argument(help="One case; none for the list.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="As it was: a position, or a time with its offset.")
    ] = None,
    status: CaseStatus | None = None,
    stage: Stage | None = None,
    priority: Priority | None = None,
    awaits_us: Annotated[bool | None, typer.Option("--awaits-us/--awaits-others")] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a case as the agency's country sees it, or list its cases."""
    now = datetime.now(UTC)
    with failures(as_json), connect(url, agency, key) as client:
        if case_id is None:
            found = list(
                client.cases(status=status, stage=stage, priority=priority, awaits_us=awaits_us)
            )
            if as_json:
                print_json([view.model_dump(mode="json") for view in found])
            else:
                out.print(case_list(found, now))
            return
        position = int(as_of) if as_of and as_of.isdigit() else None
        moment = datetime.fromisoformat(as_of) if as_of and position is None else None
        if moment is not None and moment.tzinfo is None:
            fail("give the time with its offset, such as 2026-02-10T12:00:00Z")
        seen = client.case(case_id, as_of_position=position, as_of_time=moment)
        if as_json:
            print_json(seen)
        else:
            out.print(case_panel(seen.view, moment or now, seen.disclosed))


@app.command()
def trail(
    agency: Agency,
    case_id: Annotated[
        UUID | None, typer.Argument(help="The case; none for the protocol's own trail.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show an audit trail: every event, who, when, and what it changed."""
    with failures(as_json), connect(url, agency, key) as client:
        entries = list(client.trail(case_id) if case_id else client.protocol_trail())
        if as_json:
            print_json([entry.model_dump(mode="json") for entry in entries])
        else:
            out.print(trail_table(entries))


@app.command()
def events(
    agency: Agency,
    after: Annotated[int, typer.Option(min=0, help="Begin after this position.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the ledger's events by position."""
    with failures(as_json), connect(url, agency, key) as client:
        if follow:
            for event in client.follow(after):
                if as_json:
                    print_json(event)
                else:
                    out.print(event_table([event]))
            return
        page = client.events(after, limit=limit)
        if as_json:
            print_json(page)
        else:
            out.print(event_table(page.events))


@app.command()
def outbox(
    agency: Agency,
    action_id: Annotated[UUID | None, typer.Argument(help="One action; none for the last.")] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of actions that were handed in while the ledger node was away."""
    with failures(as_json), connect(url, agency, key) as client:
        outcomes = [client.outcome(action_id)] if action_id else client.outbox().outcomes
        if as_json:
            print_json([outcome.model_dump(mode="json") for outcome in outcomes])
        else:
            out.print(outcome_table(outcomes))


@app.command()
def rebuild(
    name: Annotated[
        str | None, typer.Argument(help=f"The view: {', '.join(VIEWS)}; none for all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every view, in one pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild views beside the live ones, and swap them in."""
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
        )
        if as_json:
            found = [{"view": view, "position": at} for view, at in positions.items()]
            print_json(found[0] if name is not None else found)
        else:
            for view, at in positions.items():
                out.print(f"[green]{view}[/] is rebuilt and live, at position {at}.")
