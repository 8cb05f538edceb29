"""A command that serves, as a process of its own, which the demonstration and tests may kill."""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import httpx

from api.client.bounded_answers import bounded_client
from api.demo import DemoError
from api.demo.forked import Forked
from ledger.system.polling import Polling

PATIENCE_SECONDS = 60.0


class ProcessError(DemoError):
    """A process did not do what it was told; the message has the end of its log."""


class NodeProcess:
    """A running `case-ledger serve` on a port that it keeps when it is started again.

    ``command`` names another command that serves, such as a witness's.
    """

    forked: ClassVar[type[Forked]] = Forked
    """How its process is started."""

    def __init__(
        self,
        env: Mapping[str, str],
        log: Path,
        command: Sequence[str] = ("serve",),
        *,
        port: int | None = None,
    ) -> None:
        self.env = env
        self.log = log
        """Where its standard output and standard error go."""
        self.command = command
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: Forked | None = None

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the process at its next start."""
        return self.env

    def start(self) -> None:
        """Start it. It does not serve yet."""
        words = (*self.command, "--port", str(self.port))
        self._process = self.forked(words, self.environment(), out=self.log, err=self.log)

    def wait_until_alive(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it serves. Raises ``ProcessError`` where it ends, or does not in time."""
        polling = Polling(shortest=0.05)
        while not self._lives():
            ended = self._process is None or self._process.poll() is not None
            if ended or polling.waited > seconds:
                raise ProcessError(f"{self.log.stem} did not start: {self.said()}")
            polling.pause()

    def parts(self) -> list[int]:
        """Return the ids of the processes that it runs: the answering one first."""
        return children(self._process.pid) if self._process is not None else []

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text()[-4000:] if self.log.exists() else ""

    def stop(self) -> int | None:
        """Ask it to stop. Returns its exit code; ``None`` where it was never started."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill it as a crash or the kernel does: with no chance to clean up."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_alive(3 * PATIENCE_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _lives(self) -> bool:
        try:
            with bounded_client(seconds=2) as http:
                return http.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a killed process that was not waited for does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_postgresql(data_directory: Path) -> int | None:
    """Kill the postmaster of an embedded server. Its children follow by themselves.

    Returns its id; ``None`` where none runs.
    """
    try:
        content = (data_directory / "postgresql" / "postmaster.pid").read_text()
        pid = int(content.split()[0])
        os.kill(pid, signal.SIGKILL)
    except (OSError, IndexError):
        return None
    return pid
