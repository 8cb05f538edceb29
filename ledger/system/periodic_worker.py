"""Work that one thread repeats, step by step, until it is stopped."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import structlog

from ledger.system.backoff import USUAL, Backoff
from ledger.system.health import StepHealth

STOP_GRACE_SECONDS = 2.0
"""A step has so long to end after its worker is asked to stop. Then it loses its connections."""
_log = structlog.get_logger(__name__)

Step = Callable[[], float | None]
"""Does some work. Returns how many seconds to wait before the next step; ``None``: the usual time.

It raises any ``Exception`` where it failed, and ``NothingMoreToDo`` where no step will follow.
"""


class NothingMoreToDo(Exception):
    """The work of a worker is complete: its thread ends."""


class PeriodicWorker:
    """Repeats a step in a thread of its own for as long as the block runs.

    After a failure it waits longer each time, as ``backoff`` says. A step without a failure ends
    that. A subclass gives its own method as the step, and may override ``_close`` and ``_let_go``.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        every: float,
        first_after: float = 0.0,
        at_most_every: float = 0.0,
        backoff: Backoff = USUAL,
    ) -> None:
        """Set up the worker; all times are in seconds.

        ``every`` is the usual time between two steps. The worker waits ``at_most_every`` even if
        :meth:`wake` is called meanwhile. The first step begins ``first_after`` the start.
        """
        self.name = name
        self.__step = step
        self.__every = every
        self.__first_after = first_after
        self.__at_most_every = at_most_every
        self.__backoff = backoff
        self.__changed = threading.Condition()
        self.__is_stopping = False
        self.__woken_at = math.inf
        """When the next step begins at the latest by :meth:`wake`, by ``time.monotonic()``."""
        self.__is_over = False
        self.__begun = 0
        self.__ended = 0
        self.__health = StepHealth(0, 0, None)
        self.__thread = threading.Thread(target=self.__run, name=name)

    @property
    def health(self) -> StepHealth:
        """Return how the steps went until now."""
        return self.__health

    @property
    def is_stopping(self) -> bool:
        """Return whether the worker was asked to stop.

        A long step asks this, and ends early.
        """
        return self.__is_stopping

    def wake(self, within: float = 0.0) -> None:
        """Begin the next step at once, even if a step is under way now.

        With ``within``, the step begins within so many seconds. So work for which a person waits
        comes first, and one step answers several wake-ups. After a failure, the pause goes on: a
        wake-up does not shorten it.
        """
        with self.__changed:
            self.__wake(within)

    def __wake(self, within: float) -> None:
        at = time.monotonic() + within
        if at < self.__woken_at:
            self.__woken_at = at
            self.__changed.notify_all()

    def wait_for_step(self, seconds: float = 60.0) -> None:
        """Wake the worker, and return once a step that began after this call has ended.

        Raises ``TimeoutError`` after so many seconds, and ``RuntimeError`` if the worker ended.
        """
        with self.__changed:
            wanted = self.__begun + 1
            self.__wake(0.0)
            self.__changed.wait_for(lambda: self.__ended >= wanted or self.__is_over, seconds)
            if self.__ended >= wanted:
                return
            if self.__is_over:
                raise RuntimeError(f"the worker {self.name} ended")
        raise TimeoutError(f"no step of {self.name} ended in {seconds} seconds")

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self.__thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self.__thread.start()

    def ask_to_stop(self) -> None:
        """Let the step that is under way be the last one."""
        with self.__changed:
            self.__is_stopping = True
            self.__changed.notify_all()
        self._asked_to_stop()

    def join(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, and return whether it has."""
        if self.__thread.ident is not None:
            self.__thread.join(seconds)
        return not self.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stop_together([self])

    def rest(self, seconds: float) -> None:
        """Wait within a step; return at once if the worker is asked to stop."""
        with self.__changed:
            self.__changed.wait_for(lambda: self.__is_stopping, seconds)

    def _asked_to_stop(self) -> None:
        """End waits of a step that do not ask ``is_stopping``.

        Another thread calls it.
        """

    def _let_go(self) -> None:
        """End a step that did not end in time: close connections.

        Another thread calls it. It closes only the connections that the worker itself opened: see
        :func:`stop_together` for the rest.
        """

    def _close(self) -> None:
        """Close the resources that the steps used.

        It is called once, after the last step.
        """

    def __run(self) -> None:
        try:
            self.__rest(self.__first_after)
            while not self.__is_stopping:
                self.__take_step()
        except NothingMoreToDo:
            with self.__changed:
                self.__ended += 1
        finally:
            with self.__changed:
                self.__is_over = True
                self.__changed.notify_all()

    def __take_step(self) -> None:
        with self.__changed:
            self.__begun += 1
            self.__woken_at = math.inf
        try:
            pause = self.__step()
        except NothingMoreToDo:
            raise
        except Exception as error:
            self.__failed(error)
            at_least = pause = self.__backoff.seconds(self.__health.failures)
        else:
            self.__health = self.__health.succeeded()
            at_least = self.__at_most_every
        with self.__changed:
            self.__ended += 1
            self.__changed.notify_all()
        self.__rest(self.__every if pause is None else pause, at_least)

    def __failed(self, error: Exception) -> None:
        self.__health = self.__health.failed(error)
        if not self.__is_stopping:
            self.__health.log(self.name)

    def __rest(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait for some time, or until woken: then too as long as ``at_least``."""
        until = time.monotonic() + seconds
        with self.__changed:
            self.__changed.wait_for(lambda: self.__is_stopping, at_least)
            while not self.__is_stopping:
                left = min(until, self.__woken_at) - time.monotonic()
                if left <= 0:
                    return
                self.__changed.wait(left)


def stop_together(
    workers: Iterable[PeriodicWorker], let_go: Callable[[], None] = lambda: None
) -> None:
    """Stop workers, all at the same time, and close them, the last one first.

    Where a step of theirs does not end within ``STOP_GRACE_SECONDS``, ``let_go`` is called. It
    closes the resources that workers share, such as pools of connections: a step that waits for a
    connection to a database that is away fails then, and ends.
    """
    workers = list(workers)
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + STOP_GRACE_SECONDS
    late = [one for one in workers if not one.join(max(0.0, deadline - time.monotonic()))]
    if late:
        _log.warning("steps did not end in time", workers=[one.name for one in late])
        let_go()
    for one in late:
        one._let_go()
    for one in late:
        one.join()
    for worker in reversed(workers):
        worker._close()
