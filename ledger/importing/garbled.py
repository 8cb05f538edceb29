"""Texts that are not any more what was written once.

They were decoded by another encoding, or a spreadsheet took a number apart. A name or a number that
is stored wrongly is wrong for good. So an import points at it, and records no such row.
"""

import re
from datetime import date
from operator import mul

_CODE_PAGES = ("cp1252", "cp1250", "iso8859-1")
_SOUTH_SLAVIC = re.compile(r"[ŠšŽžČčĆćĐđ]")
_WESTERN = re.compile(r"[æÆèÈðÐ]")
"""``č``, ``ć`` and ``đ`` of code page 1250, as code page 1252 shows them."""
_SIGN_IN_WORD = re.compile(r"\w[¹¾©®]|[¹¾©®][a-zëç]")
"""``š`` and ``ž`` of ISO 8859-2, as a Western code page shows them."""
_REPLACED = "\ufffd"
_WITH_EXPONENT = re.compile(r"[+-]?\d([.,]\d+)?[eE]\+\d{1,3}")
"""A long number as a spreadsheet shows it and writes it into a CSV: ``1,01010E+11``."""
_MASTER_NUMBER = re.compile(r"([1-9])(0[1-9]|1[0-2])([09]\d\d)\d{6}")
"""Without its first zero, a personal number of 13 digits that begins with the day of birth."""
_WEIGHTS = (7, 6, 5, 4, 3, 2) * 2


def is_garbled(text: str) -> bool:
    """Return whether a text was decoded by a wrong encoding, as far as its letters tell."""
    if text.isascii():
        return False
    if _REPLACED in text or _SIGN_IN_WORD.search(text) or _is_utf8(text):
        return True
    return any(
        _SOUTH_SLAVIC.search(word) and _WESTERN.search(word) for word in re.split(r"\s+", text)
    )


def has_lost_digits(text: str) -> bool:
    """Return whether a text is a number with an exponent, which has not all of its digits."""
    return _WITH_EXPONENT.fullmatch(text) is not None


def has_lost_zero(number: str, born: date | None) -> bool:
    """Return whether a personal number (JMBG, EMŠO) lacks the zero at its beginning.

    A spreadsheet takes the zero away. The rest tells it by the day of birth, or, where that is not
    known, by the check digit.
    """
    found = _MASTER_NUMBER.fullmatch(number)
    if found is None:
        return False
    if born is not None:
        return number.startswith(f"{born.day}{born.month:02}{born.year % 1000:03}")
    digits = [int(digit) for digit in f"0{number}"]
    rest = sum(map(mul, _WEIGHTS, digits)) % 11
    return digits[-1] == (0 if rest == 0 else 11 - rest)


def _is_utf8(text: str) -> bool:
    """Return whether the bytes that a code page gives back are UTF-8: two signs for each letter."""
    for page in _CODE_PAGES:
        try:
            text.encode(page).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False
