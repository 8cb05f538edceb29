"""Commands that act, and that show cases, trails, events and what waits."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from api.cli.connection import CASE, AsAgencyOrJson, MayAsk, asks
from api.cli.documents import KeepMetadata
from api.cli.output import err, fail, failures, out, print_json
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage

if TYPE_CHECKING:
    from api.client.schemas.drafts import DraftDocument

app = typer.Typer()


@app.command()
@asks
def act(
    asked: MayAsk,
    kind: Annotated[
        str | None, typer.Argument(help="The kind of the action. --list shows all kinds.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE]...", help="The fields of the action."),
    ] = None,
    case: Annotated[str | None, typer.Option(help=CASE, show_default="a new one")] = None,
    version: Annotated[
        int | None, typer.Option(help="The case version acted on.", show_default="the present one")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A JSON file with the fields.")] = None,
    document: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:KIND[:GROUP[:TITLE]]]",
            help="A document of the action. May be repeated. GROUP may be `case`.",
        ),
    ] = None,
    keep_metadata: KeepMetadata = False,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="Let it wait for the approval of another member."),
    ] = False,
    list_kinds: Annotated[bool, typer.Option("--list", help="List every action.")] = False,
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send signed actions again that have no outcome yet."),
    ] = False,
    patience: Annotated[
        float,
        typer.Option(min=0, help="For so many seconds a request without an answer is repeated."),
    ] = 10.0,
) -> None:
    """Sign an action and record it. With a kind alone, show its fields.

    If the node's answer does not come, the action may be recorded or not. The command keeps the
    signed action, and --resend sends it again. The ledger records it once, however often it is
    sent.

    The first document goes with the action, in the same act, if the kind takes a document. Each
    other one is an act document_added that belongs to the action. The command shows the metadata of
    each file. A picture is added as a copy without them.
    """

    from api.cli.steps.attached import attached
    from api.cli.steps.building import build, fields_table, kinds_table
    from api.cli.steps.sending import present_version, resend_all, send_together
    from api.cli.steps.told_metadata import metadata_teller
    from api.cli.steps.transfers import transfer_bar
    from ledger.system.identifiers import new_id
    from ledger.vocabulary import CASE_ACTIONS

    with failures(asked.as_json):
        if resend:
            if kind is not None or case is not None or file is not None:
                fail("--resend takes no action: it sends what was signed before")
            resend_all(
                asked.connect(_acting(asked.agency), asked.key, patience), asked.url, asked.as_json
            )
            return
        if list_kinds or kind is None:
            if asked.as_json:
                print_json(sorted(CASE_ACTIONS))
            else:
                out.print(kinds_table())
            return
        if not assignments and file is None:
            out.print(fields_table(kind))
            return
        acting = _acting(asked.agency)
        action = build(kind, assignments or [], file)
        with asked.connect(acting, asked.key, patience) as client:
            if case is None:
                case_id, acted_on = new_id(), 0
            else:
                case_id = client.case_named(case)
                acted_on = version if version is not None else present_version(client, case_id)
            if draft:
                if document:
                    fail("--draft takes no document: add it once the action is recorded")
                signed = client.sign(action, case_id)
                _told_draft(client.send_draft(signed, case_id, acted_on), asked.as_json)
                return
            papers = [attached(one) for one in document or ()]
            with transfer_bar("Uploading", asked.as_json or not papers) as progress:
                acts = client.acts_with_documents(
                    action,
                    new_id(),
                    case_id,
                    papers,
                    progress,
                    keep_metadata=keep_metadata,
                    uploaded=metadata_teller(
                        client, case_id, keep=keep_metadata, as_json=asked.as_json
                    ),
                )
            send_together(client, asked.url, case_id, acted_on, acts, asked.as_json)


def _told_draft(sent: "DraftDocument", as_json: bool) -> None:
    if as_json:
        print_json(sent.model_dump(mode="json"))
        return
    out.print(
        f"Draft {sent.action_id} waits for another member, until {sent.until:%d %b %Y %H:%M} UTC."
        f" Next, by a colleague: `case-ledger drafts approve {sent.action_id}`.",
        soft_wrap=True,
    )


def _acting(agency: str | None) -> str:
    if agency is None:
        fail("say which agency acts: --agency, or CASE_LEDGER_AGENCY")
    return agency


@app.command()
@asks
def case(
    asked: AsAgencyOrJson,
    case: Annotated[
        str | None, typer.Argument(metavar="CASE", help=CASE, show_default="list all cases")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Show the case as of a position, a time with its offset, or a day of your country."
        ),
    ] = None,
    status: CaseStatus | None = None,
    stage: Stage | None = None,
    priority: Priority | None = None,
    awaits_us: Annotated[bool | None, typer.Option("--awaits-us/--awaits-others")] = None,
) -> None:
    """Show a case as the agency's country sees it, or list its cases."""

    from api.cli.steps.case_tables import case_list, case_panel
    from api.cli.steps.found_cases import own_numbers
    from api.cli.steps.own_time import own_zone
    from projections.time.bitemporal import Moment

    now = datetime.now(UTC)
    with asked.client() as client:
        if case is None:
            found = list(
                client.cases(status=status, stage=stage, priority=priority, awaits_us=awaits_us)
            )
            if asked.as_json:
                print_json([view.model_dump(mode="json") for view in found])
            else:
                out.print(case_list(found, now, own_numbers(client, asked.agency, found)))
            return
        then = Moment.parse(as_of, None, own_zone(asked.agency)) if as_of else Moment()
        case_id = client.case_named(case)
        seen = client.case(case_id, as_of_position=then.position, as_of_time=then.time)
        if asked.as_json:
            print_json(seen)
        else:
            numbers = own_numbers(client, asked.agency, [seen.view])
            out.print(case_panel(seen.view, then.time or now, seen.disclosed, numbers.get(case_id)))


