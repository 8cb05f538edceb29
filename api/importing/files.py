"""Reads a file of existing cases row by row: HTCDS as CSV, or as JSON lines."""

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.importing.import_map import ImportMap
from ledger.importing.mapping import Fault
from ledger.importing.preparing import ImportRow
from ledger.system.bounded_files import open_ordinary
from ledger.system.csv_cells import original

_READ = 1 << 20
_LONGEST_CELL = 1 << 20
_LONGEST_ROW = 4 << 20
"""Characters of a row; a case with every field takes some hundreds of thousands."""
_JSON_LINES = (".jsonl", ".ndjson", ".json")


class ImportFileError(ValueError):
    """A file as a whole cannot be imported; the message says why, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as it stands in the file, or what is wrong with its form."""

    row: ImportRow
    fault: Fault | None
    bytes_read: int


def digest(path: Path, encoding: str) -> str:
    """Return the file's SHA-256.

    Raises ``ImportFileError`` if the file is not in this encoding.
    """
    hashed, decoder = hashlib.sha256(), codecs.getincrementaldecoder(encoding)()
    with open_ordinary(path) as file:
        while content := file.read(_READ):
            hashed.update(content)
            _decode(decoder, content, encoding)
    _decode(decoder, b"", encoding, final=True)
    return hashed.hexdigest()


def read_rows(path: Path, import_map: ImportMap) -> Iterator[ReadRow]:
    """Yield every row with any value.

    A row's number is that of a spreadsheet, whose first row has the names, or of the line. Raises
    ``ImportFileError`` if no more can be read.
    """
    read = _json_lines if path.suffix.lower() in _JSON_LINES else _csv
    return read(path, import_map)


def _csv(path: Path, import_map: ImportMap) -> Iterator[ReadRow]:
    csv.field_size_limit(_LONGEST_CELL)
    with (
        open_ordinary(path) as content,
        io.TextIOWrapper(content, encoding=import_map.encoding, newline="") as file,
    ):
        lines = _BoundedLines(file)
        reader = csv.reader(lines, delimiter=import_map.delimiter, strict=True)
        number = 1
        try:
            columns = _columns(next(reader, []), import_map)
            lines.begin(2)
            for number, cells in enumerate(reader, 2):
                lines.begin(number + 1)
                if not any(cell.strip() for cell in cells):
                    continue
                fault = Fault("row-shape") if len(cells) != len(columns) else None
                values = {
                    column: text
                    for column, cell in zip(columns, cells, strict=False)
                    if column and (text := original(cell.strip()).strip())
                }
                yield ReadRow(ImportRow(number, values), fault, content.tell())
        except csv.Error:
            raise ImportFileError(
                f"this is no CSV from row {number} on; does the map name its delimiter?"
            ) from None


class _BoundedLines:
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


def _columns(header: list[str], import_map: ImportMap) -> list[str]:
    """Return the columns' names, empty for those that are not read."""
    named = [original(name.strip()).strip() for name in header]
    unknown = [
        index
        for index, name in enumerate(named, 1)
        if name not in import_map.ignore and not import_map.names(name)
    ]
    if unknown:
        # By number alone: a file without a header has a person's name there.
        raise ImportFileError(
            f"the map does not say what these columns are: {', '.join(map(str, unknown))}. Name "
            "them as HTCDS does, or in the map's columns, or in what it ignores."
        )
    read = [name for name in named if name not in import_map.ignore]
    if not read:
        raise ImportFileError("the file names no columns")
    if len(set(read)) != len(read):
        raise ImportFileError("two columns have the same name")
    return [name if name in read else "" for name in named]


def _json_lines(path: Path, import_map: ImportMap) -> Iterator[ReadRow]:
    with (
        open_ordinary(path) as content,
        io.TextIOWrapper(content, encoding=import_map.encoding, newline="\n") as file,
    ):
        lines = _BoundedLines(file)
        for number, line in enumerate(lines, 1):
            lines.begin(number + 1)
            if text := line.strip():
                values, fault = _json_row(text, import_map)
                yield ReadRow(ImportRow(number, values), fault, content.tell())


def _json_row(text: str, import_map: ImportMap) -> tuple[Mapping[str, Any], Fault | None]:
    try:
        content = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return {}, Fault("row-shape")
    if not isinstance(content, dict):
        return {}, Fault("row-shape")
    values = {}
    for index, (name, value) in enumerate(content.items(), 1):
        if name in import_map.ignore:
            continue
        if not import_map.names(name):
            return {}, Fault("unknown-column", f"({index})")
        value = value.strip() if isinstance(value, str) else value
        if value not in ("", None, []):
            values[name] = value
    return values, None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated name")
    return found


def _decode(
    decoder: codecs.IncrementalDecoder, content: bytes, encoding: str, *, final: bool = False
) -> None:
    try:
        decoder.decode(content, final)
    except UnicodeDecodeError:
        raise ImportFileError(f"the file is not {encoding}; name its encoding in the map") from None
