"""Work that goes on in threads of its own for as long as a block runs."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Background:
    """Starts its threads on entry; on exit tells them to stop, and waits until they have.

    A work looks at ``_stopping``, and waits on it where it waits at all.
    """

    def __init__(self, **works: Callable[[], None]) -> None:
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=w, name=name) for name, w in works.items()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._wake()
        for thread in self._threads:
            thread.join()
        self._close()

    def _wake(self) -> None:
        """End the waits that do not look at ``_stopping``."""

    def _close(self) -> None:
        """Let go of what the works used."""
