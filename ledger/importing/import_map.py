"""The map of a country's file, for its columns and values: a TOML file beside it."""

import codecs
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from ledger.importing.days import LAST_OF_THIS_CENTURY
from ledger.importing.fields import is_known, place
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import Certainty, StatementGround, StatementSource

ENCODINGS = frozenset(
    {
        "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "ascii", "koi8-r", "koi8-u",
        "mac-latin2", "mac-cyrillic", "mac-croatian", "mac-roman",
        *(f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 7, 9, 10, 13, 14, 15, 16)),
        *(f"cp{n}" for n in (437, 737, 850, 852, 855, 857, 858, 866, 1250, 1251, 1252, 1253, 1254)),
    }
)  # fmt: skip
"""The encodings of spreadsheets and databases. Others of Python decompress, or take long."""
_LONGEST_DATE_FORMAT = 40
_DATE_FORMAT = re.compile(r"(?:[^%]|%[aAbBdmyYjHIMSpfzZ%])+")


DateFormat = Annotated[str, Field(max_length=_LONGEST_DATE_FORMAT)]


class UpdateTerms(LedgerModel):
    """The ground, source and certainty of statements that a later file changes."""

    ground: StatementGround = StatementGround.LEARNED
    source: StatementSource
    certainty: Certainty


class ImportMap(LedgerModel):
    """The meaning of a file's columns and values. Without a map, they are those of the standard."""

    columns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """The field of each column: a field of HTCDS, or ``kind.field``, or several of these."""
    values: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The meaning of a value, by the field's name. An empty text leaves the value out."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """The values of all rows, by ``kind.field``, if a row has such an action."""
    file_number: str | None = None
    """The column of the agency's own number. It is kept with the case, and one number is one case.
    """
    update: UpdateTerms | None = None
    """Needed to update known cases: no column of a file says whence a change is known."""
    ignore: frozenset[str] = frozenset()
    """Columns of the file that are not read."""
    ignore_others: bool = False
    """Whether columns that neither the map nor the standard names are not read, instead of refused.
    For exports with hundreds of columns."""
    separator: Annotated[str, Field(min_length=1, max_length=3)] = ";"
    """Between the values of one cell."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Between the cells of a CSV. Unset: it is guessed, and the guess is shown."""
    encoding: str | None = None
    """Unset: it is guessed, and the guess is shown."""
    sheet: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The sheet of a spreadsheet. Unset: the first one with any value."""
    header_row: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The row that has the columns' names. Unset: the first that has names of this map."""
    date_format: tuple[DateFormat, ...] = ()
    """How days are written, as for ``strptime``: one form or several. The forms of
    :class:`ledger.importing.days.Days` are read besides."""
    last_year_of_this_century: Annotated[int, Field(ge=0, le=99)] = LAST_OF_THIS_CENTURY
    """Of years in two digits."""
    time_zone: str = "UTC"
    """Of moments without an offset; a day stands for its beginning there."""

    @field_validator("encoding")
    @classmethod
    def _decodes(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            name = codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError("is no encoding") from None
        if name not in ENCODINGS:
            raise ValueError("is no encoding of text that is read here")
        return value

    @field_validator("date_format", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("date_format")
    @classmethod
    def _writes_a_day(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not (_DATE_FORMAT.fullmatch(one) and _reads_back(one)):
                raise ValueError("does not name day, month and year once each, as %d.%m.%Y does")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError):
            raise ValueError("is no time zone that this system knows (tzdata)") from None
        return value

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        for column in self.columns:
            for name in self.names(column):
                if not is_known(name):
                    raise ValueError(f"columns: there is no field {name}")
        for name in self.values:
            if not is_known(name):
                raise ValueError(f"values: there is no field {name}")
        for name in self.defaults:
            if place(name) is None:
                raise ValueError(f"defaults: there is no field {name}; write kind.field")
        return self

    def knows(self, column: str) -> bool:
        """Return whether the map says what a column is, or that it is not read."""
        return column in self.ignore or column == self.file_number or bool(self.names(column))

    def names(self, column: str) -> tuple[str, ...]:
        """Return the names of the fields that a column of the file fills.

        The result is empty for a column that is unknown or not read.
        """
        if column in self.ignore or column == self.file_number:
            return ()
        mapped = self.columns.get(column)
        if mapped is None:
            return (column,) if is_known(column) else ()
        return (mapped,) if isinstance(mapped, str) else mapped


def with_defaults(import_map: ImportMap, given: Iterable[str]) -> ImportMap:
    """Return the map with more defaults, each written as ``kind.field=value``.

    Raises ``ValueError`` for one that is not so written, or names no field.
    """
    more: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not value:
            raise ValueError(f"write a default as FIELD=VALUE, and not {one}")
        more[name.strip()] = value.strip()
    told = import_map.model_dump() | {"defaults": {**import_map.defaults, **more}}
    return ImportMap.model_validate(told)


def _reads_back(date_format: str) -> bool:
    day = date(2024, 3, 17)
    try:
        return datetime.strptime(day.strftime(date_format), date_format).date() == day
    except (ValueError, re.error):
        return False


def load_map(content: bytes, path: Path) -> ImportMap:
    """Read a map's file.

    Raises ``ValueError``, which says what is wrong, if the file is no map.
    """
    try:
        text = unicodedata.normalize("NFC", content.decode("utf-8"))
        return ImportMap.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
