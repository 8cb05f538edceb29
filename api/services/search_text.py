"""Reads the text of the search box: a case's id or reference, a day, or else a person."""

import re
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from ledger.vocabulary.case_reference import read_reference

MOST_CHARACTERS = 200
_DAY = re.compile(r"(\d{1,2})[./\- ]+(\d{1,2})[./\- ]+(\d{4})\.?")
_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_REFERENCE = re.compile(r"[A-Z0-9]{3}[-. ]?[A-Z0-9]{3}[-. ]?[A-Z0-9]{3}")
_CASE_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_FIRST_YEAR, _LAST_YEAR = 1900, 2999
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2013\u2014", "-") | {"\u00a0": " "})


@dataclass(frozen=True, slots=True)
class SoughtCase:
    """A case's id was typed."""

    case_id: UUID


@dataclass(frozen=True, slots=True)
class SoughtReference:
    """A case's reference was typed, in any writing."""

    reference: str
    may_be_name: bool
    """True if it has letters and spaces alone, as a name has."""


@dataclass(frozen=True, slots=True)
class SoughtDay:
    """A day was typed."""

    day: date


@dataclass(frozen=True, slots=True)
class SoughtPerson:
    """Everything else. ``is_wrong_reference``: it has the form of a reference and is none."""

    text: str
    is_wrong_reference: bool = False


Sought = SoughtCase | SoughtReference | SoughtDay | SoughtPerson


def read_sought(text: str) -> Sought | None:
    """Return the meaning of a typed text, or ``None`` if nothing was typed.

    A day is written with the day first, as in all languages of the pages, or as ISO 8601.
    """
    typed = " ".join(text.translate(_DASHES).split())[:MOST_CHARACTERS]
    if not typed:
        return None
    if _CASE_ID.fullmatch(typed.lower()):
        return SoughtCase(UUID(typed))
    if (day := read_day(typed)) is not None:
        return SoughtDay(day)
    upper = typed.upper()
    if not _REFERENCE.fullmatch(upper) or not any(map(str.isalpha, upper)):
        return SoughtPerson(typed)
    may_be_name = not any(character.isdigit() or character == "-" for character in upper)
    try:
        return SoughtReference(read_reference(upper), may_be_name)
    except ValueError:
        return SoughtPerson(typed, is_wrong_reference=not may_be_name)


def read_day(typed: str) -> date | None:
    """Return a typed day, or ``None`` if it is none. Days before 1900 and after 2999 are none."""
    typed = " ".join(typed.split())
    numbers = None
    if found := _DAY.fullmatch(typed):
        numbers = int(found[3]), int(found[2]), int(found[1])
    elif found := _ISO_DAY.fullmatch(typed):
        numbers = int(found[1]), int(found[2]), int(found[3])
    if numbers is None or not _FIRST_YEAR <= numbers[0] <= _LAST_YEAR:
        return None
    try:
        return date(*numbers)
    except ValueError:
        return None
