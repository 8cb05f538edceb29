"""The mark of a data directory that holds a practice ledger, so that no real node opens it."""

from pathlib import Path

from ledger.refusals import OperatorError

MARK = "PRACTICE"
_TEXT = "This directory holds a practice ledger of case-ledger. Every person in it is invented.\n"


class PracticeError(OperatorError):
    """A practice ledger and a real one would meet; the message says what to do."""


def check_no_practice(directory: Path) -> None:
    """Check that a real node's data directory holds no practice ledger.

    Raises ``PracticeError``.
    """
    if (directory / MARK).exists():
        raise PracticeError(
            f"{directory} holds a practice ledger, whose persons are invented. Serve it with"
            " `case-ledger practice`, or set CASE_LEDGER_DATA_DIRECTORY to the node's own"
            " directory."
        )


def claim_for_practice(directory: Path) -> None:
    """Make a directory that of a practice ledger, or find that it is one.

    Raises ``PracticeError`` if anything else is in it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = directory / MARK
    if mark.exists():
        return
    if any(directory.iterdir()):
        raise PracticeError(
            f"{directory} holds something else than a practice ledger, perhaps a real ledger and"
            " its keys. Choose an empty directory with --directory."
        )
    mark.write_text(_TEXT)
