"""Nodes on machines of their own, as far as one machine can play several."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.client.bounded_answers import bounded_client
from api.demo import DemoError
from api.demo.forked import run
from api.demo.node_process import PATIENCE_SECONDS, NodeProcess, is_alive, kill_postgresql

_LEFT_BEHIND = (".s.PGSQL*", "postmaster.pid", ".handle_pids*")


class MachineError(DemoError):
    """A command on a machine failed; the message has what it said."""


class Machine(NodeProcess):
    """One node: a process, its keys, and a PostgreSQL of its own, in one directory."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        super().__init__({}, home.with_suffix(".log"), port=port)
        self.name = home.name
        self.home = home
        self.settings: dict[str, str] = {}
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)

    @property
    def keys(self) -> Path:
        """Return the directory of the machine's private keys."""
        return self.home / "keys"

    def run(self, *words: str) -> str:
        """Run a command on this machine and return its output.

        Raises ``MachineError`` if the command fails.
        """
        done = run(words, self.environment())
        if done.returncode != 0:
            raise MachineError(f"{self.name}: {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def json(self, *words: str) -> Any:
        """Run a command with ``--json`` and return its output."""
        return json.loads(self.run(*words, "--json"))

    def start(self) -> None:
        """Start the node, and wait until it lives."""
        super().start()
        self.wait_until_alive()

    def ready(self) -> Mapping[str, Any]:
        """Return the node's answer about its readiness."""
        with bounded_client(seconds=10) as http:
            answer: dict[str, Any] = http.get(f"{self.url}/ready").json()
        return answer

    def kill(self) -> None:
        """Kill the node and its PostgreSQL, as losing power does."""
        super().kill()
        killed = kill_postgresql(self.home)
        while killed is not None and is_alive(killed):
            time.sleep(0.02)

    def destroy(self) -> None:
        """Kill it, and leave nothing of it."""
        self.kill()
        # Its processes end a moment after the one that was killed, and may write until then.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.home.exists():
            try:
                shutil.rmtree(self.home)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def copy_to(self, home: Path, *, port: int) -> "Machine":
        """Copy the disk while the machine is down, as another machine that answers on ``port``."""
        # Owner and mode stay: PostgreSQL asks for them.
        subprocess.run(["cp", "-a", str(self.home), str(home)], check=True)
        for pattern in _LEFT_BEHIND:
            for path in (home / "postgresql").glob(pattern):
                path.unlink()
        copy = Machine(home, port=port)
        copy.settings = dict(self.settings)
        return copy

    def environment(self) -> Mapping[str, str]:
        """Return the environment of its commands: the settings, and nothing of another node."""
        others = {k: v for k, v in os.environ.items() if not k.startswith("CASE_LEDGER_")}
        own = {f"CASE_LEDGER_{name.upper()}": value for name, value in self.settings.items()}
        few = {"CASE_LEDGER_PROCESSES": "1"}  # several nodes share this computer
        return others | few | own | {"CASE_LEDGER_DATA_DIRECTORY": str(self.home)}
