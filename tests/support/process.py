"""`case-ledger serve` as a process of its own, which tests may kill."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from api.demo.forked import Forked
from api.demo.machines import free_port
from tests.support.waiting import until

PROGRAM = Path(sys.executable).with_name("case-ledger")
"""As it is installed: for a test that is about that, or kills what it starts."""


def environment(data_directory: Path, **more: str) -> dict[str, str]:
    """The environment of a node that keeps everything under ``data_directory``."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("CASE_LEDGER_")}
    return ours | {"CASE_LEDGER_DATA_DIRECTORY": str(data_directory)} | more


class ServeProcess:
    """A running `case-ledger serve` on a port that it keeps when it is started again.

    ``command`` names another command that serves, such as a witness's.
    """

    def __init__(self, env: dict[str, str], log: Path, command: Sequence[str] = ("serve",)) -> None:
        self.env = env
        self.log = log
        self.command = command
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: Forked | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        words = (*self.command, "--port", str(self.port))
        self._process = Forked(words, self.env, out=self.log, err=self.log)

    def wait_until_ready(self, seconds: float = 180) -> None:
        def is_healthy() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(self.said())
            return httpx.get(f"{self.url}/health", timeout=2).is_success

        until(is_healthy, self.said, seconds=seconds, every=0.05)

    def parts(self) -> list[int]:
        """The ids of the processes that it runs: they that answer requests, and the work."""
        assert self._process is not None
        return children(self._process.pid)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4000:]

    def kill(self) -> None:
        """As a crash or the kernel does it: with no chance to clean up."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> int:
        """Ask it to stop. Returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_postgresql(data_directory: Path) -> None:
    """Kill the postmaster of the embedded server; its children follow by themselves."""
    pid_file = data_directory / "postgresql" / "postmaster.pid"
    pid = int(pid_file.read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


def wait_until_published(url: str, size: int) -> None:
    """Wait until a node has a published checkpoint of so many events."""

    def ready() -> Any:
        return httpx.get(f"{url}/ready").json()

    until(lambda: ready().get("published", 0) >= size, ready)
