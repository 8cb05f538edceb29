"""Gives an analyst's view its second run in a fork of one process that has loaded all modules.

A command starts a new interpreter for the second run, which loads modules for a second. Here one
interpreter with another hash seed loads them once, and forks for each run.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from projections.analysis import second_run
from tests.support.waiting import until


@contextmanager
def forked_second_runs() -> Iterator[None]:
    """Fork for each second run in this block. Its hash seed and its clock's zone are the same."""
    with tempfile.TemporaryDirectory(prefix="second-runs-") as directory:
        address = str(Path(directory) / "socket")
        command = [sys.executable, "-m", __name__, address]
        loaded = subprocess.Popen(command, env=second_run._elsewhere())
        try:
            until(lambda: Path(address).exists() or loaded.poll() is not None)

            def started(_: Sequence[str], *, env: Mapping[str, str], **__: Any) -> _Run:
                return _Run(address, env)

            instead = SimpleNamespace(
                Popen=started, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL
            )
            with patch.object(second_run, "subprocess", instead):
                yield
        finally:
            loaded.terminate()
            loaded.wait()


class _Run:
    """One second run, with the part of ``subprocess.Popen`` that its caller uses."""

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        self._zone = environment["TZ"]
        self.stdin = self
        self.stdout = self._connection.makefile("r", encoding="utf-8")

    def write(self, asked: str) -> None:
        line = json.dumps({"zone": self._zone}) + "\n"
        self._connection.sendall((line + asked).encode())

    def close(self) -> None:
        self._connection.shutdown(socket.SHUT_WR)

    def poll(self) -> int | None:
        return None

    def kill(self) -> None:
        """Take no answer. The fork then ends when it has one."""
        self._connection.close()

    def wait(self) -> None:
        """The answer's end was the run's."""


def _serve(address: str) -> None:
    waiting = socket.socket(socket.AF_UNIX)
    waiting.bind(address + ".new")
    waiting.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for the forks
    Path(address + ".new").rename(address)
    while True:
        connection, _ = waiting.accept()
        if os.fork() == 0:
            waiting.close()
            _answer(connection)
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> None:
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    os.environ["TZ"] = json.loads(sys.stdin.readline())["zone"]
    time.tzset()
    second_run.main()
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
