"""Nodes on machines of their own, as far as one machine can play several."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from api.client.bounded_answers import bounded_client
from api.demo import DemoError
from api.demo.forked import Forked, run

_PATIENCE_SECONDS = 60.0
_LEFT_BEHIND = (".s.PGSQL*", "postmaster.pid", ".handle_pids*")


class MachineError(DemoError):
    """A node did not do what it was told; the message has the end of its log."""


class Machine:
    """One node: a process, its keys, and a PostgreSQL of its own, in one directory."""

    forked: type[Forked] = Forked
    """How its process is started."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.name = home.name
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings: dict[str, str] = {}
        self._process: Forked | None = None
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)

    @property
    def keys(self) -> Path:
        """Where its private keys are."""
        return self.home / "keys"

    @property
    def log(self) -> Path:
        """What it says on standard error."""
        return self.home.with_suffix(".log")

    def run(self, *words: str) -> str:
        """What a command prints that is run here. Raises ``MachineError`` where it fails."""
        done = run(words, self._environment())
        if done.returncode != 0:
            raise MachineError(f"{self.name}: {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def json(self, *words: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*words, "--json"))

    def start(self) -> None:
        """Start the node, and wait until it lives."""
        serve = ("serve", "--port", str(self.port))
        self._process = self.forked(serve, self._environment(), out=self.log, err=self.log)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._lives():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def ready(self) -> Mapping[str, Any]:
        """What it says of itself."""
        with bounded_client(seconds=10) as http:
            answer: dict[str, Any] = http.get(f"{self.url}/ready").json()
        return answer

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill the node and its PostgreSQL, as losing power does."""
        if self._process is not None:
            self._process.kill()
        pid_file = self.home / "postgresql" / "postmaster.pid"
        if pid_file.exists():
            pid = int(pid_file.read_text().split()[0])
            os.kill(pid, signal.SIGKILL)
            while _lives(pid):
                time.sleep(0.02)

    def destroy(self) -> None:
        """Kill it, and leave nothing of it."""
        self.kill()
        # Its processes end a moment after the one that was killed, and may write until then.
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.home.exists():
            try:
                shutil.rmtree(self.home)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def copy_to(self, home: Path, *, port: int) -> "Machine":
        """A copy of its disk, while it is down: another machine that answers on ``port``."""
        # Owner and mode stay: PostgreSQL asks for them.
        subprocess.run(["cp", "-a", str(self.home), str(home)], check=True)
        for pattern in _LEFT_BEHIND:
            for path in (home / "postgresql").glob(pattern):
                path.unlink()
        copy = Machine(home, port=port)
        copy.settings = dict(self.settings)
        return copy

    def _lives(self) -> bool:
        try:
            with bounded_client(seconds=2) as http:
                return http.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith("CASE_LEDGER_")}
        own = {f"CASE_LEDGER_{name.upper()}": value for name, value in self.settings.items()}
        return others | own | {"CASE_LEDGER_DATA_DIRECTORY": str(self.home)}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # A killed child that nobody waited for is no more than a name.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
