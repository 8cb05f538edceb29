"""Checkpoints (C2SP ``tlog-checkpoint``): a log's size and root, to be signed as a note."""

import base64
import re
from dataclasses import dataclass
from typing import Self

from ledger.log.merkle import HASH_SIZE
from ledger.log.note import NoteError

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log's tree."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{write_hash(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; extension lines are passed over.

        Raises ``NoteError`` if it is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint has three lines: origin, size and root")
        origin, size, encoded = lines[:3]
        return cls(origin, read_number(size), read_hash(encoded))


def read_number(text: str) -> int:
    """Return a size or an index from its decimal form without leading zeroes.

    Raises ``NoteError`` for any other text.
    """
    if not _NUMBER.fullmatch(text):
        raise NoteError("a size or an index is a decimal number")
    return int(text)


def write_hash(content: bytes) -> str:
    """Return a hash in base64, as a line of a note has it."""
    return base64.b64encode(content).decode("ascii")


def read_hash(line: str) -> bytes:
    """Return a SHA-256 hash from its base64.

    Raises ``NoteError`` for any other text.
    """
    try:
        content = base64.b64decode(line, validate=True)
    except ValueError:
        content = b""
    if len(content) != HASH_SIZE or write_hash(content) != line:
        raise NoteError("this is no hash in base64")
    return content
