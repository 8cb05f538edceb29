"""Reads a table as lines of texts: a CSV in any usual form, or a sheet of a spreadsheet."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from api.importing.encoding_guess import guessed_encoding
from ledger.importing.import_map import ImportMap
from ledger.system.bounded_files import NotReadableError, open_ordinary

SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 1 << 20
_LONGEST_ROW = 4 << 20
"""Characters of a row; a case with every field takes some hundreds of thousands."""
_HEAD_BYTES = 256 * 1024
_HEAD_LINES = 40
_LONGEST_LINE_BYTES = 6 * _LONGEST_ROW
"""A row as JSON, in which a character takes six bytes at most."""
_COMMAND = (sys.executable, "-P", "-s", "-m", "api.importing.sheet_process")
_WRONG = {
    "password": "this spreadsheet has a password; save it without one",
    "no-spreadsheet": "this is no spreadsheet that can be read",
    "no-such-sheet": "the spreadsheet has no sheet of the name that the map says",
    "empty": "the spreadsheet has no sheet with any value",
    "too-large": "this spreadsheet needs too much memory, or is damaged; save the sheet of the"
    " cases alone, without empty rows and columns, or as CSV",
}


class ImportFileError(ValueError):
    """A file as a whole cannot be imported; the message says why, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class TableForm:
    """The form in which a file is read."""

    encoding: str | None = None
    """``None`` for a spreadsheet."""
    delimiter: str | None = None
    sheet: str | None = None
    guessed: tuple[str, ...] = ()
    """The parts that the map does not say."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the file, with the number that a spreadsheet shows beside it."""

    number: int
    cells: Sequence[str]
    bytes_read: int


def is_spreadsheet(path: Path) -> bool:
    """Return whether a file is a spreadsheet, by its name."""
    return path.suffix.lower() in SPREADSHEETS


def form_of(path: Path, import_map: ImportMap) -> TableForm:
    """Return the form of a table, by the map and by the file's head. Raises ``ImportFileError``."""
    if is_spreadsheet(path):
        with _sheet(path, import_map.sheet) as (head, _):
            return TableForm(sheet=head.sheet, guessed=() if import_map.sheet else ("sheet",))
    with open_ordinary(path) as file:
        begins = file.read(_HEAD_BYTES)
    guessed = []
    encoding = import_map.encoding
    if encoding is None:
        encoding = guessed_encoding(begins)
        guessed.append("encoding")
    delimiter = import_map.delimiter
    if delimiter is None:
        delimiter = _guessed_delimiter(begins.decode(encoding, errors="ignore"))
        guessed.append("delimiter")
    return TableForm(encoding, delimiter, None, tuple(guessed))


def lines(path: Path, form: TableForm) -> Iterator[Line]:
    """Yield the rows of a table, empty ones too. Raises ``ImportFileError``."""
    return _of_sheet(path, form) if form.sheet is not None else _of_csv(path, form)


def _of_csv(path: Path, form: TableForm) -> Iterator[Line]:
    csv.field_size_limit(_LONGEST_CELL)
    with (
        open_ordinary(path) as content,
        io.TextIOWrapper(content, encoding=form.encoding, newline="") as file,
    ):
        bounded = BoundedLines(file)
        reader = csv.reader(bounded, delimiter=form.delimiter or ",", strict=True)
        number = 0
        try:
            for number, cells in enumerate(reader, 1):
                bounded.begin(number + 1)
                if number == 1 and _named_delimiter(cells) is not None:
                    continue  # a line for the spreadsheet alone
                yield Line(number, cells, content.tell())
        except csv.Error:
            raise ImportFileError(
                f"this is no CSV from row {number + 1} on; does the map name its delimiter?"
            ) from None
        except UnicodeDecodeError:
            raise not_in(form.encoding or "") from None


def not_in(encoding: str) -> ImportFileError:
    """Return the error of a file that is not in an encoding."""
    return ImportFileError(f"the file is not {encoding}; name its encoding in the map")


def _named_delimiter(cells: Sequence[str]) -> str | None:
    """Return the delimiter of a first line ``sep=;``, which Excel reads and does not show."""
    text = ",".join(cells).strip().strip('"')
    if text.lower().startswith("sep=") and len(text) <= 5:
        return text[4:] or ","
    return None


def _guessed_delimiter(head: str) -> str:
    """Return the delimiter that cuts most of the first lines into the same number of cells."""
    first = head.splitlines()[:1]
    if first and (named := _named_delimiter(first)) is not None:
        return named
    best = (0, 0, _DELIMITERS[0])
    for place, delimiter in enumerate(_DELIMITERS):
        widths: Counter[int] = Counter()
        try:
            for cells in islice(csv.reader(io.StringIO(head), delimiter=delimiter), _HEAD_LINES):
                widths[len(cells)] += len(cells) > 1
        except csv.Error:
            continue
        if widths:
            width, rows = max(widths.items(), key=lambda one: (one[1], one[0]))
            best = max(best, (rows * (width - 1), -place, delimiter))
    return best[2]


class BoundedLines:
    """The lines of a file, of which those of one row together have a bounded length.

    Raises ``ImportFileError`` past that, with no more of the line in memory than the bound.
    """

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self.begin(1)

    def begin(self, row: int) -> None:
        """Begin a row: all lines that are read from now on belong to this row."""
        self._row = row
        self._left = _LONGEST_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._left + 1)
        if not line:
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise ImportFileError(f"row {self._row} has more than {_LONGEST_ROW} characters")
        return line


def _of_sheet(path: Path, form: TableForm) -> Iterator[Line]:
    total = path.stat().st_size
    with _sheet(path, form.sheet) as (head, told):
        for number, cells in enumerate(told, 1):
            yield Line(number, cells, total * number // max(number, head.rows))


@dataclass(frozen=True, slots=True)
class _SheetHead:
    """The name of a sheet, and how many rows it has."""

    sheet: str
    rows: int


@contextmanager
def _sheet(path: Path, named: str | None) -> Iterator[tuple[_SheetHead, Iterator[list[str]]]]:
    """Read a sheet in a locked process. Raises ``ImportFileError`` if it cannot be read."""
    try:
        with open_ordinary(path) as file:
            process = subprocess.Popen(  # noqa: S603  # this program itself
                _COMMAND,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Not as a word of the command, which every user of the machine can read.
                env={} if named is None else {"SHEET": named},
            )
    except NotReadableError as error:
        raise ImportFileError(str(error)) from None
    except (OSError, ValueError):
        raise ImportFileError(_WRONG["no-such-sheet"]) from None
    try:
        told = _told(process)
        match next(told, None):
            case {"error": str(wrong)} if wrong in _WRONG:
                raise ImportFileError(_WRONG[wrong])
            case {"sheet": str(sheet), "rows": int(rows)}:
                yield _SheetHead(sheet=sheet, rows=rows), _rows(told)
            case _:
                raise ImportFileError(_WRONG["too-large"])
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _rows(told: Iterator[Any]) -> Iterator[list[str]]:
    for row in told:
        if row is None:
            return
        if not isinstance(row, list) or not all(isinstance(cell, str) for cell in row):
            break
        yield row
    raise ImportFileError(_WRONG["too-large"])


def _told(process: "subprocess.Popen[bytes]") -> Iterator[Any]:
    """Yield what a process writes. What it writes counts as hostile: it has read the file."""
    if process.stdout is None:
        return
    while line := process.stdout.readline(_LONGEST_LINE_BYTES + 1):
        if len(line) > _LONGEST_LINE_BYTES:
            raise ImportFileError(f"a row has more than {_LONGEST_ROW} characters")
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            return
