"""The texts of the pages in one language, with its plural forms (gettext catalogues)."""

import gettext
from functools import cache
from importlib import resources
from io import BytesIO

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from api.client.schemas.personal import Language

CATALOGUE = "case_ledger_web.po"


class PageTexts:
    """The texts of the pages in ``language``, by a stable id, with ``{places}`` filled in."""

    def __init__(self, language: Language) -> None:
        with resources.as_file(resources.files("api") / "locale") as directory:
            content = (directory / language / "LC_MESSAGES" / CATALOGUE).read_bytes()
        # Babel knows no plural forms of Montenegrin by its code; the file states them.
        compiled = BytesIO()
        catalogue = read_po(BytesIO(content))
        self._ids = frozenset(message.id for message in catalogue if isinstance(message.id, str))
        write_mo(compiled, catalogue)
        compiled.seek(0)
        self._known = gettext.GNUTranslations(compiled)

    def text(self, name: str, **values: object) -> str:
        """Return one text.

        Raises ``KeyError`` if no text has this name.
        """
        found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found.format(**values) if values else found

    def find(self, name: str) -> str | None:
        """Return one text as it is, or ``None``."""
        found = self._known.gettext(name)
        return None if found == name else found

    def names(self, start: str) -> tuple[str, ...]:
        """Return the names of the texts that begin with ``start``, in order."""
        known = (name for name in self._ids if name.startswith(start))
        return tuple(sorted(known))

    def count(self, name: str, number: int) -> str:
        """Return a text in the form that a number asks for, with the number in it as ``{n}``."""
        found = self._known.ngettext(name, f"{name}.many", number)
        if found in (name, f"{name}.many"):
            raise KeyError(name)
        return found.format(n=number)


@cache
def texts(language: Language) -> PageTexts:
    """Return the texts of a language; its catalogue is read once."""
    return PageTexts(language)
