"""Commands that act, and that show cases, trails, events and what waits."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID, uuid4

import httpx
import typer

from api.cli.building import build, fields_table, kinds_table
from api.cli.case_tables import case_list, case_panel, event_table, outcome_table, trail_table
from api.cli.connection import AsAgencyOrJson, MayAsk, asks
from api.cli.kept_decisions import keep_decision
from api.cli.output import OUTCOME_UNKNOWN, err, fail, failures, out, print_json
from api.cli.unsent import UnsentAction, UnsentActions
from api.client import LedgerClient, RefusedError, WaitingError
from api.client.errors import UNREADABLE
from api.runtime.settings import Settings
from ledger.log.signed_decision import DecisionError
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage
from projections.time.bitemporal import Moment

app = typer.Typer()


@app.command()
@asks
def act(
    asked: MayAsk,
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
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send again what was signed before and has no outcome yet."),
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="Send again for so many seconds where no answer comes.")
    ] = 10.0,
) -> None:
    """Sign an action and record it. With a kind alone, show its fields.

    Where the node's answer does not come, the action may be recorded or not. The signed action is
    kept, and --resend completes it: it is recorded once, however often it is sent.
    """
    with failures(asked.as_json):
        if resend:
            if kind is not None or case is not None or file is not None:
                fail("--resend takes no action: it sends what was signed before")
            _resend(
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
                case_id, acted_on = uuid4(), 0
            else:
                case_id = case
                acted_on = version if version is not None else _present_version(client, case)
            action_id = uuid4()
            unsent = UnsentAction(
                action_id=action_id,
                kind=kind,
                agency=acting,
                url=asked.url,
                case_id=case_id,
                case_version=acted_on,
                signed=str(client.sign(action, case_id, action_id)),
            )
            kept = UnsentActions(Settings().data_directory)
            kept.keep(unsent)
            _send(client, kept, unsent, asked.as_json)


def _present_version(client: LedgerClient, case: UUID) -> int:
    """Return the version of a case. One that was opened just now may not be in the views yet."""
    try:
        return client.case(case).view.version
    except RefusedError as error:
        if error.problem.rule != "unknown-case":
            raise
    head = client.ready().head
    return client.case(case, at_least=head).view.version


def _acting(agency: str | None) -> str:
    if agency is None:
        fail("say which agency acts: --agency, or CASE_LEDGER_AGENCY")
    return agency


def _resend(client: LedgerClient, url: str, as_json: bool) -> None:
    """Send each kept action of the client's agency to its node, the first kept first."""
    kept = UnsentActions(Settings().data_directory)
    with client:
        waiting = kept.of(client.agency, url)
        if not waiting and not as_json:
            out.print(f"Nothing of {client.agency} waits to be sent to {url}.", soft_wrap=True)
        for unsent in waiting:
            _send(client, kept, unsent, as_json)


def _send(client: LedgerClient, kept: UnsentActions, unsent: UnsentAction, as_json: bool) -> None:
    """Send a kept action. Its file is removed once the node answers for good.

    The decision that the ledger node signed is kept. One that the log's key did not sign is none.
    """
    settings = Settings()
    try:
        answered = unsent.send(client)
        receipt = answered.receipt
        decision = keep_decision(settings, client, unsent.signed, answered.decision)
    except RefusedError as error:
        problem = error.problem
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or problem.rule == UNREADABLE:
            _say_not_known(unsent, f"it answered {problem.status}")
        try:
            keep_decision(settings, client, unsent.signed, error.decision)
        except DecisionError as wrong:
            _say_not_known(unsent, str(wrong))
        kept.forget(unsent)
        raise
    except DecisionError as wrong:
        _say_not_known(unsent, str(wrong))
    except WaitingError:
        kept.forget(unsent)  # the node has it in its outbox
        raise
    except httpx.TransportError as error:
        _say_not_known(unsent, type(error).__name__)
    kept.forget(unsent)
    if as_json:
        print_json(receipt)
    else:
        out.print(
            f"[green]Recorded[/] {unsent.kind} at position {receipt.position}: "
            f"case {receipt.case_id}, version {receipt.case_version}",
            soft_wrap=True,
        )
        if decision is not None:
            out.print(f"[dim]signed receipt[/] {decision}", soft_wrap=True)


def _say_not_known(unsent: UnsentAction, why: str) -> NoReturn:
    fail(
        f"{unsent.url} gave no receipt ({why}). {unsent.kind} (action {unsent.action_id}, "
        f"case {unsent.case_id}) may be recorded or not. The signed action is kept: complete it "
        f"with `case-ledger act --resend -a {unsent.agency}`, which records it once.",
        OUTCOME_UNKNOWN,
    )


@app.command()
@asks
def case(
    asked: AsAgencyOrJson,
    case_id: Annotated[UUID | None, typer.Argument(help="One case; none for the list.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="As it was: a position, or a time with its offset.")
    ] = None,
    status: CaseStatus | None = None,
    stage: Stage | None = None,
    priority: Priority | None = None,
    awaits_us: Annotated[bool | None, typer.Option("--awaits-us/--awaits-others")] = None,
) -> None:
    """Show a case as the agency's country sees it, or list its cases."""
    now = datetime.now(UTC)
    with asked.client() as client:
        if case_id is None:
            found = list(
                client.cases(status=status, stage=stage, priority=priority, awaits_us=awaits_us)
            )
            if asked.as_json:
                print_json([view.model_dump(mode="json") for view in found])
            else:
                out.print(case_list(found, now))
            return
        then = Moment.parse(as_of) if as_of else Moment()
        seen = client.case(case_id, as_of_position=then.position, as_of_time=then.time)
        if asked.as_json:
            print_json(seen)
        else:
            out.print(case_panel(seen.view, then.time or now, seen.disclosed))


@app.command()
@asks
def trail(
    asked: AsAgencyOrJson,
    case_id: Annotated[
        UUID | None, typer.Argument(help="The case; none for the protocol's own trail.")
    ] = None,
) -> None:
    """Show an audit trail: every event, who, when, and what it changed."""
    with asked.client() as client:
        entries = list(client.trail(case_id) if case_id else client.protocol_trail())
        if asked.as_json:
            print_json([entry.model_dump(mode="json") for entry in entries])
        else:
            out.print(trail_table(entries))


@app.command()
@asks
def events(
    asked: AsAgencyOrJson,
    after: Annotated[int, typer.Option(min=0, help="Begin after this position.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
) -> None:
    """Show the ledger's events by position."""
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
    action_id: Annotated[UUID | None, typer.Argument(help="One action; none for the last.")] = None,
) -> None:
    """Show what became of actions that were handed in while the ledger node was away."""
    with asked.client() as client:
        outcomes = [client.outcome(action_id)] if action_id else client.outbox().outcomes
        if asked.as_json:
            print_json([outcome.model_dump(mode="json") for outcome in outcomes])
        else:
            out.print(outcome_table(outcomes))
