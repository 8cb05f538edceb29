"""The sources from which a node copies the events of a ledger."""

from collections.abc import Sequence
from typing import Protocol

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteError, verify
from ledger.log.policy import Policy


class SourceError(RuntimeError):
    """The source cannot give the events now; it is asked again later."""


class UntrustedKeyError(SourceError):
    """No log key that counts here signed the source's note."""


class MirrorSource(Protocol):
    """A source to copy from: the ledger node, or another party's copy.

    Every method raises ``ConnectionError`` if the source does not answer.
    """

    @property
    def name(self) -> str:
        """Return the name of the source that evidence states."""

    def head(self, after: int, upto: int | None = None) -> str | None:
        """Return a note that the log signed of more than ``after`` events, else its last.

        If the log signed one of no more than ``upto`` events, it is such a note.
        The result is ``None`` if the source has no note.
        """

    def entries(self, after: int, upto: int) -> Sequence[bytes]:
        """Return the events' exact bytes, from position ``after + 1`` to ``upto``."""

    def published(self) -> str | None:
        """Return the last checkpoint that a quorum of witnesses cosigned, if any."""


def parsed(text: str) -> tuple[Note, Checkpoint]:
    """Read a source's note and its checkpoint.

    Raises ``SourceError`` if the text is no checkpoint.
    """
    try:
        note = Note.parse(text)
        return note, Checkpoint.parse(note.text)
    except NoteError as error:
        raise SourceError(f"the source gave no checkpoint: {error}") from error


def check_signed(note: Note, policy: Policy) -> None:
    """Check that a log key of the policy signed the note.

    Raises ``UntrustedKeyError`` if none did, and ``SourceError`` if such a signature does not
    verify. Anyone can write a note: one that the log did not sign proves nothing against the log.
    """
    try:
        if not verify(note, policy.logs):
            raise UntrustedKeyError("the checkpoint is not signed with a key that is trusted here")
    except NoteError as error:
        raise SourceError(f"the checkpoint is not to be believed: {error}") from error
