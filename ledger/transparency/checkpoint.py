"""Checkpoints (C2SP ``tlog-checkpoint``): a log's size and root, to be signed as a note."""

import base64
import re
from dataclasses import dataclass
from typing import Self

from ledger.merkle import HASH_SIZE
from ledger.transparency.note import NoteError

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log's tree."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; extension lines are passed over. Raises ``NoteError``."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint has three lines: origin, size and root")
        origin, size, encoded = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteError("the size of a checkpoint is a decimal number")
        return cls(origin, int(size), read_hash(encoded))


def read_hash(line: str) -> bytes:
    """A SHA-256 hash from its base64. Raises ``NoteError``."""
    try:
        content = base64.b64decode(line, validate=True)
    except ValueError:
        content = b""
    if len(content) != HASH_SIZE or base64.b64encode(content).decode("ascii") != line:
        raise NoteError("this is no hash in base64")
    return content
