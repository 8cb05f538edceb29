"""Reads a file of existing cases row by row: HTCDS as a table, or as JSON lines."""

import codecs
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from anyascii import anyascii

from api.importing.cases_table import CasesTable, NoCase, cases_table, cell
from api.importing.tables import (
    BoundedLines,
    ImportFileError,
    TableForm,
    form_of,
    lines,
    not_in,
)
from ledger.importing.fields import STANDARD
from ledger.importing.garbled import has_lost_digits, is_garbled
from ledger.importing.import_map import ImportMap
from ledger.importing.mapping import Fault
from ledger.importing.preparing import ImportRow
from ledger.system.bounded_files import open_ordinary

_READ = 1 << 20
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_JSON_ENCODING = "utf-8-sig"
_LIKE, _LEAST_LIKE = 0.9, 5
"""How alike two names are if one is taken for a slip, from 0 to 1; and the length of each."""

__all__ = ["ImportFileError", "ReadRow", "digest", "file_form", "read_rows"]


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as it stands in the file, or what is wrong with its form."""

    row: ImportRow
    fault: Fault | None
    bytes_read: int
    no_case: NoCase | None = None
    """The reason for which it is no case."""


def file_form(path: Path, import_map: ImportMap) -> TableForm:
    """Return the form in which a file is read. Raises ``ImportFileError``."""
    if path.suffix.lower() in _JSON_LINES:
        return TableForm(encoding=import_map.encoding or _JSON_ENCODING)
    return form_of(path, import_map)


def digest(path: Path, form: TableForm) -> str:
    """Return the file's SHA-256.

    Raises ``ImportFileError`` if the file is not in its encoding.
    """
    hashed = hashlib.sha256()
    decoder = codecs.getincrementaldecoder(form.encoding)() if form.encoding else None
    with open_ordinary(path) as file:
        while content := file.read(_READ):
            hashed.update(content)
            _decode(decoder, content, form)
    _decode(decoder, b"", form, final=True)
    return hashed.hexdigest()


def read_rows(path: Path, import_map: ImportMap, form: TableForm) -> Iterator[ReadRow]:
    """Yield every row with any value.

    A row's number is that of a spreadsheet, or of the line. Raises ``ImportFileError`` if no more
    can be read.
    """
    if path.suffix.lower() in _JSON_LINES:
        return _json_lines(path, import_map, form)
    return _table(path, import_map, form)


def _table(path: Path, import_map: ImportMap, form: TableForm) -> Iterator[ReadRow]:
    table = cases_table(lines(path, form), import_map)
    columns = _columns(table.names, import_map)
    for one in table.rows:
        number, cells, read = one.line.number, one.line.cells, one.line.bytes_read
        if one.no_case is not None:
            yield ReadRow(ImportRow(number, {}), None, read, one.no_case)
            continue
        values = {
            column: text
            for column, raw in zip(columns, cells, strict=False)
            if column and (text := cell(raw))
        }
        fault = Fault("row-shape") if _is_shifted(table, cells) else _fault(values)
        file_number = values.pop(import_map.file_number or "", None)
        yield ReadRow(ImportRow(number, values, file_number), fault, read)


def _is_shifted(table: CasesTable, cells: Sequence[str]) -> bool:
    """Return whether a row has other cells than the names, so that values may be in wrong columns.

    An empty cell too many counts: a delimiter inside an earlier value makes one, where the last
    column is empty.
    """
    named = len(table.names)
    return (
        len(cells) < named
        or len(cells) > max(named, table.width)
        or any(text.strip() for text in cells[named:])
    )


def _fault(values: Mapping[str, Any]) -> Fault | None:
    """Return the fault of a text that is not any more what was written once."""
    for column, text in values.items():
        if isinstance(text, str) and is_garbled(text):
            return Fault("garbled", column)
        if isinstance(text, str) and has_lost_digits(text):
            return Fault("lost-digits", column)
    return None


def _columns(named: Sequence[str], import_map: ImportMap) -> list[str]:
    """Return the columns' names, empty for those that are not read."""
    unread = {name for name in named if not import_map.knows(name)}
    unknown = [index for index, name in enumerate(named, 1) if name in unread]
    if unknown and not import_map.ignore_others:
        # By number alone: a file without a header has a person's name there.
        raise ImportFileError(
            f"the map does not say what these columns are: {', '.join(map(str, unknown))}. Name "
            "them as HTCDS does, or in the map's columns, or in what it ignores. `case-ledger "
            "import FILE --suggest` writes a map to begin with."
        )
    if almost := _misspelt(named, unread, import_map):
        raise ImportFileError(
            "these columns have almost a name that the map or HTCDS has, and would not be read: "
            f"{', '.join(map(str, almost))}. Correct the map's columns, or name them in what it "
            "ignores."
        )
    read = [name for name in named if name not in import_map.ignore and name not in unread]
    if not read:
        raise ImportFileError("the file names no columns")
    if len(set(read)) != len(read):
        raise ImportFileError("two columns have the same name")
    return [name if name in read else "" for name in named]


def _misspelt(named: Sequence[str], unread: Collection[str], import_map: ImportMap) -> list[int]:
    """Return the numbers of the unread columns whose name is almost one that is read.

    A name that the file has itself stands for no other column.
    """
    known = {*import_map.columns, *STANDARD, import_map.file_number or ""}
    wanted = {_plain(name) for name in known - {*named}} - {""}
    read = {_plain(name) for name in named if name not in unread}
    return [
        index
        for index, name in enumerate(named, 1)
        if name in unread and any(_is_almost(_plain(name), other) for other in wanted - read)
    ]


def _is_almost(one: str, other: str) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < _LEAST_LIKE or _digits(one) != _digits(other):
        return False
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.quick_ratio() >= _LIKE and matcher.ratio() >= _LIKE


def _digits(name: str) -> str:
    return re.sub(r"\D", "", name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", anyascii(name).lower())


def _json_lines(path: Path, import_map: ImportMap, form: TableForm) -> Iterator[ReadRow]:
    with (
        open_ordinary(path) as content,
        io.TextIOWrapper(content, encoding=form.encoding, newline="\n") as file,
    ):
        bounded = BoundedLines(file)
        for number, line in enumerate(bounded, 1):
            bounded.begin(number + 1)
            if text := line.strip():
                values, fault = _json_row(text, import_map)
                told = values.pop(import_map.file_number or "", None)
                file_number = None if told is None else str(told)
                yield ReadRow(ImportRow(number, values, file_number), fault, content.tell())


def _json_row(text: str, import_map: ImportMap) -> tuple[dict[str, Any], Fault | None]:
    try:
        content = json.loads(unicodedata.normalize("NFC", text), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return {}, Fault("row-shape")
    if not isinstance(content, dict):
        return {}, Fault("row-shape")
    values = {}
    for index, (name, value) in enumerate(content.items(), 1):
        if name in import_map.ignore:
            continue
        if not import_map.knows(name):
            if import_map.ignore_others:
                continue
            return {}, Fault("unknown-column", f"({index})")
        value = value.strip() if isinstance(value, str) else value
        if value not in ("", None, []):
            values[name] = value
    return values, _fault(values)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated name")
    return found


def _decode(
    decoder: codecs.IncrementalDecoder | None,
    content: bytes,
    form: TableForm,
    *,
    final: bool = False,
) -> None:
    if decoder is None:
        return
    try:
        decoder.decode(content, final)
    except UnicodeDecodeError:
        raise not_in(form.encoding or "") from None
