"""Runs parts of one program in processes of their own, forked from one that has loaded it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import NoReturn

import structlog

_FORKS = get_context("fork")
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 30.0
_SOON_SECONDS = 1.0
AGAIN = 75
"""The exit code of a part that asks to be started again."""
_log = structlog.get_logger(__name__)


class EndedError(RuntimeError):
    """A part ended by itself."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"the process {name} ended with code {code}")
        self.code = code


def run_together(
    parts: Mapping[str, Callable[[], None]], meanwhile: Callable[[], None] = lambda: None
) -> NoReturn:
    """Run each part in its own process until one ends by itself, or a signal stops this process.

    A part that was killed is started again. ``meanwhile`` is called now and then. There must be no
    thread when this is called, nor may ``meanwhile`` start one: a fork would lose it. Raises
    ``EndedError``, and ``SystemExit`` as the signal handlers of this process do.
    """
    lives, its_end = os.pipe()
    running: dict[str, _ChildProcess] = {}
    try:
        for name, work in parts.items():
            running[name] = _ChildProcess(name, work, lives, its_end)
        while True:
            wait([part.process.sentinel for part in running.values()], _LOOK_SECONDS)
            meanwhile()
            for part in running.values():
                part.look()
    finally:
        _stop([part.process for part in running.values()])
        os.close(lives)
        os.close(its_end)


@contextmanager
def beside(name: str, work: Callable[[], None]) -> Iterator[int]:
    """Run one part in a process of its own for as long as the block runs. Gives its id.

    As with :func:`run_together`, there must be no thread yet.
    """
    lives, its_end = os.pipe()
    part = _ChildProcess(name, work, lives, its_end)
    try:
        yield part.process.pid or 0
    finally:
        _stop([part.process])
        os.close(lives)
        os.close(its_end)


def leave_when_told() -> None:
    """Make SIGTERM and SIGINT an ordinary exit, so that all open resources are closed.

    The HTTP server finishes its requests first, then hands the signal on to this handler. A second
    signal does not interrupt the closing.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)


class _ChildProcess:
    """One process, which is started again where it was killed."""

    def __init__(self, name: str, work: Callable[[], None], lives: int, its_end: int) -> None:
        self._name = name
        self._work = work
        self._pipe = lives, its_end
        self._start()

    def look(self) -> None:
        """Start it again where a signal ended it, or where it asks for that.

        Raises ``EndedError`` where it ended itself.
        """
        code = self.process.exitcode
        if code is None:
            return
        if code >= 0 and code != AGAIN:
            raise EndedError(self._name, code)
        _log.error("a process is started again", part=self._name, code=code)
        if time.monotonic() - self._began < _SOON_SECONDS:
            time.sleep(_SOON_SECONDS)
        self._start()

    def _start(self) -> None:
        self._began = time.monotonic()
        self.process: ForkProcess = _FORKS.Process(target=self._run, name=self._name)
        self.process.start()

    def _run(self) -> None:
        """Run the work in the new process."""
        lives, its_end = self._pipe
        os.close(its_end)
        threading.Thread(target=_end_with, args=(lives,), name="parent", daemon=True).start()
        leave_when_told()
        self._work()


def _end_with(lives: int) -> None:
    """End this process at once when its parent ends.

    No other process has the parent's end of the pipe.
    """
    os.read(lives, 1)
    os._exit(1)


def _stop(processes: list[ForkProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            _log.error("a process did not stop in time and is killed", part=process.name)
            process.kill()
            process.join()


def _leave(*_: object) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)
