"""The process in which a view runs: it folds the events that it is given, answers once, and ends.

    python -P -s -m projections.analysis.locked_fold < REQUEST-AND-EVENTS > ANSWER

It imports what the view's text may import, and then locks itself: no file, no network, no other
process (``ledger/system/lockdown.py``). Only then it runs the text. Each message on its standard
input is four bytes of length and a pickled value: first the request as a mapping, then a list of
events, or ``None`` where it is to go on with a new view. The answer is lines of JSON: one with the
state, one for each row, one with an error if there is one, and a last one with the text that the
view printed. Its reader treats it as hostile, because the view may have written it.
"""

import importlib
import io
import json
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import IO, Any

from ledger.system.lockdown import NotIsolatedError, lock_down
from projections.analysis.event import from_plain, frozen
from projections.analysis.folding import Fold
from projections.analysis.plain import decode
from projections.analysis.view_class import AnalystView, ViewError, made

MEMORY_BYTES = 8 * 1024**3
"""The address space of the process, with its libraries and the view's state."""
_ALWAYS = ("_strptime", "encodings.idna", "calendar", "locale", "stringprep", "unicodedata")
"""The modules that the interpreter itself imports late."""
_MOST_PRINTED = 20_000
_zones: list[object] = []


def main() -> None:
    """Lock this process, fold what comes, and write the answer."""
    messages = _messages(sys.stdin.buffer)
    request = next(messages)
    printed = io.StringIO()
    stream = sys.stdout.buffer

    def tell(what: str, content: Any) -> None:
        stream.write(json.dumps([what, content]).encode() + b"\n")

    with suppress(BrokenPipeError):
        with redirect_stdout(printed):
            try:
                for what, content in _folded(request, messages):
                    tell(what, content)
            except ViewError as error:
                tell("error", str(error))
            except NotIsolatedError as error:
                tell("not_locked", str(error))
            except (MemoryError, RecursionError) as error:
                tell("error", f"it needs too much memory: {type(error).__name__}")
            except BrokenPipeError:
                raise
            except BaseException as error:
                # A view may end the process as well as fail: both are its fault.
                tell("error", f"{type(error).__name__}: {error}")
        tell("printed", printed.getvalue()[:_MOST_PRINTED])
        stream.flush()


def _folded(request: dict[str, Any], messages: Iterator[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the state and each row, as they are encoded."""
    path, content = Path(request["path"]), request["text"].encode()
    _import(request["imports"])
    if not request["unlocked"]:
        lock_down(memory_bytes=MEMORY_BYTES, cpu_seconds=None)

    def make() -> AnalystView:
        view = made(path, content)
        declared = (getattr(view, "name", None), getattr(view, "version", None))
        if declared != (request["name"], request["version"]):
            raise ViewError(f"{path}: its name and version are others when it runs: {declared}")
        return view

    used = request["used"]
    rows = None if used is None else {name: frozen(decode(told)) for name, told in used.items()}
    fold = Fold(make, request["kept"], str(path), rows)
    for message in messages:
        if message is None:
            fold.pause()
        else:
            fold.take(map(from_plain, message))
    yield "state", fold.state()
    for row in fold.each_row():
        yield "row", row


def _import(names: Sequence[str]) -> None:
    """Import all that the text may import: afterwards no file can be opened."""
    for name in (*_ALWAYS, *names):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ViewError(f"it imports {name}, which is not installed: {error}") from error
    if "zoneinfo" in names:
        from zoneinfo import ZoneInfo, available_timezones

        _zones.extend(ZoneInfo(name) for name in available_timezones())


def _messages(stream: IO[bytes]) -> Iterator[Any]:
    while head := stream.read(4):
        # The sender is the program that started this process, and no one else.
        yield pickle.loads(stream.read(int.from_bytes(head, "big")))  # noqa: S301


if __name__ == "__main__":
    main()
