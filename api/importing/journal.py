"""The progress of an import: a file beside the input, durable line by line.

It holds no value of the input. What is recorded is not believed of it, but asked of the ledger.
"""

import fcntl
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from ledger.signing.keys import write_private
from ledger.system.fsync import sync_directory
from ledger.system.identifiers import new_id

_VERSION = 1
_MAX_BYTES = 256 * 1024 * 1024
"""A journal has a line of some 200 bytes for each chunk of rows."""


class JournalError(ValueError):
    """An import cannot go on by its journal; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ImportSource:
    """The imported file, and the agency that imports it."""

    input: str
    """The SHA-256 of the file."""
    agency: str
    protocol: str


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """The rows that are done. Later rows may be recorded too, which the ledger tells."""

    map: str = ""
    """The SHA-256 of the map that it was done with."""
    through: int = 0
    rows: int = 0
    recorded: int = 0
    refused: int = 0
    errors: int = 0
    """The length of the error file."""
    not_imported: dict[str, int] = field(default_factory=dict)
    updated: int = 0
    """Rows of known cases that changed them."""
    unchanged: int = 0
    """Rows of known cases that have nothing new."""
    no_cases: dict[str, int] = field(default_factory=dict)
    """Rows that are no cases, by the reason."""
    done: bool = False


class Journal:
    """One import's journal, held by one process at a time."""

    def __init__(self, path: Path, source: ImportSource, memory: Path) -> None:
        self.path = path
        self._source = source
        self._memory = memory
        self.import_id = UUID(int=0)
        self.mark = ImportProgress()

    def __enter__(self) -> Self:
        """Begin, or go on. Raises ``JournalError``."""
        is_new = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be opened: {error.strerror}") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            os.close(descriptor)
            raise JournalError(f"{self.path} is no ordinary file of at most {_MAX_BYTES} bytes")
        self._file = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self._file.close()
            raise JournalError(f"another process imports by {self.path} at this moment") from None
        except BaseException:
            self._file.close()
            raise
        if is_new:
            sync_directory(self.path.parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, mark: ImportProgress) -> None:
        """Note the progress, durably."""
        self._append(asdict(mark))
        self.mark = mark

    def _read(self) -> None:
        content = self._file.read()
        lines = content.split(b"\n")[:-1]  # what a crash cut off has no end of line
        if not lines:
            self._file.truncate(0)
            self._file.seek(0)
            self.import_id = self._remembered()
            own = {"version": _VERSION, "import": str(self.import_id), **asdict(self._source)}
            self._append(own)
            return
        try:
            head, *marks = map(json.loads, lines)
            source = ImportSource(head["input"], head["agency"], head["protocol"])
            self.import_id = UUID(head["import"])
            if marks:
                self.mark = ImportProgress(**marks[-1])
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{self.path} is not the journal of an import") from error
        self._check(source)
        end = len(content) if content.endswith(b"\n") else content.rindex(b"\n") + 1
        self._file.truncate(end)
        self._file.seek(end)

    def _check(self, source: ImportSource) -> None:
        if source.input != self._source.input:
            raise JournalError(
                f"the file is not what it was when {self.path} was begun. Put it back as it was "
                "to go on; put rows that were corrected into a file of their own."
            )
        if source != self._source:
            raise JournalError(f"{self.path} is the import of {source.agency}, go on as that")

    def _remembered(self) -> UUID:
        """Return the id of the import of this content, if its journal is lost or elsewhere."""
        name = hashlib.sha256(json.dumps(asdict(self._source)).encode()).hexdigest()
        path = self._memory / name
        if not path.exists():
            write_private(path, str(new_id()).encode("ascii"))
            sync_directory(path.parent)
        return UUID(path.read_text(encoding="ascii"))

    def _append(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
