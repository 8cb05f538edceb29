"""The error file: which row and column is refused by which rule, and never what stood there."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ledger.importing.mapping import Fault
from ledger.system.csv_cells import neutral, original

HEADER = ("row", "column", "action", "field", "rule", "expected")


class RefusalReason(NamedTuple):
    """The reason for which rows were refused."""

    rule: str
    column: str
    action: str


class ErrorFile:
    """Appended to, and cut back to what a journal vouches for."""

    def __init__(self, path: Path, length: int, expected: Callable[[str, str], str]) -> None:
        """Prepare the error file.

        ``expected`` describes the values that the vocabulary allows in a field of an action.
        """
        self.path = path
        self._length = length
        self._expected = expected

    def __enter__(self) -> Self:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "r+", encoding="utf-8", newline="")
        self._file.truncate(self._length)
        self._file.seek(self._length)
        self._writer = csv.writer(self._file)
        if self._length == 0:
            self._writer.writerow(HEADER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, row: int, faults: Iterable[Fault]) -> None:
        """Write the reasons why a row is refused."""
        for fault in faults:
            is_named = fault.rule in ("value", "missing") and fault.field
            what = self._expected(fault.action, fault.field) if is_named else ""
            reason = (row, fault.column, fault.action, fault.field, fault.rule, what)
            self._writer.writerow([neutral(cell) for cell in reason])

    def sync(self) -> int:
        """Make the written lines durable, and return the file's length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


def reasons(path: Path) -> list[tuple[RefusalReason, int]]:
    """Count the rows that an error file refuses for each reason, the most frequent first."""
    counted: Counter[RefusalReason] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            rule, column, action = (original(line[n]) for n in ("rule", "column", "action"))
            counted[RefusalReason(rule, column, action)] += 1
    return counted.most_common()
