"""`case-ledger` as people and programs run it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.demo.forked import FinishedCommand, run
from tests.support.process import environment

ACT = [
    "case_opened",
    "acted_at=2026-01-05T08:00:00Z",
    "age_group=child",
    "countries=XK,ME",
    "ground=police_action",
    "indicators=unaccompanied_child",
    "first_name=zqNobodysName",
]


@dataclass
class CommandLine:
    """Runs commands in one data directory."""

    directory: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return environment(self.directory, **self.more)

    def run(self, *words: str, code: int = 0, timeout: float = 120) -> FinishedCommand:
        done = run(words, self.env, timeout=timeout)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def json(self, *words: str, timeout: float = 120) -> Any:
        """Return the one JSON document that a command prints with ``--json``."""
        done = self.run(*words, "--json", timeout=timeout)
        assert done.stderr == ""
        return json.loads(done.stdout)
