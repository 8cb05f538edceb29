"""Open this node's ledger or copy, and ask the node that it copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from rich.progress import Progress, SpinnerColumn, TextColumn

from api.cli.output import fail, out
from api.client.bounded_answers import bounded_client
from api.keys.log_keys import trusted_policy
from api.runtime.node_database import NodeDatabase, open_store
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.replication.event_source import MirrorSource, SourceError
from ledger.replication.mirror import DivergedError, Mirror
from ledger.store.database import Database

_HEALTH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class OwnCopy:
    """This node's ledger or copy of it, and what copies into it."""

    store: NodeDatabase
    database: Database
    ledger: Ledger
    mirror: Mirror


@contextmanager
def own_copy(settings: Settings) -> Iterator[OwnCopy]:
    """Open this node's copy of the ledger, while the node itself need not run."""
    with (
        open_store(settings) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
    ):
        yield OwnCopy(store, database, ledger, Mirror(ledger, database, trusted_policy(settings)))


def copy_from(mirror: Mirror, source: MirrorSource, as_json: bool) -> None:
    """Copy the events that a source has and this copy lacks.

    Prints the reason and exits if it cannot.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, disable=as_json, transient=True) as progress:
        task = progress.add_task("", total=None)
        try:
            while mirror.step(source):
                progress.update(task, description=f"{mirror.size} events, from {source.name}")
        except ConnectionError as error:
            fail(f"{source.name} does not answer ({error}); leave it out only if it is lost too")
        except SourceError as error:
            if mirror.size == 0:
                fail(f"{source.name}: {error}")
            # It has less than is here already: nothing to copy.
        except DivergedError as error:
            fail(f"{source.name}: {error}; see `case-ledger node evidence`")


def answers(url: str | None) -> bool:
    """Return whether a node answers to its address."""
    if url is None:
        return False
    try:
        with bounded_client(timeout=5, limit=_HEALTH_BYTES, seconds=5) as http:
            return http.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
