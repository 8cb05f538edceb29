"""Mark each test with its needs beside this process, for ``pytest -m``.

The markers are set from a test's fixtures, folder and imports. A guard makes a test fail that
starts a process and has none of the markers that allow it, so the markers are complete.
"""

import multiprocessing.process
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import pytest

STARTS_PROCESSES = (
    "api.demo.forked",
    "api.demo.machines",
    "api.processes.supervisor",
    "ledger.store.embedded",
    "projections.analysis.view_run",
    "subprocess",
)
"""Modules that a test imports, itself or through ``tests.support``, to start processes."""
OF_FOLDERS = {"browser": "browser", "crosscheck": "language", "faults": "process"}
_ALLOWING = ("process", "browser", "language")
_EVENTS = frozenset({"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty"})


def add_markers(item: pytest.Item) -> None:
    """Mark a test with each thing that it needs."""
    if "server" in getattr(item, "fixturenames", ()):
        item.add_marker("database")
    if (of_folder := OF_FOLDERS.get(item.path.parent.name)) is not None:
        item.add_marker(of_folder)
    module = getattr(item, "module", None)
    if isinstance(module, ModuleType) and _starts_processes(module):
        item.add_marker("process")


@cache
def _starts_processes(module: ModuleType) -> bool:
    names = set()
    for value in vars(module).values():
        name = value.__name__ if isinstance(value, ModuleType) else _home(value)
        names.add(name)
    if not names.isdisjoint(STARTS_PROCESSES):
        return True
    support = {n for n in names if n.startswith("tests.") and n != module.__name__}
    return any(_starts_processes(sys.modules[name]) for name in support if name in sys.modules)


def _home(value: object) -> str:
    """The module in which a function or class is defined."""
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


class ProcessGuard:
    """Records what a test starts that is not marked as one that starts processes."""

    def __init__(self) -> None:
        self._watching: str | None = None
        self.started: list[str] = []

    def install(self) -> None:
        """Watch this process from now on. An audit hook cannot be removed."""
        sys.addaudithook(self._audit)
        start = multiprocessing.process.BaseProcess.start

        def watched(process: multiprocessing.process.BaseProcess) -> None:
            self._note(f"multiprocessing: {process.name}")
            start(process)

        multiprocessing.process.BaseProcess.start = watched  # type: ignore[method-assign]

    @contextmanager
    def watching(self, item: pytest.Item) -> Iterator[None]:
        """Fail the test if it starts a process without a marker that allows it."""
        if any(item.get_closest_marker(name) for name in _ALLOWING):
            yield
            return
        self.started.clear()
        self._watching = item.nodeid
        try:
            yield
        finally:
            self._watching = None
        assert not self.started, f"it needs the marker 'process': it started {self.started}"

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS:
            self._note(f"{event}: {arguments[:1]}")

    def _note(self, what: str) -> None:
        if self._watching is not None:
            self.started.append(what)
