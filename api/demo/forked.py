"""`case-ledger` in processes of its own, each forked from one that has loaded it already.

To load the program takes longer than most commands run.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

_FORKS = multiprocessing.get_context("forkserver")
_LOADED = "api.demo.loaded"


class TookTooLongError(TimeoutError):
    """A process did not end in the time that it was given."""


@dataclass(frozen=True, slots=True)
class FinishedCommand:
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


class Forked:
    """A command that runs, with ``env`` and nothing else as its environment.

    What it prints goes into files, after what they hold.
    """

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], *, out: Path, err: Path
    ) -> None:
        _FORKS.set_forkserver_preload([_LOADED])
        self._process = _FORKS.Process(
            target=_main, args=(list(words), dict(env), str(Path.cwd()), str(out), str(err))
        )
        # Whether it prints to a terminal is found out while it is loaded: it does not.
        with patch.dict(os.environ, TERM="dumb"):
            self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        if pid is None:
            raise RuntimeError("it was never started")
        return pid

    def poll(self) -> int | None:
        """Return the exit code, or minus the number of the signal that ended the process.

        Returns ``None`` while the process runs.
        """
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end and return its exit code.

        Raises ``TookTooLongError`` after ``timeout`` seconds, and lets the process go on.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TookTooLongError(f"it still runs after {timeout} seconds")
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, or do nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process as a crash or the kernel does, without a chance to clean up.

        The process is gone on return.
        """
        self.send_signal(signal.SIGKILL)
        self._process.join()


def run(
    words: Sequence[str], env: Mapping[str, str], *, timeout: float | None = None
) -> FinishedCommand:
    """Run a command to its end. Raises ``TookTooLongError``, and kills it."""
    with tempfile.TemporaryDirectory(prefix="case-ledger-said-") as directory:
        out, err = Path(directory) / "out", Path(directory) / "err"
        command = Forked(words, env, out=out, err=err)
        try:
            code = command.wait(timeout)
        except BaseException:
            command.kill()
            raise
        return FinishedCommand(code, out.read_text(), err.read_text())


def _main(words: list[str], env: dict[str, str], directory: str, out: str, err: str) -> None:
    """Run the command that was typed, in the new process."""
    from api.cli import app

    os.environ.clear()
    os.environ.update(env)
    os.chdir(directory)
    for number, name in ((1, out), (2, err)):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["case-ledger", *words]
    app(prog_name="case-ledger")
