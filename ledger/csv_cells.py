"""Cells of a CSV that no spreadsheet takes for a formula, and how they are read back.

A spreadsheet computes a cell that begins with one of a few characters, whoever wrote it there
(OWASP, "CSV Injection"). An apostrophe before it makes it a text.
"""

import re
from typing import TypeVar

T = TypeVar("T")
_COMPUTED = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"^('*)(?=[{_COMPUTED}\t\r\n])|(?<=[;\t\r\n])('*)(?=[{_COMPUTED}])")
"""Where a cell begins that would be computed.

Also the full-width forms, which spreadsheets of some languages take for the same. In the languages
of the parties a comma is the decimal separator. A spreadsheet there splits the file at semicolons
and heeds no quotes within a piece, so each piece of a text must be harmless by itself.
"""


def neutral(value: T) -> T | str:
    """Return a value as it stands in a CSV; a number is no text and stays as it is.

    A text that looks like one that was made neutral gets one more apostrophe, so that
    :func:`original` gives back every text.
    """
    return _FORMULA.sub(r"'\g<0>", value) if isinstance(value, str) else value


def original(cell: str) -> str:
    """Return the text of which :func:`neutral` made a cell."""
    return _FORMULA.sub(lambda found: found[0][1:], cell)
