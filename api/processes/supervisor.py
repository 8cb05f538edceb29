"""Runs parts of one program in processes of their own, forked from one that has loaded it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import NoReturn, Self

import structlog

_FORKS = get_context("fork")
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 30.0
_SOON_SECONDS = 1.0
_STOPPING = (signal.SIGTERM, signal.SIGINT)
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
    ``EndedError``, and ``SystemExit`` after SIGTERM or SIGINT.
    """
    with _told_to_stop() as told, _Family() as family:
        for name, work in parts.items():
            family.start(name, work)
        while told not in wait([told, *family.sentinels()], _LOOK_SECONDS):
            meanwhile()
            family.look()
    _leave()


@contextmanager
def beside(name: str, work: Callable[[], None]) -> Iterator[int]:
    """Run one part in a process of its own for as long as the block runs. Gives its id.

    As with :func:`run_together`, there must be no thread yet.
    """
    with _Family() as family:
        yield family.start(name, work).process.pid or 0


def leave_when_told() -> None:
    """Make SIGTERM and SIGINT an ordinary exit, so that all open resources are closed.

    The HTTP server finishes its requests first, then hands the signal on to this handler. A second
    signal does not interrupt the closing.
    """
    for number in _STOPPING:
        signal.signal(number, _leave)


class _Family:
    """The processes of the parts. They end with the block, or with this process if it is killed."""

    def __init__(self) -> None:
        self._parts: list[_ChildProcess] = []

    def start(self, name: str, work: Callable[[], None]) -> "_ChildProcess":
        part = _ChildProcess(name, work, *self._lifeline)
        self._parts.append(part)
        part.start()
        return part

    def sentinels(self) -> list[int]:
        """Return what becomes ready when a process ends."""
        return [part.process.sentinel for part in self._parts]

    def look(self) -> None:
        """Start parts again. Raises as :meth:`_ChildProcess.look`."""
        for part in self._parts:
            part.look()

    def __enter__(self) -> Self:
        self._lifeline = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        _stop([part.process for part in self._parts if part.process.pid is not None])
        for end in self._lifeline:
            os.close(end)


class _ChildProcess:
    """One process, which is started again where it was killed."""

    def __init__(self, name: str, work: Callable[[], None], lives: int, its_end: int) -> None:
        self._name = name
        self._work = work
        self._lifeline = lives, its_end
        self.process: ForkProcess = self._new()

    def start(self) -> None:
        """Fork the process.

        Signals wait meanwhile. An exception of a signal's handler is lost where it is raised in a
        callback of the fork.
        """
        self._began = time.monotonic()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

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
        self.process = self._new()
        self.start()

    def _new(self) -> ForkProcess:
        return _FORKS.Process(target=self._run, name=self._name)

    def _run(self) -> None:
        """Run the work in the new process."""
        lives, its_end = self._lifeline
        os.close(its_end)
        threading.Thread(target=_end_with, args=(lives,), name="parent", daemon=True).start()
        leave_when_told()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        self._work()


@contextmanager
def _told_to_stop() -> Iterator[int]:
    """Note signals to stop instead of raising an exception wherever this process is just then.

    Gives a descriptor, readable once there was a signal.
    """
    told, note = os.pipe()
    os.set_blocking(note, False)

    def noted(*_: object) -> None:
        with suppress(BlockingIOError):
            os.write(note, b"s")

    before = [(number, signal.signal(number, noted)) for number in _STOPPING]
    try:
        yield told
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        os.close(told)
        os.close(note)


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
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)
