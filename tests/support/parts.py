"""A program of several processes, for tests to kill: forked where no other thread runs.

    python -m tests.support.parts DIRECTORY [CODE | beside | told]

Each part writes its id into a file of its name. With a code, the first one ends with it as soon as
the other has begun; with ``beside``, one runs beside this program, and ends with it. With
``told``, this program is told to stop in the middle of each fork.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import NoReturn

from api.processes.supervisor import EndedError, beside, leave_when_told, run_together


def note(file: Path) -> NoReturn:
    """Say that one began, and go on."""
    with file.open("a") as out:
        out.write(f"{os.getpid()}\n")
    while True:
        time.sleep(0.5)


def end(code: int, after: Path) -> NoReturn:
    while not after.exists():
        time.sleep(0.02)
    raise SystemExit(code)


def look(file: Path) -> None:
    with file.open("a") as out:
        out.write(".")


def main(directory: Path, how: str | None = None) -> None:
    one, other = directory / "one", directory / "other"
    if how == "beside":
        with beside("one", partial(note, one)):
            while not one.exists():
                time.sleep(0.02)
        return
    leave_when_told()
    if how == "told":
        os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
    first = partial(end, int(how), other) if how and how.isdigit() else partial(note, one)
    try:
        run_together({"one": first, "other": partial(note, other)}, partial(look, directory / "l"))
    except EndedError as ended:
        (directory / "ended").write_text(str(ended))
        raise SystemExit(7) from None


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
