"""Holds the checkpoint that a vote names against the ledger that records the vote.

A vote decides whose key signs the ledger. It must not count in another history than the voter saw:
who has the ledger's keys could else put the votes on a fork. So a vote names a checkpoint, and is
refused in each ledger that does not begin with the events of that checkpoint.
"""

from collections.abc import Callable

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.registration import NamedCheckpoint

RootAt = Callable[[int], bytes | None]
"""Returns the root of a ledger's first events by their number; ``None`` where it has fewer."""
ANOTHER_HISTORY = "another-history"
"""The rule by which a vote of another history is refused."""


def named_checkpoint(action: SignedAction) -> tuple[int, bytes] | None:
    """Return size and root of the checkpoint that an act names, or ``None`` if it names none."""
    if action.kind != "log_policy_adopted" or (named := action.fields.get("checkpoint")) is None:
        return None
    return named["size"], bytes.fromhex(named["root"])


def named_by(note: str) -> NamedCheckpoint:
    """Return the checkpoint of a note, as a vote names it. Raises ``NoteError``."""
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    return NamedCheckpoint(size=checkpoint.size, root=checkpoint.root.hex())


def check_named_checkpoint(action: SignedAction, root_at: RootAt) -> None:
    """Check that a vote names a checkpoint of this ledger's history.

    Raises ``Refusal`` (``another-history``) if it names another history.
    """
    if (named := named_checkpoint(action)) is None:
        return
    size, root = named
    if (own := root_at(size)) == root:
        return
    if own is None:
        what = f"it names a checkpoint of {size} events, and this ledger has fewer"
    else:
        what = f"it names a checkpoint of {size} events with another root than this ledger has"
    raise Refusal(
        Ground.CONFLICT,
        ANOTHER_HISTORY,
        f"The vote was given in another history of the ledger: {what}. Compare the checkpoint with"
        " the other parties, and sign again with one that all of them have.",
        "act.checkpoint",
    )


def among_first(events: int, root_at: RootAt) -> RootAt:
    """Return ``root_at`` of the first ``events`` events alone."""
    return lambda size: root_at(size) if size <= events else None
