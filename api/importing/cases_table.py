"""Finds the columns' names in a table, and which of its rows are cases."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice

from api.importing.tables import ImportFileError, Line
from ledger.importing.import_map import ImportMap
from ledger.system.csv_cells import original

_LOOKED_AT = 60
_TOTAL = re.compile(
    r"(total|totals|sum|ukupno|svega|zbir|suma|gjithsej|totali|shuma|вкупно|укупно|σύνολο)\b[\s:.]*",
    re.IGNORECASE,
)
_SUM = re.compile(r"[+-]?(0|[1-9]\d{0,6}|[1-9]\d{0,2}([ .,]\d{3}){1,2})([.,]\d{1,2})?\s?%?")
"""A count or a sum. A day, a phone or an identity number is none: they are of a person."""


class NoCase(StrEnum):
    """The reason for which a row of a table is no case."""

    ABOVE_NAMES = "above-names"
    """It stands above the names of the columns: a title, a date, a remark."""
    NAMES_AGAIN = "names-again"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row below the names, or one that is no case."""

    line: Line
    no_case: NoCase | None = None


@dataclass(frozen=True, slots=True)
class CasesTable:
    """The columns of a table, and its rows."""

    header_row: int
    names: Sequence[str]
    """The names of the columns in the file, normalised."""
    width: int
    """The cells of the row with the names, empty ones too."""
    rows: Iterator[TableRow]


def cases_table(lines: Iterable[Line], import_map: ImportMap) -> CasesTable:
    """Find the columns' names, and return the table. Raises ``ImportFileError`` without any."""
    rest = iter(lines)
    head = list(islice(rest, _LOOKED_AT))
    at = _header(head, import_map)
    names = [cell(text) for text in head[at].cells]
    while names and not names[-1]:
        names.pop()
    above = (TableRow(one, NoCase.ABOVE_NAMES) for one in head[:at] if _has_value(one))
    below = (one for one in chain(head[at + 1 :], rest) if _has_value(one))
    return CasesTable(
        head[at].number,
        names,
        len(head[at].cells),
        chain(above, (TableRow(one, _no_case(one, names)) for one in below)),
    )


def cell(text: str) -> str:
    """Return a cell's text: normalised (NFC), without spaces around, as it was before an export."""
    return original(unicodedata.normalize("NFC", text).strip()).strip()


def _header(head: Sequence[Line], import_map: ImportMap) -> int:
    """Return the index of the row with the names: as the map says, or the first with known ones."""
    filled = [index for index, line in enumerate(head) if _has_value(line)]
    if not filled:
        raise ImportFileError("the file names no columns")
    if import_map.header_row is not None:
        for index in filled:
            if head[index].number == import_map.header_row:
                return index
        raise ImportFileError(f"row {import_map.header_row} has no names of columns")
    for index in filled:
        texts = [text for text in map(cell, head[index].cells) if text]
        known = sum(map(import_map.knows, texts))
        if 2 * known >= len(texts):
            return index
    return filled[0]


def _has_value(line: Line) -> bool:
    return any(text.strip() for text in line.cells)


def _no_case(line: Line, names: Sequence[str]) -> NoCase | None:
    texts = [cell(text) for text in line.cells]
    filled = [text for text in texts if text]
    if [text.casefold() for text in texts[: len(names)]] == [name.casefold() for name in names]:
        return NoCase.NAMES_AGAIN
    if _TOTAL.fullmatch(filled[0]) and all(_SUM.fullmatch(text) for text in filled[1:]):
        return NoCase.TOTAL
    return None
