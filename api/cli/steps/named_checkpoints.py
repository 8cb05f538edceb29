"""The checkpoint that a coordinator's vote names: read from a file, or published at a node."""

from pathlib import Path

from api.cli.output import out
from api.client import LedgerClient
from api.client.errors import RefusedError
from ledger.log.fingerprint import spoken
from ledger.log.note import MAX_BYTES
from ledger.procedure.named_checkpoint import named_by
from ledger.system.backoff import Backoff
from ledger.system.bounded_files import read_ordinary
from ledger.system.retrying import retrying
from ledger.vocabulary.registration import NamedCheckpoint

_PUBLISHED_SECONDS = 20


class NotPublishedError(ValueError):
    """The node has published no checkpoint yet that has the event."""


def read_named(file: Path) -> NamedCheckpoint:
    """Read the checkpoint of a file. Raises ``NoteError`` if it is no checkpoint."""
    return named_by(read_ordinary(file, MAX_BYTES).decode("utf-8"))


def chosen(client: LedgerClient, file: Path | None, position: int) -> NamedCheckpoint:
    """Return the checkpoint of a file, or without one the node's, with the event at ``position``.

    Raises ``NoteError`` if the file has no checkpoint, and ``NotPublishedError``.
    """
    return published_at(client, position) if file is None else read_named(file)


def tell_named(named: NamedCheckpoint) -> None:
    """Print the ledger that a vote is for."""
    root = spoken(bytes.fromhex(named.root))
    out.print(f"The vote is for the ledger of {named.size} events with the root {root}")


@retrying(NotPublishedError, seconds=_PUBLISHED_SECONDS, backoff=Backoff(0.2, 1.0)).wraps
def published_at(client: LedgerClient, position: int) -> NamedCheckpoint:
    """Return the last checkpoint that the node published, which has the event at ``position``.

    Publication follows an event within about a second, so the function asks again for a while.
    Raises ``NotPublishedError`` if the node publishes no such checkpoint meanwhile.
    """
    try:
        named = named_by(client.checkpoint())
    except RefusedError as refused:
        if refused.problem.rule != "not-published":
            raise
        named = None
    if named is None or named.size < position:
        raise NotPublishedError(
            f"the node has published no checkpoint yet that has the event at position {position}:"
            " try again once `published` in its /ready has come there, or name a checkpoint that"
            " you verified with --checkpoint"
        )
    return named
