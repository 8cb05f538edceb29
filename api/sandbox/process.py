"""Runs the locked process for one content, bounded in time, and reads its answer.

What the process answers counts as hostile too: it may have read a file that took it over. So its
picture comes as plain pixels, and every number and text is checked.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import IO, Annotated, Final, Literal, NamedTuple, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.client.schemas.case_documents import FoundMetadata
from api.sandbox.child import Task
from api.sandbox.comparison import MOST_DIFFERING
from api.sandbox.failures import Failure, FailureError
from ledger.vocabulary.documents import MOST_PAGES

SECONDS: Final = 30.0
"""The process is killed after this time, with the reading of the content in it."""
WHOLE_SECONDS: Final = 120.0
"""The same for a task that goes through every page."""
_LONGEST_SIDE_PIXELS: Final = 2000
_MOST_HEAD_BYTES: Final = 64 * 1024
_MOST_CONTENT_BYTES: Final = 256 * 1024 * 1024
"""A larger content is not given to the process."""
_READ_AT_ONCE: Final = 256 * 1024
_COMMAND: Final = (sys.executable, "-I", "-m", "api.sandbox.child")
_log = structlog.get_logger(__name__)


_PageCount = Annotated[int, Field(ge=1, le=MOST_PAGES)]


class _Failed(BaseModel):
    """The reason for which there is no result, in the head of an answer."""

    failure: Failure | None = None


class _Head(BaseModel):
    """The head of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: Annotated[int, Field(ge=0, le=_MOST_CONTENT_BYTES)]
    """The number of bytes that follow the head."""


class _PictureHead(_Head):
    pages: Annotated[int, Field(ge=1, le=1_000_000)]
    width: Annotated[int, Field(ge=1, le=_LONGEST_SIDE_PIXELS)]
    height: Annotated[int, Field(ge=1, le=_LONGEST_SIDE_PIXELS)]


class _MetadataHead(_Head):
    metadata: FoundMetadata


class _CopyHead(_Head):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _RedactedHead(_CopyHead):
    pages: _PageCount


class _ComparedHead(_Head):
    pages_of_original: _PageCount
    pages: _PageCount
    differing: Annotated[tuple[_PageCount, ...], Field(max_length=MOST_DIFFERING)]


class _MarkedHead(_Head):
    media_type: Literal["application/pdf", "image/png", "image/jpeg"]


H = TypeVar("H", bound=_Head)


class Picture(NamedTuple):
    """A picture of one page, as plain pixels: red, green and blue, row by row."""

    pages: int
    """The number of pages of the document."""
    width: int
    height: int
    rgb: bytes


class Copy(NamedTuple):
    """A copy of a content without metadata, as the process announces it."""

    size: int
    sha256: str
    content: Iterator[bytes]


def picture(content: Iterable[bytes], media_type: str, page: int) -> Picture:
    """Return a picture of a page, whose number begins at 1. Raises ``FailureError``."""
    with _answer(Task.PICTURE, media_type, content, _PictureHead, page) as (head, rest):
        rgb = b"".join(rest)
    if len(rgb) != 3 * head.width * head.height:
        raise FailureError(Failure.DAMAGED)
    return Picture(head.pages, head.width, head.height, rgb)


def metadata(content: Iterable[bytes], media_type: str) -> FoundMetadata:
    """Return the metadata of a content. Raises ``FailureError``."""
    with _answer(Task.METADATA, media_type, content, _MetadataHead) as (head, _):
        return head.metadata


@contextmanager
def without_metadata(content: Iterable[bytes], media_type: str) -> Iterator[Copy]:
    """Give a copy of a content without its metadata, while the process writes it.

    Raises ``FailureError``, also while the copy is read.
    """
    answer = _answer(Task.WITHOUT_METADATA, media_type, content, _CopyHead, seconds=WHOLE_SECONDS)
    with answer as (head, rest):
        yield Copy(head.bytes, head.sha256, rest)


class RedactedCopy(NamedTuple):
    """A version of a content, as the process announces it."""

    pages: int
    """The pages of the content that the version was made of."""
    size: int
    sha256: str
    content: Iterator[bytes]


@contextmanager
def redacted(
    content: Iterable[bytes],
    media_type: str,
    leave_out: Sequence[tuple[int, int]],
    marks: Sequence[tuple[int, int, int, int, int]],
    most_bytes: int | None = None,
) -> Iterator[RedactedCopy]:
    """Give a PDF of the pages that are not left out, while the process writes it.

    ``leave_out`` has the first and the last page of each range, ``marks`` has page, left, top,
    width and height of each rectangle to hide, in 1/10,000 of the page. The pictures have less
    detail where the file would have more than ``most_bytes``. Raises ``FailureError``,
    also while the copy is read.
    """
    given = chain(_options([leave_out, marks, most_bytes]), content)
    answer = _answer(Task.REDACTED, media_type, given, _RedactedHead, seconds=WHOLE_SECONDS)
    with answer as (head, rest):
        yield RedactedCopy(head.pages, head.bytes, head.sha256, rest)


