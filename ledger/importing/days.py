"""Days as offices write them: in several forms, with short years, as a spreadsheet's number."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta

LAST_OF_THIS_CENTURY = 30
"""Of years in two digits, the last that counts as 20xx, unless the map says another."""
_LONGEST = 64
_WITH_POINTS = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})\.?")
_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]00:00(?::00(?:\.0+)?)?")
_SERIAL = re.compile(r"\d{5}(?:\.0+)?")
_SERIAL_ZERO = date(1899, 12, 30)
"""The day 0 of Excel, LibreOffice and Google Sheets, for every day after February 1900."""


class Days:
    """Reads days in the forms that a map names, and in those that cannot be mistaken.

    These are 2024-03-01, 1.3.2024 and 01.03.24 (day first, as with points it is everywhere in
    Europe), and the five-digit number of a spreadsheet. A form with slashes is read only if the map
    names it: 1/3/2024 is another day for others.
    """

    def __init__(
        self, formats: Sequence[str] = (), last_of_this_century: int = LAST_OF_THIS_CENTURY
    ) -> None:
        self._formats = tuple(formats)
        self._last = last_of_this_century

    def read(self, text: str) -> date:
        """Return the day that a text names. Raises ``ValueError`` if it names none."""
        text = text.strip()
        if len(text) > _LONGEST:
            raise ValueError("is no day")
        for form in self._formats:
            try:
                return self._by_form(text, form)
            except ValueError:
                continue
        if (midnight := _MIDNIGHT.fullmatch(text)) is not None:
            text = midnight[1]
        if not self._formats and (points := _WITH_POINTS.fullmatch(text)) is not None:
            day, month, year = points.groups()
            return date(self._year(year), int(month), int(day))
        if _SERIAL.fullmatch(text):
            return _SERIAL_ZERO + timedelta(days=int(text.split(".")[0]))
        return date.fromisoformat(text)

    def _by_form(self, text: str, form: str) -> date:
        found = datetime.strptime(text, form).date()
        if "%y" not in form:
            return found
        return found.replace(year=self._year(f"{found.year % 100:02}"))

    def _year(self, digits: str) -> int:
        year = int(digits)
        if len(digits) == 4:
            return year
        return (2000 if year <= self._last else 1900) + year
