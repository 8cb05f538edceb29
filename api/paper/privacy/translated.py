"""The papers in other languages: machine-made translations, which each paper says of itself.

The catalogue of a language has a translation for each sentence, heading and cell of a table. Names
of the protocol, titles of laws, ids and code stay as they are.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

_PLACE = Path(__file__).with_name("languages")
LANGUAGES = tuple(sorted(file.stem for file in _PLACE.glob("*.json")))
NOTICE = {
    "sq": "**Përkthim i bërë nga makina.** Asnjë lexues amtar nuk e ka lexuar ende. Vlen faqja në"
    " anglisht.",
    "cnr": "**Mašinski prevod.** Još ga nije pročitao izvorni govornik. Važi stranica na"
    " engleskom.",
}
"""The second paragraph of each translated paper."""
_CELL = re.compile(r"(?<!\\)\|")
_ITEM = re.compile(r"(#+ |- |\d+\. )?(.*)", re.DOTALL)


class UnknownLanguageError(ValueError):
    """There is no catalogue of the language."""


def translated(page: str, language: str) -> str:
    """Return a paper in a language; what the catalogue lacks stays in English.

    Raises ``UnknownLanguageError``.
    """
    if language not in LANGUAGES:
        raise UnknownLanguageError(
            f"the papers are in en, {', '.join(LANGUAGES)}; there is no {language}"
        )
    lines = []
    for line in _whole_lines(page):
        if line.startswith("|"):
            cells = (_text(cell, language) for cell in _CELL.split(line)[1:-1])
            lines.append(f"|{'|'.join(cells)}|")
        else:
            head, text = _parts(line)
            lines.append(f"{head}{_text(text, language)}")
    made = "\n".join([*lines[:2], NOTICE[language], "", *lines[2:]])
    # Papers lie beside each other: a link leads to the one of the same language.
    return re.sub(r"\]\(([a-z-]+)\.md", rf"](\1.{language}.md", made)


def untranslated(page: str, language: str) -> Iterator[str]:
    """Yield each sentence and cell of a paper that the catalogue lacks and that has a word."""
    for line in _whole_lines(page):
        for text in _CELL.split(line)[1:-1] if line.startswith("|") else [_parts(line)[1]]:
            unit = text.strip()
            bare = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|_{3,}", "", unit)
            if re.search(r"[A-Za-z]{2,}", bare) and _found(unit, language) is None:
                yield unit


def _whole_lines(page: str) -> Iterator[str]:
    """Yield the lines of a page, each paragraph and each item as one."""
    open_line = ""
    for line in page.split("\n"):
        begins = not line or line.startswith(("|", "#")) or _parts(line)[0]
        if begins and open_line:
            yield open_line
            open_line = ""
        if not line or line.startswith(("|", "#")):
            yield line
        else:
            open_line = f"{open_line} {line.strip()}" if open_line else line
    if open_line:
        yield open_line


def _parts(line: str) -> tuple[str, str]:
    """Return the mark of a heading or of an item, and the text."""
    found = _ITEM.fullmatch(line)
    return (found[1] or "", found[2]) if found else ("", line)


def _text(text: str, language: str) -> str:
    """Return the translation of a text, within its white space."""
    found = _found(text.strip(), language)
    return text if found is None else text.replace(text.strip(), found)


def _found(unit: str, language: str) -> str | None:
    exact, forms = _catalogue(language)
    if unit in exact:
        return exact[unit]
    for form, translation in forms:
        if held := form.fullmatch(unit):
            return translation.format(*held.groups())
    return None


@cache
def _catalogue(language: str) -> tuple[Mapping[str, str], tuple[tuple[re.Pattern[str], str], ...]]:
    """Return the translations of whole texts, and those of texts with places for values."""
    read: dict[str, str] = json.loads((_PLACE / f"{language}.json").read_text(encoding="utf-8"))
    forms = tuple(
        (re.compile("(.+?)".join(map(re.escape, english.split("{}")))), translation)
        for english, translation in read.items()
        if "{}" in english
    )
    return read, forms
