"""The locked process: reads one content, answers once, and ends.

    python -I -m api.sandbox.child TASK MEDIA_TYPE PAGE < CONTENT > ANSWER

For a task with options, the content comes after the length of the options in four bytes and the
options. So no option is seen in the list of processes.

An answer is the length of a head in four bytes, the head in JSON, and what the head announces in
``bytes``.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from api.sandbox.failures import Failure, FailureError
from ledger.system.lockdown import NotIsolatedError, lock_down

MEMORY_BYTES = 1024 * 1024 * 1024
"""The address space of the process, with its libraries and the content."""
CPU_SECONDS = 15
WHOLE_CPU_SECONDS = 60
"""For a task that goes through every page."""
_READ_AT_ONCE = 1024 * 1024


class Task(StrEnum):
    """A thing that the locked process does with a content."""

    PICTURE = "picture"
    METADATA = "metadata"
    WITHOUT_METADATA = "without_metadata"
    REDACTED = "redacted"
    """With ranges of pages to leave out and marks as options, in JSON."""
    COMPARED = "compared"
    """Of two contents, with their two media types. The options in JSON have the first one's size,
    the ranges of pages that are left out, and of those with marks."""
    MARKED = "marked"
    """With a strip as options: its width in four bytes, and its pixels in grey, row by row."""


def main(task: Task, media_type: str, page: int) -> None:
    """Lock this process, read the content, and write the answer."""
    # They are imported here, in the process that is to be locked, and nowhere else.
    from PIL import Image

    from api.sandbox import (
        comparison,
        found_metadata,
        marking,
        pictures,
        redaction,
        without_metadata,
    )

    for one in media_type.split(","):
        pictures.prepare(one)
    is_whole = task in (Task.REDACTED, Task.COMPARED, Task.MARKED, Task.WITHOUT_METADATA)
    try:
        seconds = WHOLE_CPU_SECONDS if is_whole else CPU_SECONDS
        lock_down(memory_bytes=MEMORY_BYTES, cpu_seconds=seconds)
    except NotIsolatedError:
        return _answer({"failure": Failure.NOT_ISOLATED})
    try:
        content = _content()
        if task is Task.PICTURE:
            made = pictures.pixels(content, media_type, page)
            size = {"pages": made.pages, "width": made.width, "height": made.height}
            return _answer(size, made.rgb)
        if task is Task.METADATA:
            found = found_metadata.found_metadata(content, media_type)
            return _answer({"metadata": found})
        if task is Task.REDACTED:
            options, content = _with_options(content)
            leave_out, rectangles, most_bytes = json.loads(options)
            marks = [redaction.Mark(*one) for one in rectangles]
            version, pages = redaction.redacted(content, media_type, leave_out, marks, most_bytes)
            digest = hashlib.sha256(version).hexdigest()
            return _answer({"sha256": digest, "pages": pages}, version)
        if task is Task.COMPARED:
            options, content = _with_options(content)
            size, leave_out, marked = json.loads(options)
            types = media_type.split(",")
            pair = ((content[:size], types[0]), (content[size:], types[1]))
            return _answer(comparison.compared(*pair, leave_out, marked)._asdict())
        if task is Task.MARKED:
            options, content = _with_options(content)
            width, grey = int.from_bytes(options[:4], "big"), options[4:]
            strip = Image.frombytes("L", (width, len(grey) // width), grey).convert("RGB")
            copy = marking.marked(content, media_type, strip)
            return _answer({"media_type": copy.media_type}, copy.content)
        remove = without_metadata.REMOVERS.get(media_type)
        if remove is None:
            raise FailureError(Failure.NOT_REMOVABLE)
        cleaned = remove(content)
        return _answer({"sha256": hashlib.sha256(cleaned).hexdigest()}, cleaned)
    except FailureError as error:
        return _answer({"failure": error.failure})
    except MemoryError:
        return _answer({"failure": Failure.TOO_LARGE})
    except Exception:  # the readers raise of any kind for a damaged file
        return _answer({"failure": Failure.DAMAGED})


def _content() -> bytes:
    parts = list[bytes]()
    while part := os.read(0, _READ_AT_ONCE):
        parts.append(part)
    return b"".join(parts)


def _with_options(content: bytes) -> tuple[bytes, bytes]:
    """Return the options and the content."""
    end = 4 + int.from_bytes(content[:4], "big")
    return content[4:end], content[end:]


def _answer(head: Mapping[str, Any], payload: bytes = b"") -> None:
    text = json.dumps({**head, "bytes": len(payload)}).encode()
    rest = memoryview(len(text).to_bytes(4, "big") + text + payload)
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    main(Task(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    os._exit(0)
