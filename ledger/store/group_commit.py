"""Group commit: one transaction and one fsync do the work of several concurrent callers.

No caller waits to fill a group: a group is the work that came in while the group before was under
way. A caller that finds no group under way does the work in its own thread, so that a single writer
pays nothing.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T, R]):
    """One caller's item, and the lock that the caller sleeps on."""

    __slots__ = ("error", "is_done", "item", "outcome", "wake")

    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: R | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit(Generic[T, R]):
    """Calls ``work`` with the items of concurrent callers, one group at a time.

    ``work`` gives for each item its outcome, or the exception to raise to that caller alone. An
    exception that ``work`` itself raises is raised to every caller of the group. ``work`` may call
    :meth:`gather` after it waited for a lock: the items that came in meanwhile join the group.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R | Exception]], *, at_most: int
    ) -> None:
        self._work = work
        self._at_most = at_most
        self._lock = threading.Lock()
        self._queue: list[_Waiting[T, R]] = []
        self._is_led = False
        self._group: list[_Waiting[T, R]] = []
        """The group under way; the caller that leads it has it alone."""

    def gather(self) -> Sequence[T]:
        """Let the items that came in since the group began join it, and return them.

        Only ``work`` may call this, and its outcomes end with those of these items, in their order.
        """
        with self._lock:
            more = self._queue[: self._at_most - len(self._group)]
            del self._queue[: len(more)]
        self._group += more
        return [waiting.item for waiting in more]

    def call(self, item: T) -> R:
        """Return the outcome of ``item``, after its group is done.

        Raises the exception that the item's work came to.
        """
        own: _Waiting[T, R] = _Waiting(item)
        with self._lock:
            self._queue.append(own)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            own.wake.acquire()  # until another caller has done it, or hands over the lead
        if not own.is_done:
            self._lead(own)
        if own.error is not None:
            raise own.error
        return own.outcome  # type: ignore[return-value]

    def _lead(self, own: _Waiting[T, R]) -> None:
        group = self._group = []
        try:
            self._settle(group)
        finally:
            with self._lock:
                successor = self._queue[0] if self._queue else None
                self._is_led = successor is not None
            for waiting in group:
                waiting.is_done = True
                if waiting is not own:
                    waiting.wake.release()
            if successor is not None:
                successor.wake.release()

    def _settle(self, group: list[_Waiting[T, R]]) -> None:
        try:
            outcomes = self._work(self.gather())
            for waiting, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    waiting.error = outcome
                else:
                    waiting.outcome = outcome
        except BaseException as error:
            for waiting in group:
                waiting.error = error
