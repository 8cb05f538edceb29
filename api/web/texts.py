"""The texts of the pages in one language, with its plural forms (gettext catalogues)."""

from api.paper.languages.catalogue import page_text_ids, page_texts
from api.paper.languages.found import language

CATALOGUE = "case_ledger_web.po"


class PageTexts:
    """The texts of the pages in a language, by a stable id, with ``{places}`` filled in.

    A text that the language's catalogues lack is the English one.
    """

    def __init__(self, code: str) -> None:
        self._known = page_texts(language(code))

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
        known = (name for name in page_text_ids() if name.startswith(start))
        return tuple(sorted(known))

    def count(self, name: str, number: int) -> str:
        """Return a text in the form that a number asks for, with the number in it as ``{n}``."""
        found = self._known.ngettext(name, f"{name}.many", number)
        if found in (name, f"{name}.many"):
            raise KeyError(name)
        return found.format(n=number)


def texts(code: str) -> PageTexts:
    """Return the texts of a language. Its catalogues are read once.

    Raises ``LanguageError`` if there is no such language.
    """
    return PageTexts(code)
