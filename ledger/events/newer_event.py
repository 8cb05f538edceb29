"""An event that only a later program understands: its kind, schema version or protocol text.

A program that meets such an event can judge neither the event nor anything after it. It goes no
further. It calls nothing false, because a later program may find that all holds.
"""

from collections.abc import Iterable, Iterator

from ledger.events.event import ActionRecorded
from ledger.refusals import OperatorError

RULE = "update-this-node"
"""The stable name of this condition, as a trouble and as a refusal."""


class NewerEventError(OperatorError):
    """The event at ``position`` needs a later program, which the message says."""

    def __init__(self, position: int) -> None:
        super().__init__(needs_update(position))
        self.position = position


def needs_update(position: int) -> str:
    """Return the message about an event at ``position`` that needs a later program."""
    return (
        f"The event at position {position} was recorded by a later program than this one. Update"
        " this program: it then goes on from that position by itself."
    )


def understood(events: Iterable[ActionRecorded]) -> Iterator[ActionRecorded]:
    """Yield the events. Raises ``NewerEventError`` at the first that needs a later program."""
    for event in events:
        check_understood(event)
        yield event


def is_understood(event: ActionRecorded) -> bool:
    """Return whether this program has the kind and the schema version of a recorded event."""
    mark = event.action.mark
    return mark is None or not mark.is_newer


def check_understood(event: ActionRecorded) -> None:
    """Check that this program has the kind and the schema version of a recorded event.

    Raises ``NewerEventError`` if it does not.
    """
    if not is_understood(event):
        raise NewerEventError(event.position or 0)
