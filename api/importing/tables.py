"""Reads a table as lines of texts: a CSV in any usual form, or a sheet of a spreadsheet."""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
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
_MOST_UNPACKED_BYTES = 1 << 30
"""A spreadsheet is a ZIP of XML: one that unpacks to more is not opened."""

_ROUNDED_FROM = 1e15
"""A spreadsheet keeps 15 digits of a number: of a longer one the last digits are lost."""


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
        with _workbook(path) as book:
            sheet = _chosen_sheet(book, import_map.sheet)
        return TableForm(sheet=sheet, guessed=() if import_map.sheet else ("sheet",))
    with open_ordinary(path) as file:
        head = file.read(_HEAD_BYTES)
    guessed = []
    encoding = import_map.encoding
    if encoding is None:
        encoding = guessed_encoding(head)
        guessed.append("encoding")
    delimiter = import_map.delimiter
    if delimiter is None:
        delimiter = _guessed_delimiter(head.decode(encoding, errors="ignore"))
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
    with _workbook(path) as book:
        sheet = book.get_sheet_by_name(form.sheet)
        rows = sheet.to_python(skip_empty_area=False)
    for number, cells in enumerate(rows, 1):
        yield Line(number, [_text(cell) for cell in cells], total * number // len(rows))


@contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    """Open a spreadsheet. Raises ``ImportFileError`` if it is none, or unpacks to too much."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        with open_ordinary(path) as file:
            _check_size(file)
            file.seek(0)
            yield CalamineWorkbook.from_filelike(file)
    except NotReadableError as error:
        raise ImportFileError(str(error)) from None
    except PasswordError:
        raise ImportFileError("this spreadsheet has a password; save it without one") from None
    except CalamineError:
        raise ImportFileError("this is no spreadsheet that can be read") from None


def _check_size(file: Any) -> None:
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as packed:
        if sum(part.file_size for part in packed.infolist()) > _MOST_UNPACKED_BYTES:
            raise ImportFileError(
                f"this spreadsheet unpacks to more than {_MOST_UNPACKED_BYTES >> 20} MiB; save the "
                "sheet of the cases alone, or as CSV"
            )


def _chosen_sheet(book: Any, named: str | None) -> str:
    names: list[str] = book.sheet_names
    if named is not None:
        if named not in names:
            raise ImportFileError("the spreadsheet has no sheet of the name that the map says")
        return named
    for name in names:
        if any(
            any(cell != "" for cell in row)
            for row in book.get_sheet_by_name(name).to_python(skip_empty_area=True)[:_HEAD_LINES]
        ):
            return name
    raise ImportFileError("the spreadsheet has no sheet with any value")


def _text(cell: Any) -> str:
    """Return a cell as a person types it: a day as 2024-03-01, a whole number without a point.

    A number that lost digits is written with an exponent, as a spreadsheet shows it.
    """
    match cell:
        case bool():
            return "true" if cell else "false"
        case float() if abs(cell) >= _ROUNDED_FROM:
            return f"{cell:E}"
        case float() if cell.is_integer():
            return str(int(cell))
        case datetime() if cell.time() == time():
            return cell.date().isoformat()
        case datetime() | date() | time():
            return cell.isoformat()
    return str(cell)
