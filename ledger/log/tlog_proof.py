"""Offline proofs that an event is in the ledger (C2SP ``tlog-proof``)."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from ledger.log.checkpoint import Checkpoint, read_hash, read_number, write_hash
from ledger.log.merkle import check_inclusion
from ledger.log.note import Note, NoteError


class Believed(Protocol):
    """The keys whose signatures make a checkpoint trusted: one policy, or the recorded ones."""

    def check(self, note: Note) -> tuple[Checkpoint, dict[str, datetime]]:
        """Return the checkpoint, and the time at which each witness cosigned it.

        Raises ``NoteError`` if the checkpoint is not trusted.
        """


_FIRST = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof that an entry is at an index of a log whose checkpoint is signed and cosigned."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes = b""

    def __str__(self) -> str:
        lines = [_FIRST]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode('ascii')}")
        lines.append(f"index {self.index}")
        lines += map(write_hash, self.path)
        return "\n".join(lines) + f"\n\n{self.checkpoint}"

    @classmethod
    def parse(cls, content: str) -> Self:
        """Read a proof.

        Raises ``NoteError`` if the text is no proof.
        """
        head, _, note = content.partition("\n\n")
        first, *lines = head.split("\n")
        if first != _FIRST:
            raise NoteError(f"a proof begins with {_FIRST}")
        extra = b""
        if lines and lines[0].startswith("extra "):
            try:
                extra = base64.b64decode(lines.pop(0).removeprefix("extra "), validate=True)
            except ValueError:
                raise NoteError("the extra data is not base64") from None
        if not lines or not lines[0].startswith("index "):
            raise NoteError("a proof names the index of the entry")
        index = read_number(lines.pop(0).removeprefix("index "))
        if len(lines) > MAX_PATH:
            raise NoteError(f"a path has at most {MAX_PATH} hashes")
        return cls(index, tuple(map(read_hash, lines)), Note.parse(note), extra)

    def check(self, leaf: bytes, policy: Believed) -> tuple[Checkpoint, dict[str, datetime]]:
        """Verify the path, the signatures and the quorum for a leaf hash.

        Raises ``NoteError`` or ``ProofError`` if one of them does not hold.
        """
        checkpoint, cosigned = policy.check(self.checkpoint)
        check_inclusion(leaf, self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint, cosigned