@app.command()
@asks
def trail(
    asked: AsAgencyOrJson,
    case: Annotated[
        str | None,
        typer.Argument(metavar="CASE", help=CASE, show_default="the protocol's own trail"),
    ] = None,
) -> None:
    """Show an audit trail: each event with its agency, its time and its changes."""

    from api.cli.steps.case_tables import trail_table

    with asked.client() as client:
        named = None if case is None else client.case_named(case)
        entries = list(client.protocol_trail() if named is None else client.trail(named))
        if asked.as_json:
            print_json([entry.model_dump(mode="json") for entry in entries])
        else:
            out.print(trail_table(entries))


@app.command()
@asks
def events(
    asked: AsAgencyOrJson,
    after: Annotated[int, typer.Option(min=0, help="Begin after this position.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print later events as they are recorded.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
) -> None:
    """Show the ledger's events by position."""

    from api.cli.steps.case_tables import event_table

    with asked.client() as client:
        if follow:
            for event in client.follow(after, lost=_say_lost):
                if asked.as_json:
                    print_json(event)
                else:
                    out.print(event_table([event]))
            return
        page = client.events(after, limit=limit)
        if asked.as_json:
            print_json(page)
        else:
            out.print(event_table(page.events))


def _say_lost() -> None:
    err.print("[dim]The connection is lost; it is opened again.[/]")


@app.command()
@asks
def outbox(
    asked: AsAgencyOrJson,
    action_id: Annotated[
        UUID | None, typer.Argument(help="The action.", show_default="the newest ones")
    ] = None,
) -> None:
    """Show the outcome of actions that were sent while the ledger node was away."""

    from api.cli.steps.case_tables import outcome_table

    with asked.client() as client:
        outcomes = [client.outcome(action_id)] if action_id else client.outbox().outcomes
        if asked.as_json:
            print_json([outcome.model_dump(mode="json") for outcome in outcomes])
        else:
            out.print(outcome_table(outcomes))
