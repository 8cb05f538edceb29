"""UmaDB: an event store of its own, in Rust, asked over gRPC. Its wheel has client and server."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from benchmarks.peers.peer import WORKLOADS, Given, Workload
from benchmarks.peers.servers import Servers

if TYPE_CHECKING:
    from umadb import Client

_PATIENCE_SECONDS = 10.0
_TRACED = 50


class UmaDb:
    """A server for each run, as it is set up by default; a client for each writer."""

    name = "UmaDB"
    about = "append with an append condition: no event of the case after the last one known"
    server = "its own, over gRPC"
    workloads: Sequence[Workload] = WORKLOADS
    verifies = False

    def __init__(self, given: Servers) -> None:
        self._directory = given.directory / "umadb"
        self._program = Path(sys.executable).parent / "umadb"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []

    def available(self) -> str | None:
        if find_spec("umadb") is None or not self._program.exists():
            return "the Python package umadb is not installed (requirements/bench.txt)"
        return None

    def version(self) -> str:
        return f"UmaDB {metadata.version('umadb')}"

    def open(self, writers: int) -> None:
        from umadb import Client

        self._directory.mkdir()
        port = _free_port()
        with (self._directory / "log").open("wb") as log:
            process = self._process = subprocess.Popen(
                [
                    self._program,
                    *("--listen", f"127.0.0.1:{port}"),
                    *("--db-path", self._directory / "uma.db"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,  # ends with close(), and not with a key pressed before
            )
        url = f"http://127.0.0.1:{port}"
        self._await(url, process)
        self._clients = [Client(url) for _ in range(writers)]
        self._known: list[dict[UUID, int]] = [{} for _ in range(writers)]

    def _await(self, url: str, process: subprocess.Popen[bytes]) -> None:
        from umadb import Client

        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                Client(url).head()
                return
            except Exception as error:
                if time.monotonic() > deadline or process.poll() is not None:
                    said = (self._directory / "log").read_text(errors="replace")[-500:]
                    raise RuntimeError(f"UmaDB does not answer: {said}") from error
                time.sleep(0.02)

    def durability(self) -> str:
        """Count what the server asks of the kernel, where ``strace`` may look."""
        documented = "its documentation says that appends are durable before they are acknowledged"
        if shutil.which("strace") is None or self._process is None:
            return f"{documented}; not checked, for strace is not installed"
        counted = self._directory / "strace"
        traced = subprocess.Popen(
            [
                *("strace", "-f", "-qq", "-c", "-e", "trace=fsync,fdatasync"),
                *("-o", counted, "-p", str(self._process.pid)),
            ],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1)
        for _ in range(_TRACED):
            event = Given(uuid4(), 1, "durability", b"x", uuid4(), "", "")
            self.append(0, [event])
        traced.send_signal(signal.SIGINT)
        traced.wait(_PATIENCE_SECONDS)
        calls = _calls(counted.read_text()) if counted.exists() else 0
        if calls < _TRACED:
            return f"{documented}; strace saw {calls} fdatasync calls for {_TRACED} appends"
        return (
            f"{documented}; strace saw {calls / _TRACED:.1f} calls of fdatasync for each append"
            " by one writer"
        )

    def append(self, writer: int, events: Sequence[Given]) -> None:
        from umadb import AppendCondition, Event, Query, QueryItem

        known = self._known[writer]
        tags = {event.case_id: f"case:{event.case_id}" for event in events}
        # Of several cases at once all are new, and nothing is known of any.
        after = known.get(events[0].case_id)
        position = self._clients[writer].append(
            [
                Event(e.kind, e.content, tags=[tags[e.case_id]], uuid=e.action_id)  # type: ignore[arg-type]
                for e in events
            ],
            AppendCondition(Query([QueryItem(tags=[tag]) for tag in tags.values()]), after=after),
        )
        for case_id in tags:
            known[case_id] = position

    def read(self) -> Iterator[bytes]:
        for sequenced in self._clients[0].read():
            yield sequenced.event.data

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients = []
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: Any = found.getsockname()[1]
        return int(port)


def _calls(summary: str) -> int:
    """Return the number of calls that strace counted in all."""
    for line in summary.splitlines():
        words = line.split()
        if words and words[-1] == "total":
            return int(words[3])
    return 0
