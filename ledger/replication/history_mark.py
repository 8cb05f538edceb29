"""A durable mark outside the database: how far this node's ledger had come.

A database that is put back to an older copy is consistent in itself: nothing in it tells that
events are missing. The mark is a file in the data directory. It names the size and the Merkle root
of the ledger as they were within the last second, and it stays when the database is replaced. A
database that has fewer events, or other ones, *went back*. The mark remembers that until an
operator's decision is written into it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ledger.log.merkle import Tree
from ledger.system.fsync import sync_directory

_INSERT = """
INSERT INTO log.history_decisions (
    decided_at, decided_by, why, seen_size, reached_size, reached_root, from_size, from_root,
    witnesses)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
RETURNING id
"""


class Reached(BaseModel):
    """The size and root that a ledger had reached."""

    model_config = ConfigDict(frozen=True)

    size: int
    """The number of events."""
    root: str
    """The RFC 6962 root of them, in hexadecimal."""

    @classmethod
    def of(cls, tree: Tree, size: int | None = None) -> "Reached":
        """Return the size and root of a tree, or of its first ``size`` events."""
        size = tree.size if size is None else size
        return cls(size=size, root=tree.root(size).hex())

    def is_in(self, tree: Tree) -> bool:
        """Return whether a tree has these events, and perhaps more."""
        return tree.size >= self.size and tree.root(self.size).hex() == self.root


class WentBack(BaseModel):
    """The size and root of the database when it was found to have gone back."""

    model_config = ConfigDict(frozen=True)

    found_at: AwareDatetime
    reached: int
    """The most events that a process of the node had seen."""
    had: Reached


class WitnessWentBack(BaseModel):
    """A witness that holds a smaller tree than the one that it cosigned."""

    model_config = ConfigDict(frozen=True)

    found_at: AwareDatetime
    cosigned: int
    holds: int


class TakenOver(BaseModel):
    """The parties' verified decision that another node is the ledger node."""

    model_config = ConfigDict(frozen=True)

    found_at: AwareDatetime
    told_by: str
    """The address of the node that has the decision in its ledger."""
    since: int
    """The position of the decision there."""
    log_keys: tuple[str, ...]


class OperatorDecision(BaseModel):
    """An operator's decision to go on from the events that the database has now."""

    model_config = ConfigDict(frozen=True)

    decided_at: AwareDatetime
    decided_by: str
    why: str
    seen: int
    """The most events that the node had seen."""
    reached: Reached
    """How far the ledger had come, by the mark, which may be a second older."""
    goes_on_from: Reached
    witnesses: Mapping[str, int] = {}
    """The larger trees that witnesses said to hold, by witness."""


class HistoryMark(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True)

    reached: Reached
    went_back: WentBack | None = None
    taken_over: TakenOver | None = None
    """Set on a ledger node alone, until it rejoins as a country's node."""
    witnesses_ahead: Mapping[str, int] = {}
    """The size that each witness holds, where that is more than this database has."""
    witnesses_back: Mapping[str, WitnessWentBack] = {}
    key_files: Mapping[str, str] = {}
    """Each file of keys that was there, with what tells its key from another."""
    retired_key_files: tuple[str, ...] = ()
    """Files of keys that a command removed on purpose."""
    lost_keys: Mapping[str, tuple[UUID, ...]] = {}
    """The persons, by country, whose data keys an operator gave up."""
    decisions: tuple[OperatorDecision, ...] = ()

    @property
    def needs_decision(self) -> bool:
        """Return whether the mark holds a finding that no operator has decided on.

        The parties' takeover is no such finding: the operator does not decide on it.
        """
        return bool(self.went_back or self.undecided_witnesses or self.witnesses_back)

    @property
    def is_in_doubt(self) -> bool:
        """Return whether recorded events may be missing, or another ledger is the parties'."""
        return bool(self.went_back or self.undecided_witnesses or self.taken_over)

    @property
    def undecided_witnesses(self) -> Mapping[str, int]:
        """Return the witnesses that are ahead, and were not so at an operator's last decision."""
        accepted = self.decisions[-1].witnesses if self.decisions else {}
        return {n: size for n, size in self.witnesses_ahead.items() if size > accepted.get(n, 0)}

    def changed(self, **values: object) -> "HistoryMark":
        """Return the mark with other values."""
        return self.model_copy(update=values)


class MarkError(ValueError):
    """The file cannot be read as a mark."""


class MarkFile:
    """The mark in its file, which several processes share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> HistoryMark | None:
        """Return the mark; ``None`` before one was written.

        Raises ``MarkError`` if this program did not write the file.
        """
        try:
            return HistoryMark.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise MarkError(f"{self.path} is not a mark that this program wrote") from error

    def change(self, change: Callable[[HistoryMark | None], HistoryMark | None]) -> None:
        """Replace the mark by the result of ``change``, durably; ``None`` leaves it.

        One process at a time does so. Raises ``MarkError``, and ``OSError`` if it cannot be
        written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            before = self.read()
            after = change(before)
            if after is not None and after != before:
                self._write(after)

    def _write(self, mark: HistoryMark) -> None:
        unfinished = self.path.with_name(f".{self.path.name}.new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(mark.model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(descriptor)
        unfinished.replace(self.path)
        sync_directory(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f".{self.path.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # and with it the lock


def advanced(mark: HistoryMark | None, tree: Tree, noted: int = 0) -> HistoryMark:
    """Return the mark after the ledger grew to ``tree``.

    If ``tree`` lacks events that the mark names, the new mark says that the ledger went back.
    ``noted`` is the most events that this process saw before: the mark may be a second old.
    """
    if mark is None:
        return HistoryMark(reached=Reached.of(tree))
    if mark.went_back is not None:
        return mark
    if tree.size < noted or not mark.reached.is_in(tree):
        reached = max(noted, mark.reached.size)
        found = WentBack(found_at=datetime.now(UTC), reached=reached, had=Reached.of(tree))
        return mark.changed(went_back=found)
    return mark.changed(reached=Reached.of(tree)) if tree.size > mark.reached.size else mark


def decided(
    mark: HistoryMark, tree: Tree, by: str, why: str
) -> tuple[HistoryMark, OperatorDecision]:
    """Return the mark after an operator's decision to go on from ``tree``, and the decision."""
    decision = OperatorDecision(
        decided_at=datetime.now(UTC),
        decided_by=by,
        why=why,
        seen=mark.went_back.reached if mark.went_back else mark.reached.size,
        reached=mark.reached,
        goes_on_from=Reached.of(tree),
        witnesses=dict(mark.witnesses_ahead),
    )
    return with_decision(mark, decision, decision.goes_on_from), decision


def with_decision(mark: HistoryMark, decision: OperatorDecision, reached: Reached) -> HistoryMark:
    """Return the mark after a decision, of a ledger that has come to ``reached``."""
    return mark.changed(
        reached=reached,
        went_back=None,
        taken_over=None,
        witnesses_back={},
        decisions=(*mark.decisions, decision),
    )


def record_decision(connection: Connection[DictRow], decision: OperatorDecision) -> int:
    """Store a decision in the database, and return its id."""
    row = connection.execute(
        _INSERT,
        (
            decision.decided_at,
            decision.decided_by,
            decision.why,
            decision.seen,
            decision.reached.size,
            bytes.fromhex(decision.reached.root),
            decision.goes_on_from.size,
            bytes.fromhex(decision.goes_on_from.root),
            Jsonb(dict(decision.witnesses)),
        ),
    ).fetchone()
    if row is None:
        raise RuntimeError("the decision was not stored")
    return int(row["id"])
