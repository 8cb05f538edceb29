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
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from projections.analysis.definition import Definition
from projections.analysis.event import Event, plain
from projections.analysis.folding import Encoded, stops
from projections.analysis.limits import Limits, ended_after, mebibytes
from projections.analysis.plain import difference
from projections.analysis.row_table import NOT_ENCODED, RowTable
from projections.analysis.view_class import NotDeterministicError, ViewError

Progress = Callable[[int], None]
"""Told the position up to which events are given."""

_COMMAND: Final = (sys.executable, "-P", "-s", "-m", "projections.analysis.locked_fold")
_AT_ONCE: Final = 500
"""Events in one message."""
_LONGEST_LINE_BYTES: Final = 64 * 1024**2
"""One row, an error, or the text that was printed."""


@dataclass(frozen=True, slots=True)
class Folded:
    """The result of a view on which both runs agree."""

    state: Encoded
    table: Any
    """A ``pyarrow.Table``."""
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
    used: Mapping[str, Encoded] | None = None,
    limits: Limits = Limits(),  # noqa: B008  # it is frozen
) -> Folded:
    """Fold events, those beyond ``after`` and up to ``upto``, in two processes.

    ``kept`` is the encoded state at ``after``, if there is one. ``used`` has the encoded rows of
    the views that this one uses. With ``unlocked`` the processes keep their rights to files and the
    network. Raises ``NotDeterministicError`` if the results differ, and ``ViewError`` if the view
    fails, cannot be locked, or goes beyond its limits.
    """
    with (
        closing(events),
        _process(definition, kept, used, "1", "UTC", unlocked=unlocked) as first,
        _process(definition, kept, used, "2", _another_day(), unlocked=unlocked) as second,
        ended_after(limits.seconds, partial(_kill, first, second)) as is_late,
    ):
        try:
            _give(events, (first, second), second, stops(after, upto), progress)
            return _compared(definition.name, first, second, limits)
        except ViewError:
            if is_late():
                raise limits.too_long(definition.name) from None
            raise


def _kill(*processes: "_Process") -> None:
    for process in processes:
        process.kill()


def _compared(name: str, first: "_Process", second: "_Process", limits: Limits) -> Folded:
    """Read both answers line by line, and compare them. Only one row of each is in memory."""
    one, other = first.answer(limits), second.answer(limits)
    state: Encoded = None
    table, number = RowTable(name), 0
    while True:
        (what, content), (what_other, content_other) = next(one), next(other)
        if what == "error":
            raise ViewError(str(content))
        if what_other == "error":
            raise NotDeterministicError(
                f"{name} works in one run, and not in parts in another process: {content_other}"
            )
        if what == what_other == "printed":
            return Folded(state, table.table(), str(content))
        if what != what_other:
            raise NotDeterministicError(
                f"{name} is not told by its events alone: it has other rows in another run, from "
                f"row {number} on"
            )
        where = "state" if what == "state" else f"rows[{number}]"
        try:
            found = difference(content, content_other, where)
        except NOT_ENCODED:
            raise ViewError(f"{name}: its processes answer what is no table") from None
        if found is not None:
            raise NotDeterministicError(f"{name} is not told by its events alone: {found}")
        if what == "state":
            state = content
        else:
            table.add(content)
            number += 1


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

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def answer(self, limits: Limits) -> Iterator[tuple[str, Any]]:
        """End the input and yield the answer: state, rows, and the printed text or an error.

        Raises ``ViewError`` if there is no valid answer, or a larger one than the limits allow.
        """
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        stream = self._process.stdout
        most = limits.state_bytes
        taken, has_state = 0, False
        while stream is not None and (line := stream.readline(most + 1)):
            if len(line) > most and has_state:
                raise ViewError(f"{self._name}: a row is larger than {mebibytes(most)}")
            if len(line) > most:
                raise ViewError(
                    f"{self._name}: its state is larger than {mebibytes(most)}; keep counts, and "
                    "not events"
                )
            match self._read(line), has_state:
                case ["not_locked", str(why)], False:
                    raise ViewError(
                        f"{self._name}: this platform cannot lock the process of a view ({why}); "
                        "to run a view that you trust with your own rights, say --unlocked"
                    )
                case ["error", str(why)], _:
                    yield "error", why
                    return
                case ["state", content], False:
                    has_state, most = True, min(_LONGEST_LINE_BYTES, limits.rows_bytes)
                    yield "state", content
                case ["row", content], True:
                    taken += len(line)
                    if taken > limits.rows_bytes:
                        raise limits.rows_too_large(self._name)
                    yield "row", content
                case ["printed", str(text)], True:
                    yield "printed", text
                    return
                case _:
                    break
        raise ViewError(f"{self._name}: its process ended without an answer")

    def _read(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None


@contextmanager
def _process(
    definition: Definition,
    kept: Encoded | None,
    used: Mapping[str, Encoded] | None,
    seed: str,
    zone: str,
    *,
    unlocked: bool,
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
                "used": used,
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
