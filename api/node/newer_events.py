"""The trouble of a node that is older than the ledger: it must be updated."""

from collections.abc import Sequence

from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.events.newer_event import RULE, needs_update

_TITLE = "This node must be updated"


def newer_troubles(ledger: Ledger) -> Sequence[Trouble]:
    """Return the trouble that an event of this node's database needs a later program.

    Nothing new is recorded: a decision may depend on that event.
    """
    if (position := ledger.newer) is None:
        return ()
    message = (
        f"{needs_update(position)} Until then the views end before it, nothing is recorded here,"
        " and this node's witness cosigns nothing from there on."
    )
    return (Trouble(rule=RULE, message=message, effect=Effect.NO_RECORDING, title=_TITLE),)


def uncopied_troubles(position: int | None) -> Sequence[Trouble]:
    """Return the trouble that the next event of the ledger node needs a later program.

    The copy ends before it. Actions are still passed on to the ledger node.
    """
    if position is None:
        return ()
    message = (
        f"{needs_update(position)} Until then this copy of the ledger ends before it, and its"
        " witness cosigns nothing from there on. What the log signs is checked all the same,"
        " without reading the events. Actions are passed on; their receipts come after the update."
        " This is no fault of the ledger."
    )
    return (Trouble(rule=RULE, message=message, effect=Effect.NOT_READY, title=_TITLE),)
