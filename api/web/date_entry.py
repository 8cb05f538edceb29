"""Dates as pages take them: day, month and year in three plain fields, in the language's order."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from typing import Self

from babel import Locale
from babel.dates import format_date, get_date_format

EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)
"""The bounds of a date whose field has no closer ones."""
_LETTERS = {"d": "day", "M": "month", "L": "month", "y": "year"}
"""The letters of a CLDR date pattern: https://unicode.org/reports/tr35/tr35-dates.html"""


class DatePart(StrEnum):
    """A part of a date."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@cache
def date_order(locale: Locale) -> tuple[DatePart, ...]:
    """Return the parts of a date in the order in which a language writes them."""
    pattern = get_date_format("short", locale).pattern
    found = [DatePart(_LETTERS[letter]) for letter in pattern if letter in _LETTERS]
    return tuple(dict.fromkeys(found))


def date_example(locale: Locale) -> str:
    """Return a date as a language writes it with numbers, such as ``27/03/2026``."""
    pattern = get_date_format("short", locale).pattern
    whole = pattern if "yyyy" in pattern else pattern.replace("yy", "y")
    return format_date(date(2026, 3, 27), whole, locale=locale)


@cache
def days_in_words(locale: Locale) -> str:
    """Return how a language writes a day of each month, such as ``{day} dhjetor {year}``.

    The twelve months are separated by ``|``. They are for scripts: some browsers have no names of
    months in some languages.
    """
    days = (date(3333, month, 22) for month in range(1, 13))
    written = (format_date(day, "long", locale=locale) for day in days)
    return "|".join(one.replace("22", "{day}").replace("3333", "{year}") for one in written)


@dataclass(frozen=True, slots=True)
class TypedDate:
    """The three parts of a date as a person typed them; empty if nothing was typed."""

    day: str = ""
    month: str = ""
    year: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the parts of a text that :attr:`text` made; another text is the day."""
        parts = text.rsplit("-", 2)
        year, month, day = parts if len(parts) == len(DatePart) else ("", "", text)
        return cls(day, month, year)

    @property
    def text(self) -> str:
        """Return the parts as one text, such as ``2026-12-3``; empty if nothing was typed."""
        parts = [part.strip() for part in (self.year, self.month, self.day)]
        return "-".join(parts) if any(parts) else ""

    def read(self) -> date | None:
        """Return the date, or ``None`` if nothing was typed.

        Raises ``ValueError`` if a part is missing, or if there is no such day between ``EARLIEST``
        and ``LATEST``.
        """
        if not self.text:
            return None
        found = date(int(self.year), int(self.month), int(self.day))
        if not EARLIEST <= found <= LATEST:
            raise ValueError("the date is out of bounds")
        return found
