"""Check that a node has room to record."""

import errno
import time
from pathlib import Path

import psycopg

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.store.disk import MEBIBYTE, Marks, Reserve, Space

_FULL_SECONDS = 60.0
RULE = "disk-low"
TITLE = "The disk is almost full"
NOT_TAKEN = "Nothing new is recorded until there is space. Reading and verification go on."
_MAKE_SPACE = (
    "Make space; recording then goes on by itself. An action that is refused is not recorded: "
    "send it again later, unchanged."
)


class Room:
    """The file systems that a node writes to, and a database that said that its own is full."""

    def __init__(self, settings: Settings) -> None:
        self._marks = marks(settings)
        self._directories = directories(settings)
        self._full_until: dict[str, float] = {}

    def look(self) -> tuple[Trouble, ...]:
        """Return the trouble of a disk that is almost full.

        The check asks the kernel, which takes no time.
        """
        low = {name for name, path in self._directories.items() if self._is_low(path)}
        now = time.monotonic()
        low.update(what for what, until in self._full_until.items() if now < until)
        if not low:
            return ()
        message = f"{NOT_TAKEN} What is almost full: {', '.join(sorted(low))}. {_MAKE_SPACE}"
        return (
            Trouble(
                rule=RULE, message=message, effect=Effect.NO_RECORDING, title=TITLE, status=507
            ),
        )

    def note(self, error: BaseException | None) -> bool:
        """Return whether a full disk caused an error; if so, record nothing new for a minute.

        A database on another machine reports a full disk by such an error.
        """
        while error is not None and not _is_full(error):
            error = error.__cause__
        if error is None:
            return False
        what = "a directory of this node" if isinstance(error, OSError) else "the database server"
        self._full_until[what] = time.monotonic() + _FULL_SECONDS
        return True

    def free_mebibytes(self) -> dict[str, int]:
        """Return the free space of each directory, in mebibytes."""
        return {
            name: Space.of(path).free_bytes // MEBIBYTE for name, path in self._directories.items()
        }

    def _is_low(self, path: Path) -> bool:
        try:
            return self._marks.is_low(Space.of(path))
        except OSError:
            return False


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, psycopg.errors.DiskFull)


def marks(settings: Settings) -> Marks:
    """Return the disk space that the settings keep free, in bytes."""
    low, reserve = settings.disk_low_mebibytes, settings.disk_reserve_mebibytes
    return Marks(
        None if low is None else low * MEBIBYTE, None if reserve is None else reserve * MEBIBYTE
    )


def reserve(settings: Settings) -> Reserve:
    """Return the reserve file, beside the embedded database."""
    return Reserve(settings.data_directory / "reserve", marks(settings))


def directories(settings: Settings) -> dict[str, Path]:
    """Return the directories that a node writes to, each with its name for the operator."""
    found = {"the data directory": settings.data_directory}
    if settings.person_keys is not None:
        found["the directory of persons' keys"] = settings.person_keys
    for number, path in enumerate(settings.disk_directories, 1):
        found[f"directory {number} of CASE_LEDGER_DISK_DIRECTORIES"] = path
    return found
