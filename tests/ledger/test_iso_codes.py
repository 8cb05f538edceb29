"""The codes of the vocabulary are those of the pinned ``pycountry``.

Run as a script, it writes the files of the codes anew. Nodes of an earlier
program refuse an action with a new code.
"""

from pathlib import Path
from textwrap import fill

import pycountry
import pytest
from pydantic import TypeAdapter, ValidationError

from ledger.vocabulary import iso_codes
from ledger.vocabulary.types import Country, Language

COUNTRIES = frozenset(one.alpha_2 for one in pycountry.countries)
LANGUAGES = frozenset(one.alpha_3 for one in pycountry.languages)


def test_the_codes_are_those_of_the_standards() -> None:
    assert iso_codes.COUNTRIES == COUNTRIES
    assert iso_codes.LANGUAGES == LANGUAGES


def test_a_code_is_accepted_only_if_the_standard_has_it() -> None:
    countries, languages = TypeAdapter[str](Country), TypeAdapter[str](Language)
    assert [countries.validate_python(code) for code in ("XK", "ME")] == ["XK", "ME"]
    assert [languages.validate_python(code) for code in ("cnr", "sqi")] == ["cnr", "sqi"]
    for adapter, code in ((countries, "XX"), (countries, "me"), (languages, "zzz")):
        with pytest.raises(ValidationError):
            adapter.validate_python(code)


if __name__ == "__main__":
    folder = Path(iso_codes.__file__).parent
    for file, codes in (
        ("iso_3166_countries.txt", COUNTRIES),
        ("iso_639_languages.txt", LANGUAGES),
    ):
        (folder / file).write_text(fill(" ".join(sorted(codes)), 100) + "\n", encoding="ascii")
