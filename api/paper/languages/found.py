"""The languages that this program finds: folders of the package, and of ``CASE_LEDGER_LOCALE``.

A language is a folder whose name is its code (``sq``, ``el``, ``sr-Cyrl``). ``LC_MESSAGES`` in it
has the catalogues. ``language.toml`` beside them is needed only where CLDR does not have the code,
or where the language calls itself otherwise than CLDR does.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from babel import Locale, UnknownLocaleError
from pydantic import Field, ValidationError

from ledger.procedure.protocol import Protocol
from ledger.refusals import OperatorError
from ledger.vocabulary.action import LedgerModel

SOURCE = "en"
"""The language from which the others are translated, and which has every text."""
VARIABLE = "CASE_LEDGER_LOCALE"
"""Names folders of further languages, separated as in ``PATH``."""
CATALOGUES = ("case_ledger.po", "case_ledger_web.po")
"""The names of things and the fixed texts of documents; and the texts of the pages."""
_CODE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")


class LanguageError(OperatorError, ValueError):
    """A language does not hold, or is not here."""


class _Described(LedgerModel):
    """The content of ``language.toml``."""

    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """The language's name in the language itself."""
    locale: Annotated[str, Field(pattern=r"^[A-Za-z_]{2,20}$")] | None = None
    """The CLDR locale of its dates, numbers and names, e.g. ``sr_Latn_ME``."""
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{2,35}$")] | None = None
    """Its BCP 47 tag on pages, if it is another than the folder's name."""
    also_for: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """Other languages whose readers are given this one if a browser asks for them."""
    direction: Annotated[str, Field(pattern=r"^(ltr|rtl)$")] | None = None
    """The direction of its lines, if CLDR has another."""


@dataclass(frozen=True)
class Language:
    """A language that texts, pages and documents can be in."""

    code: str
    """The name of its folder, by which protocols name it."""
    name: str
    tag: str
    locale: Locale
    direction: str
    also_for: tuple[str, ...]
    folders: tuple[Path, ...]
    """The folders of its catalogues. A text of the first folder overrides that of the next."""

    @property
    def primary(self) -> str:
        """Return the first part of its tag, e.g. ``sr`` of ``sr-Cyrl``."""
        return self.tag.split("-")[0].lower()

    @property
    def locale_tag(self) -> str:
        """Return its CLDR locale as a BCP 47 tag, for a browser's dates."""
        return str(self.locale).replace("_", "-")


def package_folder() -> Path:
    """Return the folder of the languages that come with this program."""
    with resources.as_file(resources.files("api") / "locale") as folder:
        return folder


def search_path() -> tuple[Path, ...]:
    """Return the folders in which languages are looked for: the named ones, then the package's."""
    named = os.environ.get(VARIABLE, "")
    return (*(Path(one) for one in named.split(os.pathsep) if one), package_folder())


def languages() -> Mapping[str, Language]:
    """Return every language that is found, by its code.

    Raises ``LanguageError`` that names the fault.
    """
    return _languages(search_path())


def language(code: str) -> Language:
    """Return a language by its code. Raises ``LanguageError`` if it is not found."""
    known = languages()
    if code not in known:
        raise LanguageError(
            f"there are no texts in {code!r} here; there are some in {', '.join(known)}"
        )
    return known[code]


def offered(protocol: Protocol | None) -> Sequence[Language]:
    """Return the languages that people may choose under a protocol, in its order.

    Those that come with the program if the protocol names none; English if none of those that it
    names is found.
    """
    known = languages()
    named = (protocol.languages if protocol is not None else None) or shipped()
    return [known[code] for code in named if code in known] or [known[SOURCE]]


def shipped() -> Sequence[str]:
    """Return the codes of the languages that come with this program, English last."""
    return [*(code for code in _codes(package_folder()) if code != SOURCE), SOURCE]


def missing_languages(protocol: Protocol) -> Sequence[str]:
    """Return the languages that a protocol names and that are not found here."""
    return [code for code in protocol.languages or () if code not in languages()]


@cache
def _languages(path: tuple[Path, ...]) -> Mapping[str, Language]:
    folders: dict[str, list[Path]] = {}
    for place in path:
        if not place.is_dir():
            raise LanguageError(f"{VARIABLE} names {place}, which is no folder")
        for code in _codes(place):
            folders.setdefault(code, []).append(place / code)
    return {code: read_language(code, tuple(own)) for code, own in sorted(folders.items())}


def _codes(place: Path) -> Sequence[str]:
    return sorted(
        one.name
        for one in place.iterdir()
        if _CODE.fullmatch(one.name)
        and any((one / "LC_MESSAGES" / name).is_file() for name in CATALOGUES)
    )


def read_language(code: str, folders: tuple[Path, ...]) -> Language:
    """Read what a language's folders say of it.

    Raises ``LanguageError`` that names the file at fault.
    """
    described = _described(folders)
    locale_name = described.locale or code.replace("-", "_")
    try:
        locale = Locale.parse(locale_name)
    except (UnknownLocaleError, ValueError):
        raise LanguageError(
            f"{folders[0]}: CLDR has no locale {locale_name!r}. Name the nearest one in"
            ' language.toml, such as locale = "sr_Latn_ME"'
        ) from None
    own_name = locale.get_language_name(str(locale)) or code
    return Language(
        code=code,
        name=described.name or own_name[:1].upper() + own_name[1:],
        tag=described.tag or code,
        locale=locale,
        direction=described.direction or locale.text_direction,
        also_for=described.also_for,
        folders=folders,
    )


def _described(folders: Sequence[Path]) -> _Described:
    for folder in folders:
        file = folder / "language.toml"
        if not file.is_file():
            continue
        try:
            return _Described.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LanguageError(f"{file}: {error}") from None
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise LanguageError(f"{file}: {'; '.join(wrong)}") from None
    return _Described()