class Comparison(NamedTuple):
    """The outcome of a comparison of a version with its original, page by page."""

    pages_of_original: int
    pages: int
    differing: Sequence[int]
    """The original's pages that are said to be unchanged and look different."""


def compared(
    original: tuple[int, Iterable[bytes], str],
    version: tuple[Iterable[bytes], str],
    leave_out: Sequence[tuple[int, int]],
    marked: Sequence[tuple[int, int]],
) -> Comparison:
    """Compare a version with its original: size, content and media type; content and media type.

    ``marked`` has ranges of the original's pages of which the version hides a part. Raises
    ``FailureError``.
    """
    size, content, media_type = original
    given = chain(_options([size, leave_out, marked]), content, version[0])
    types = f"{media_type},{version[1]}"
    answer = _answer(Task.COMPARED, types, given, _ComparedHead, seconds=WHOLE_SECONDS)
    with answer as (head, _):
        return Comparison(head.pages_of_original, head.pages, head.differing)


def _options(values: list[object]) -> Iterator[bytes]:
    options = json.dumps(values).encode()
    yield len(options).to_bytes(4, "big")
    yield options


class MarkedCopy(NamedTuple):
    """A copy with a visible mark, as the process announces it."""

    size: int
    media_type: str
    content: Iterator[bytes]


@contextmanager
def marked(
    content: Iterable[bytes], media_type: str, strip_width: int, strip: bytes
) -> Iterator[MarkedCopy]:
    """Give a copy with a strip below each page, while the process writes it.

    ``strip`` has the pixels of the strip in grey, row by row. Raises ``FailureError``, also while
    the copy is read.
    """
    options = strip_width.to_bytes(4, "big") + strip
    given = chain((len(options).to_bytes(4, "big"), options), content)
    answer = _answer(Task.MARKED, media_type, given, _MarkedHead, seconds=WHOLE_SECONDS)
    with answer as (head, rest):
        yield MarkedCopy(head.bytes, head.media_type, rest)


@contextmanager
def _answer(
    task: Task,
    media_type: str,
    content: Iterable[bytes],
    kind: type[H],
    page: int = 1,
    *,
    seconds: float | None = None,
) -> Iterator[tuple[H, Iterator[bytes]]]:
    """Give a content to a process, and yield the head of its answer and what follows the head.

    Raises ``FailureError``. The process is gone on return.
    """
    process = subprocess.Popen(  # noqa: S603  # this program itself, with words of its own
        [*_COMMAND, task, media_type, str(page)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )
    timer = threading.Timer(SECONDS if seconds is None else seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no streams")
        _give(process.stdin, content)
        head = _head(process.stdout, kind)
        if head is None:
            raise _ended(process)
        yield head, _rest(process, head.bytes)
    finally:
        timer.cancel()
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait()


def _give(stream: IO[bytes], content: Iterable[bytes]) -> None:
    given = 0
    # A process that ended takes no more: its answer, or the lack of one, tells why.
    with suppress(BrokenPipeError):
        for part in content:
            given += len(part)
            if given > _MOST_CONTENT_BYTES:
                raise FailureError(Failure.TOO_LARGE)
            stream.write(part)
        stream.close()


def _head(stream: IO[bytes], kind: type[H]) -> H | None:
    """Return the head of an answer; ``None`` if it does not come or is malformed.

    Raises ``FailureError`` if the process says why it failed.
    """
    length = int.from_bytes(stream.read(4), "big")
    text = stream.read(length) if 0 < length <= _MOST_HEAD_BYTES else b""
    try:
        if (failure := _Failed.model_validate_json(text).failure) is not None:
            raise FailureError(failure)
        return kind.model_validate_json(text)
    except ValidationError:
        return None


def _rest(process: subprocess.Popen[bytes], left: int) -> Iterator[bytes]:
    stream = process.stdout
    while left and stream is not None:
        part = stream.read(min(left, _READ_AT_ONCE))
        if not part:
            raise _ended(process)
        left -= len(part)
        yield part


def _ended(process: subprocess.Popen[bytes]) -> FailureError:
    """Return the failure of a process that ended without a whole answer."""
    process.kill()
    code = process.wait()
    if -code in (signal.SIGKILL, signal.SIGXCPU):
        return FailureError(Failure.TOO_LARGE)
    _log.warning("the process that reads files ended without an answer", code=code)
    return FailureError(Failure.DAMAGED)
