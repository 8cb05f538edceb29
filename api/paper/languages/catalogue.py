"""The texts of a language, read from its catalogues (gettext ``.po`` files).

A text that a folder lacks is taken from the next folder of the language, and at last from English.
"""

import gettext
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

from api.paper.languages.found import (
    SOURCE,
    Language,
    LanguageError,
    language,
    languages,
    package_folder,
)

_PLACE = re.compile(r"\{\w*\}")


def read_catalogue(file: Path) -> Catalog:
    """Read one ``.po`` file. Raises ``LanguageError`` that names the fault."""
    try:
        return read_po(BytesIO(file.read_bytes()), abort_invalid=True)
    except (PoFileError, ValueError, LookupError) as error:
        raise LanguageError(f"{file}: {error}") from None


def id_of(message: Message) -> str:
    """Return the id of a message: of one with plural forms, that of the singular."""
    return str(message.id[0] if isinstance(message.id, tuple | list) else message.id)


def forms_of(message: Message) -> tuple[str, ...]:
    """Return the texts of a message, one for each plural form; empty ones are left out."""
    several = message.string if isinstance(message.string, tuple | list) else (message.string,)
    return tuple(str(one) for one in several if one)


def faults(catalogue: Catalog, name: str) -> Iterator[tuple[str, str]]:
    """Yield the ids of the texts that cannot be used, each with the reason.

    ``name`` is the catalogue's file name. A text has the ``{places}`` of the English text: the
    program fills in these.
    """
    known = _places(name)
    for message in catalogue:
        one, forms = id_of(message), forms_of(message)
        if not one or not forms or one not in known or message.fuzzy:
            continue
        for form in forms:
            named = _named(form)
            if named is None or not named <= known[one]:
                yield one, f"has other places than {_list(known[one])}"
                break
            if len(forms) == 1 and named != known[one]:
                yield one, f"lacks some of the places {_list(known[one])}"


def _named(form: str) -> frozenset[str] | None:
    """Return the places of a text, or ``None`` if it has one that is more than a name."""
    try:
        parts = [part[1:] for part in Formatter().parse(form) if part[1] is not None]
    except ValueError:
        return None
    if any(spec or conversion for _, spec, conversion in parts):
        return None
    return frozenset(f"{{{name}}}" for name, _, _ in parts)


def _list(places: frozenset[str]) -> str:
    return ", ".join(sorted(places)) or "none"


def usable(folder: Path, name: str) -> Catalog | None:
    """Return a folder's catalogue without its faulty texts, or ``None`` if it has no such file."""
    file = folder / "LC_MESSAGES" / name
    if not file.is_file():
        return None
    catalogue = read_catalogue(file)
    for faulty, _ in list(faults(catalogue, name)):
        catalogue.delete(faulty)
    return catalogue


@cache
def messages(of: Language) -> Mapping[str, str]:
    """Return the names of things and the texts of documents, by id, without English ones."""
    found: dict[str, str] = {}
    for catalogue in _of_folders(of, "case_ledger.po"):
        for message in catalogue:
            if message.id and message.string and not message.fuzzy:
                found.setdefault(str(message.id), str(message.string))
    return found


def english() -> Mapping[str, str]:
    """Return the English names and texts, which are complete."""
    return messages(language(SOURCE))


@cache
def page_texts(of: Language) -> gettext.NullTranslations:
    """Return the texts of the pages in a language; a missing text is the English one."""
    found: list[gettext.GNUTranslations] = []
    for one in (of, language(SOURCE)):
        for catalogue in _of_folders(one, "case_ledger_web.po"):
            # Babel has no plural forms for some languages; the file states them.
            compiled = BytesIO()
            write_mo(compiled, catalogue)
            compiled.seek(0)
            found.append(gettext.GNUTranslations(compiled))
    for following in found[1:]:
        found[0].add_fallback(following)
    return found[0]


def page_text_ids() -> Iterable[str]:
    """Return the ids of the texts of the pages."""
    return _places("case_ledger_web.po").keys()


def check_named_languages() -> None:
    """Check the languages that are not of this program's package.

    Raises ``LanguageError`` that names the folder or the file at fault.
    """
    for one in languages().values():
        if any(folder.parent != package_folder() for folder in one.folders):
            messages(one)
            page_texts(one)


def _of_folders(of: Language, name: str) -> Sequence[Catalog]:
    told = (usable(folder, name) for folder in of.folders)
    return [catalogue for catalogue in told if catalogue is not None]


@cache
def _places(name: str) -> Mapping[str, frozenset[str]]:
    """Return the places that are filled in, by the id of each English text."""
    source = read_catalogue(package_folder() / SOURCE / "LC_MESSAGES" / name)
    return {
        id_of(message): frozenset(_PLACE.findall(" ".join(forms_of(message))))
        for message in source
        if message.id
    }
