"""Holds the checkpoint that a vote names against the ledger that records the vote.

A vote decides whose key signs the ledger, or which text of the protocol judges its events. A vote
must not count in another history than the voter verified: a holder of the ledger's keys could
otherwise put the votes on a fork. So a vote names a checkpoint, and every node refuses the vote in
a ledger that does not begin with the events of that checkpoint.
"""

from collections.abc import Callable

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.registration import NamedCheckpoint

RootAt = Callable[[int], bytes | None]
"""Returns the root of a ledger's first events by their number; ``None`` where it has fewer."""
VOTES = frozenset({"log_policy_adopted", "amendment_accepted", "accession_accepted"})
"""The kinds of acts that name a checkpoint."""
ANOTHER_HISTORY = "another-history"
"""The rule by which a vote of another history is refused."""
_SINCE_EDITION = 2
"""From this edition of the rules on, a vote must name a checkpoint."""


def named_checkpoint(action: SignedAction) -> tuple[int, bytes] | None:
    """Return size and root of the checkpoint that an act names, or ``None`` if it names none."""
    if action.kind not in VOTES or (named := action.fields.get("checkpoint")) is None:
        return None
    return named["size"], bytes.fromhex(named["root"])


def named_by(note: str) -> NamedCheckpoint:
    """Return the checkpoint of a note, as a vote names it. Raises ``NoteError``."""
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    return NamedCheckpoint(size=checkpoint.size, root=checkpoint.root.hex())


def check_names_one(action: SignedAction, edition: int, least: int = 1) -> None:
    """Check that a vote names a checkpoint of ``least`` events or more, if ``edition`` asks for it.

    Raises ``Refusal`` (``vote-checkpoint``) if it does not.
    """
    if edition < _SINCE_EDITION:
        return
    if (named := named_checkpoint(action)) is None:
        raise _without_checkpoint(
            "The vote names no checkpoint, so that it would count in every history of the ledger;"
            " name one that you verified (the command that signs the vote does)."
        )
    if named[0] < least:
        raise _without_checkpoint(
            f"The vote names a checkpoint of {named[0]} events, which has not the proposal at"
            f" position {least}: name one that you verified after you read the proposal."
        )


def _without_checkpoint(message: str) -> Refusal:
    return Refusal(Ground.INVALID, "vote-checkpoint", message, "act.checkpoint")


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
