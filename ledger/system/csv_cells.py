"""Cells of a CSV that no spreadsheet takes for a formula, and how they are read back.

A spreadsheet computes a cell that begins with one of a few characters, no matter who wrote it
(OWASP, "CSV Injection"). An apostrophe before it makes it a text.
"""

import re
from typing import TypeVar

T = TypeVar("T")
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Also the full-width forms, which spreadsheets of some languages take for the same."""


def neutral(value: T) -> T | str:
    """Return a value as it stands in a CSV; a number is no text and stays as it is.

    A text that looks like one that was made neutral gets one more apostrophe, so that
    :func:`original` gives back every text.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def original(cell: str) -> str:
    """Return the text of which :func:`neutral` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
