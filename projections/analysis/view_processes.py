"""Runs a view twice at the same time, each in a locked process, and compares the results.

The second process has another seed of its hashes, lives on another calendar day by its clock's
zone, and goes on with a new view at some positions. A result that differs depends on something
besides the events. This process reads the events once, and gives them to both.

What a process answers counts as hostile: a view is a program.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from projections.analysis.definition import Definition
from projections.analysis.event import Event, plain
from projections.analysis.folding import Encoded, stops
from projections.analysis.plain import NotPlainError, decode, difference
from projections.analysis.view_class import NotDeterministicError, ViewError

Progress = Callable[[int], None]
"""Told the position up to which events are given."""

_COMMAND: Final = (sys.executable, "-P", "-s", "-m", "projections.analysis.locked_fold")
_AT_ONCE: Final = 500
"""Events in one message."""
_MOST_ANSWER_BYTES: Final = 1024**3
_NOT_ENCODED: Final = (
    NotPlainError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError,
)  # fmt: skip
"""The errors of reading an answer that :func:`projections.analysis.plain.encode` did not make."""


@dataclass(frozen=True, slots=True)
class Folded:
    """The result of a view on which both runs agree."""

    state: Encoded
    rows: list[dict[str, Any]]
    printed: str
    """The text that the first run printed."""


def run_twice(
    definition: Definition,
    events: Generator[Event, None, None],
    after: int,
    upto: int,
    kept: Encoded | None,
    progress: Progress,
    *,
    unlocked: bool = False,
) -> Folded:
    """Fold events, those beyond ``after`` and up to ``upto``, in two processes.

    ``kept`` is the encoded state at ``after``, if there is one. With ``unlocked`` the processes
    keep their rights to files and the network. Raises ``NotDeterministicError`` if the results
    differ, and ``ViewError`` if the view fails or cannot be locked.
    """
    with (
        closing(events),
        _process(definition, kept, "1", "UTC", unlocked=unlocked) as first,
        _process(definition, kept, "2", _another_day(), unlocked=unlocked) as second,
    ):
        _give(events, (first, second), second, stops(after, upto), progress)
        one, other = first.answer(), second.answer()
    if (error := one.get("error")) is not None:
        raise ViewError(str(error))
    if (error := other.get("error")) is not None:
        raise NotDeterministicError(
            f"{definition.name} works in one run, and not in parts in another process: {error}"
        )
    try:
        found = difference(one["rows"], other["rows"], "rows") or difference(
            one["state"], other["state"], "state"
        )
    except _NOT_ENCODED:
        raise ViewError(f"{definition.name}: its processes answer what is no table") from None
    if found is not None:
        raise NotDeterministicError(f"{definition.name} is not told by its events alone: {found}")
    return Folded(one["state"], decoded_rows(definition.name, one["rows"]), str(one["printed"]))


def decoded_rows(name: str, rows: Encoded) -> list[dict[str, Any]]:
    """Return the rows that a view encoded. Raises ``ViewError`` if they are no rows."""
    try:
        told = decode(rows)
    except _NOT_ENCODED:
        told = None
    if not isinstance(told, list) or not all(
        isinstance(row, dict) and all(isinstance(column, str) for column in row) for row in told
    ):
        raise ViewError(f"{name}: a row is a mapping from the names of columns to values")
    return told


class _Process:
    """One locked process."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self._process, self._name = process, name
        self.is_gone = False

    def give(self, message: object) -> None:
        """Send a message. A process that has ended takes no more: its answer tells why."""
        self.give_pickled(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def give_pickled(self, content: bytes) -> None:
        stream = self._process.stdin
        if stream is None or self.is_gone:
            return
        try:
            stream.write(len(content).to_bytes(4, "big"))
            stream.write(content)
            stream.flush()
        except BrokenPipeError:
            self.is_gone = True

    def answer(self) -> dict[str, Any]:
        """End the input and return the answer. Raises ``ViewError`` if there is no valid one."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        stream = self._process.stdout
        content = b"" if stream is None else stream.read(_MOST_ANSWER_BYTES + 1)
        if len(content) > _MOST_ANSWER_BYTES:
            raise ViewError(f"{self._name}: its state and rows are larger than 1 GiB")
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            told = None
        match told:
            case {"not_locked": str(why)}:
                raise ViewError(
                    f"{self._name}: this platform cannot lock the process of a view ({why}); to "
                    "run a view that you trust with your own rights, say --unlocked"
                )
            case {"error": str(), "printed": str()}:
                return dict(told)
            case {"state": _, "rows": _, "printed": str()}:
                return dict(told)
        raise ViewError(f"{self._name}: its process ended without an answer")


@contextmanager
def _process(
    definition: Definition, kept: Encoded | None, seed: str, zone: str, *, unlocked: bool
) -> Iterator[_Process]:
    """Start a process and give it the request. The process is gone when the block ends."""
    process = subprocess.Popen(  # noqa: S603  # this program itself, with words of its own
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONHASHSEED": seed, "TZ": zone},
        cwd="/",
        start_new_session=True,
    )
    try:
        started = _Process(process, definition.name)
        started.give(
            {
                "path": str(definition.path),
                "text": definition.text,
                "name": definition.name,
                "version": definition.version,
                "imports": definition.imports,
                "kept": kept,
                "unlocked": unlocked,
            }
        )
        yield started
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait()


def _give(
    events: Iterator[Event],
    processes: Sequence[_Process],
    in_parts: _Process,
    parts: Sequence[int],
    progress: Progress,
) -> None:
    """Give events to the processes, until all are given or a process has ended."""
    ends = list(parts[:-1])
    batch: list[Event] = []

    def flush() -> None:
        if batch:
            content = pickle.dumps([plain(event) for event in batch], pickle.HIGHEST_PROTOCOL)
            for process in processes:
                process.give_pickled(content)
            progress(batch[-1].position)
            batch.clear()

    for event in events:
        while ends and event.position > ends[0]:
            flush()
            in_parts.give(None)
            ends.pop(0)
        batch.append(event)
        if len(batch) == _AT_ONCE:
            flush()
        if any(process.is_gone for process in processes):
            break
    flush()
    in_parts.give(None)


def _another_day() -> str:
    """Return a zone in which it is another calendar day than in UTC."""
    now = datetime.now(UTC)
    far = {"Etc/GMT-14": now + timedelta(hours=14), "Etc/GMT+12": now - timedelta(hours=12)}
    return next(zone for zone, there in far.items() if there.date() != now.date())
