"""Read a directory's files again when one is added, replaced or removed."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
_Stamp: TypeAlias = tuple[int, int] | None
_UNREAD: _Stamp = (-1, -1)


class Reread(Generic[T]):
    """The value that ``read`` returns for a directory, read again after each change of its entries.

    An exception of the first reading goes to the caller. If a later reading raises ``ValueError``,
    the earlier value stays and the next use reads again: a file may be half copied.
    """

    def __init__(self, directory: Path, read: Callable[[], T]) -> None:
        self._directory = directory
        self._read = read
        self._lock = threading.Lock()
        # Before the reading: a change that comes while it is under way is not missed.
        self._seen: _Stamp = self._stamp()
        self._value = read()

    @property
    def current(self) -> T:
        """Return the value for the directory as it is now."""
        if self._stamp() != self._seen:
            with self._lock:
                if (found := self._stamp()) != self._seen:
                    self._seen = _UNREAD
                    with suppress(ValueError):
                        self._value, self._seen = self._read(), found
        return self._value

    def _stamp(self) -> _Stamp:
        try:
            found = self._directory.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
