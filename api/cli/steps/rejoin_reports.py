"""Show what a rejoining node found and moved out of its copy."""

from pathlib import Path

from pydantic import TypeAdapter

from api.cli.output import fail, out, print_json
from api.exchange.mirror_sync import HttpSource
from api.exchange.rejoining import DiscardedTail
from api.node.node import node_client
from api.runtime.settings import Settings
from ledger.export.export_source import ExportSource
from ledger.replication.divergence import Divergence
from ledger.replication.event_source import MirrorSource
from ledger.replication.rejoining import RolledBack

TAILS = TypeAdapter(list[DiscardedTail])


def rejoin_source(settings: Settings, directory: Path | None) -> MirrorSource:
    """Return the ledger to compare with: a directory, or the ledger node."""
    url = settings.ledger_url
    if url is None:
        fail("CASE_LEDGER_LEDGER_URL names the ledger node that the parties decided on; set it")
    if directory is not None:
        return ExportSource(directory)
    return HttpSource(url, node_client(settings, url), wait=0)


def tell_found(found: Divergence, as_json: bool) -> None:
    """Print the last common checkpoint and the events beyond it."""
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


def tell_done(found: Divergence, done: RolledBack, as_json: bool) -> None:
    """Print how many events were moved out of the copy."""
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
