"""The country and language codes that an action may have: ISO 3166-1 and ISO 639-3.

The codes are files of this package, so every node of one version accepts the same codes, whatever
libraries it has. ``python tests/ledger/test_iso_codes.py`` writes the files anew.
"""

from importlib.resources import files


def _codes(file: str) -> frozenset[str]:
    return frozenset(files(__package__).joinpath(file).read_text(encoding="ascii").split())


COUNTRIES = _codes("iso_3166_countries.txt")
"""ISO 3166-1 alpha-2 codes."""
LANGUAGES = _codes("iso_639_languages.txt")
"""ISO 639-3 codes."""
