"""Files from elsewhere: ordinary ones alone, of a bounded size.

A pipe never ends, a device has no size, and a link in a directory that somebody handed over leads
out of it.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

SMALL_BYTES = 4 * 1024 * 1024
"""More than any key, policy, receipt, map or action that a command is given has."""


class NotReadableError(ValueError):
    """A file is not read; the message says which and why."""


def open_ordinary(path: Path) -> BinaryIO:
    """Open an ordinary file for reading. Raises ``NotReadableError``, without waiting for anybody.

    A link that the caller names is followed; a pipe, a device, a socket or a directory is refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "no such name"
        raise NotReadableError(f"{path} cannot be read: {said}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotReadableError(f"{path} is no ordinary file")
    return os.fdopen(descriptor, "rb")


def read_ordinary(path: Path, most_bytes: int = SMALL_BYTES) -> bytes:
    """Return the content of an ordinary file. Raises ``NotReadableError``, also past the bound."""
    with open_ordinary(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise NotReadableError(f"{path} has more than {most_bytes} bytes")
    return content


def read_within(directory: Path, name: str, most_bytes: int) -> bytes:
    """Return the content of a file of a directory that somebody handed over.

    Raises ``NotReadableError`` if any part of ``name`` is a link, and as :func:`read_ordinary`.
    """
    return read_ordinary(_without_links(directory, name), most_bytes)


def check_within(directory: Path, name: str) -> None:
    """Check that a library may read this file of a directory that somebody handed over.

    Raises ``NotReadableError`` if it may not.
    """
    open_ordinary(_without_links(directory, name)).close()


def _without_links(directory: Path, name: str) -> Path:
    path = directory
    for part in Path(name).parts:
        path /= part
        if path.is_symlink() or part == "..":
            raise NotReadableError(f"{path} is a link; an export has none")
    return path
