"""Reads telephone numbers in local writing, as people type them into a form."""

from dataclasses import dataclass

_MOST_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Telephone:
    """A number with the country's code, as people write it: ``+383 44 100 200``."""

    number: str
    country: str | None
    """The ISO 3166-1 code of its country, if the number has one."""


def read_telephone(typed: str, country: str) -> Telephone | None:
    """Return the number that a person of a country means, or ``None`` if it can be none.

    A number without a country's code is one of ``country``. Only its length is judged: numbering
    plans change more often than this program.
    """
    # The library's tables take 7 MB and up to a second: a node that reads no number has neither.
    import phonenumbers as library

    if len(typed) > _MOST_CHARACTERS:
        return None
    try:
        found = library.parse(typed, country)
    except library.NumberParseException:
        return None
    if not library.is_possible_number(found) or found.extension is not None:
        return None
    written = library.format_number(found, library.PhoneNumberFormat.INTERNATIONAL)
    spaced = "".join(sign if sign in "+0123456789" else " " for sign in written)
    return Telephone(" ".join(spaced.split()), library.region_code_for_number(found))
