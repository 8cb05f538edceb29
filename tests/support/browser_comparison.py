"""The browser's comparison of a page with signed events, run in Node.js."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import IO, Any

import pytest

from ledger.application import Ledger
from ledger.store.event_rows import RecordedRow

_SCRIPT = Path(__file__).with_name("compare_shown.mjs")
_SECONDS_TO_END = 30


class _Shown(HTMLParser):
    """Finds the JSON that a page has for the browser's comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag == "script" and ("id", "shown") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._within:
            self.found += data


def shown_in(page: str) -> dict[str, Any]:
    """Return the values that a case's verification page states that it shows."""
    parser = _Shown()
    parser.feed(page)
    found: dict[str, Any] = json.loads(parser.found)
    return found


@dataclass
class Comparison:
    """A running Node.js process."""

    asks: IO[str]
    answers: IO[str]

    def compare(self, shown: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
        """Return the browser's findings, given the events at the positions that the page names."""
        acts, proved = (
            ledger.rows.select_positions(list(shown[name])) for name in ("acts", "positions")
        )
        return self.compare_rows(shown, acts, proved)

    def compare_rows(
        self, shown: Mapping[str, Any], acts: Iterable[RecordedRow], proved: Iterable[RecordedRow]
    ) -> dict[str, Any]:
        """Return the browser's findings, given the acts on the protocol and the case's events."""
        asked = {"shown": shown, "acts": _events(acts), "proved": _events(proved)}
        self.asks.write(json.dumps(asked) + "\n")
        self.asks.flush()
        found: dict[str, Any] = json.loads(self.answers.readline())
        return found


def _events(rows: Iterable[RecordedRow]) -> list[tuple[int, str]]:
    return [(row.position, base64.b64encode(row.state).decode()) for row in rows]


@contextmanager
def comparing() -> Iterator[Comparison]:
    """Run the browser's modules for as long as the block runs; skips where there is no Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    modules = resources.files("api.web") / "static"
    with subprocess.Popen(
        [node, str(_SCRIPT), str(modules)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Comparison(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
