"""Commands on a node: what it found, and how its copy becomes the ledger."""

from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel

from api.cli.output import AsJson, fail, failures, out, print_json

app = typer.Typer(
    name="node", help="A node: set-up, evidence, history, takeover, parcels.", no_args_is_help=True
)


@app.command()
def evidence(
    save: Annotated[
        Path | None,
        typer.Option(help="Write each false decision into this directory, for third parties."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every pair of signed notes that cannot both be true, and every false decision.

    A third party verifies a written decision with `case-ledger verify decision`.
    """

    from api.cli.steps.own_copies import own_copy
    from api.runtime.settings import Settings
    from ledger.replication.false_decisions import FalseDecisions

    with failures(as_json), own_copy(Settings()) as copy:
        found = copy.mirror.evidence()
        false = FalseDecisions(copy.database).all()
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            for one in false:
                path = save / f"{one.action_id}-{one.id}.json"
                path.write_text(one.file().model_dump_json() + "\n")
        if as_json:
            decisions = [
                {
                    "id": one.id,
                    "found_at": one.found_at.isoformat(),
                    "action_id": str(one.action_id),
                    "what": one.what,
                    "action": one.sd_jwt,
                    "decision": one.decision,
                    "settled_at": one.settled_at.isoformat() if one.settled_at else None,
                    "settled_why": one.settled_why,
                }
                for one in false
            ]
            print_json(
                decisions
                + [
                    {
                        "id": item.id,
                        "found_at": item.found_at.isoformat(),
                        "source": item.source,
                        "what": item.what,
                        "held": item.held,
                        "refused": item.refused,
                        "settled_at": item.settled_at.isoformat() if item.settled_at else None,
                        "settled_why": item.settled_why,
                    }
                    for item in found
                ]
            )
            return
        for item in found:
            notes = f"[bold]held[/]\n{item.held}\n[bold]refused[/]\n{item.refused}"
            title = f"{item.found_at:%d %b %Y %H:%M:%S} UTC, from {item.source}: {item.what}"
            out.print(Panel(notes, title=title, subtitle=item.settled_why or "not settled"))
        for one in false:
            title = f"{one.found_at:%d %b %Y %H:%M:%S} UTC: a false decision"
            text = f"action {one.action_id}\n{one.what}"
            out.print(Panel(text, title=title, subtitle=one.settled_why or "not settled"))
        if not found and not false:
            out.print("[green]Nothing was found.[/]")


@app.command()
def settle(
    why: Annotated[str, typer.Option(help="What the parties found, for the record.")],
    as_json: AsJson = False,
) -> None:
    """Let copying go on, after a person has looked at the evidence. It stays on record.

    False decisions are settled too: the trouble that names them ends.
    """

    from api.cli.steps.own_copies import own_copy
    from api.runtime.settings import Settings
    from ledger.replication.false_decisions import FalseDecisions

    with failures(as_json), own_copy(Settings()) as copy:
        count = copy.mirror.settle(why) + FalseDecisions(copy.database).settle(why)
        if as_json:
            print_json({"settled": count})
        else:
            out.print(f"{count} settled.")


@app.command("take-over")
def take_over(
    decisions: Annotated[
        list[Path], typer.Argument(help="Each coordinator's `log adopt-policy --out` file.")
    ],
    also_from: Annotated[
        list[str] | None,
        typer.Option(help="Another country's node, to copy what this one lacks. May be repeated."),
    ] = None,
    although_it_answers: Annotated[
        bool, typer.Option(help="Take over from a ledger node that still answers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make this country's copy the ledger, by the parties' signed decision.

    Run it with the node stopped. Copy from every other country's node first: no event that any
    party has seen may be lost. Then start `serve` without CASE_LEDGER_LEDGER_URL.
    """

    from api.background_jobs.clock_watch import ClockWatch
    from api.cli.steps.own_copies import answers, copy_from, own_copy
    from api.exchange.mirror_sync import HttpSource
    from api.keys.log_keys import log_keys
    from api.node.node import node_client
    from api.runtime.settings import Settings
    from ledger.replication.failover import only_prepare
    from ledger.replication.failover import take_over as record_takeover
    from ledger.system.bounded_files import read_ordinary

    settings = Settings()
    with failures(as_json), own_copy(settings) as copy:
        if not although_it_answers and answers(settings.ledger_url):
            fail("the ledger node still answers: two ledgers would grow apart; stop it first")
        watch = ClockWatch.of(settings, copy.database)
        for url in also_from or []:
            client = node_client(settings, url, watch.heard_from(url, at_once=True))
            copy_from(copy.mirror, HttpSource(url, client, wait=0), as_json)
        if troubles := watch.check():
            fail(troubles[0].message)
        texts = [read_ordinary(path).decode("ascii").strip() for path in decisions]
        own = [signer.verifier for signer in log_keys(settings)]
        receipts = record_takeover(copy.ledger, texts, own)
        last = max(receipt.position for receipt in receipts)
        if only_prepare(texts):
            if as_json:
                print_json({"events": copy.mirror.size, "announced": last})
                return
            out.print(
                f"[green]Announced[/] in this copy, at position {last}. Start `case-ledger serve`"
                " without CASE_LEDGER_LEDGER_URL, so that the party can act here. After the days of"
                " notice stop it, and run this again with the decisions.",
                soft_wrap=True,
            )
        elif as_json:
            print_json({"events": copy.mirror.size, "decision": last})
        else:
            out.print(
                f"[green]This node has the ledger:[/] {copy.mirror.size} events, the decision at "
                f"position {last}. Start `case-ledger serve` without CASE_LEDGER_LEDGER_URL."
            )
