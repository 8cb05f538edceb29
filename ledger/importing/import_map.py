"""The map of a country's file, for its columns and values: a TOML file beside it."""

import codecs
import re
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from ledger.importing.fields import is_known, place
from ledger.vocabulary.action import LedgerModel

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


class ImportMap(LedgerModel):
    """The meaning of a file's columns and values. Without a map, they are those of the standard."""

    columns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """The field of each column: a field of HTCDS, or ``kind.field``, or several of these."""
    values: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The meaning of a value, by the field's name. An empty text leaves the value out."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """The values of all rows, by ``kind.field``, if a row has such an action."""
    ignore: frozenset[str] = frozenset()
    """Columns of the file that are not read."""
    separator: Annotated[str, Field(min_length=1, max_length=3)] = ";"
    """Between the values of one cell."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between the cells of a CSV."""
    encoding: str = "utf-8-sig"
    date_format: Annotated[str | None, Field(max_length=_LONGEST_DATE_FORMAT)] = None
    """How days are written, as for ``strptime``. Unset: 2024-03-01."""
    time_zone: str = "UTC"
    """Of moments without an offset; a day stands for its beginning there."""

    @field_validator("encoding")
    @classmethod
    def _decodes(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError("is no encoding") from None
        if name not in ENCODINGS:
            raise ValueError("is no encoding of text that is read here")
        return value

    @field_validator("date_format")
    @classmethod
    def _writes_a_day(cls, value: str | None) -> str | None:
        if value is not None and not (_DATE_FORMAT.fullmatch(value) and _reads_back(value)):
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

    def names(self, column: str) -> tuple[str, ...]:
        """Return the names of the fields that a column of the file fills.

        The result is empty for a column that is unknown or not read.
        """
        if column in self.ignore:
            return ()
        mapped = self.columns.get(column)
        if mapped is None:
            return (column,) if is_known(column) else ()
        return (mapped,) if isinstance(mapped, str) else mapped


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
        return ImportMap.model_validate(tomllib.loads(content.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
