"""Folds a view again in another process, and compares the result with the first run's.

The other process has another seed of its hashes, lives on another day by its clock's zone, and
takes the events in parts with a new view for each. A result that differs depends on something
besides the events. The process reads one JSON document on its standard input and answers with one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from projections.analysis.definition import ViewError, load
from projections.analysis.events import Where, opened
from projections.analysis.folding import fold_in_parts
from projections.analysis.plain import difference

_PARTS = 5


class NotDeterministicError(ViewError):
    """A view gives other results in another run."""


class SecondRun:
    """A run that is under way in another process."""

    def __init__(
        self, path: Path, where: Where, after: int, upto: int, kept: Any | None, sha256: str
    ) -> None:
        asked = {
            "path": str(path),
            "sha256": sha256,
            "where": {
                "database": where.database,
                "export": None if where.export is None else str(where.export),
                "parquet": None if where.parquet is None else str(where.parquet),
            },
            "after": after,
            "stops": stops(after, upto),
            "kept": kept,
        }
        self._asked = json.dumps(asked)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "projections.analysis.second_run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_elsewhere(),
            text=True,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(self._asked)
            self._process.stdin.close()

    def compare(self, name: str, state: Any, rows: Any) -> None:
        """Wait for the end of the second run, and compare its result with the first run's.

        Raises ``NotDeterministicError`` if the results differ, and ``ViewError`` if the second run
        gives no answer.
        """
        answer = self._process.stdout.read() if self._process.stdout is not None else ""
        self._process.wait()
        if not answer:
            raise ViewError(f"{name}: the second run, which checks it, ended without an answer")
        told = json.loads(answer)
        if "error" in told:
            raise NotDeterministicError(
                f"{name} works in one run, and not in parts in another process: {told['error']}"
            )
        found = difference(rows, told["rows"], "rows") or difference(state, told["state"], "state")
        if found is not None:
            raise NotDeterministicError(f"{name} is not told by its events alone: {found}")

    def end(self) -> None:
        """Stop the process of the second run if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def second_run(
    path: Path, where: Where, after: int, upto: int, kept: Any | None, sha256: str
) -> Iterator[SecondRun]:
    """Start a second run, and stop it when the block ends."""
    run = SecondRun(path, where, after, upto, kept, sha256)
    try:
        yield run
    finally:
        run.end()


def stops(after: int, upto: int) -> Sequence[int]:
    """Return the positions where a run in parts stops.

    The first stop comes after one event. The others divide the run into equal parts.
    """
    length = upto - after
    chosen = {after + 1, *(after + length * part // _PARTS for part in range(1, _PARTS + 1))}
    return sorted(stop for stop in chosen if after < stop <= upto) or [upto]


def _elsewhere() -> dict[str, str]:
    """Return the environment of a process with another hash seed and another calendar day."""
    now = datetime.now(UTC)
    here = now.astimezone().date()
    far = {"Etc/GMT-14": now + timedelta(hours=14), "Etc/GMT+12": now - timedelta(hours=12)}
    zones = [zone for zone, there in far.items() if there.date() != here]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    return os.environ | {
        "PYTHONHASHSEED": seed,
        "TZ": zones[0],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        loaded = load(Path(asked["path"]))
        if loaded.definition.sha256 != asked["sha256"]:
            raise ViewError("its file was changed meanwhile")
        places = asked["where"]
        where = Where(
            places["database"],
            *(None if places[p] is None else Path(places[p]) for p in ("export", "parquet")),
        )
        with opened(where) as events:
            state, rows = fold_in_parts(
                loaded, events, asked["after"], asked["stops"], asked["kept"]
            )
        answer = {"state": state, "rows": rows}
    except Exception as error:
        answer = {"error": str(error) or type(error).__name__}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
