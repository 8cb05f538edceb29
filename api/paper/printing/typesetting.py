"""Sets a template of ``api`` with texts: they are values to it, and never markup."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from api.paper.languages.found import Language
from api.paper.languages.glyphs import check_script
from ledger.refusals import OperatorError
from ledger.system.extras import how_to_install

if TYPE_CHECKING:
    import typst

_PARTS = ("year", "month", "day", "hour", "minute", "second")


class NotRendered(RuntimeError):
    """The document could not be set. It says nothing of what the document holds."""


class PdfNotInstalledError(OperatorError):
    """This installation cannot make PDF files."""


@dataclass(frozen=True, slots=True)
class PageFrame:
    """The texts around every document: title, page numbers, date."""

    language: Language
    title: str
    number: str
    """Beside the title at the head of each page after the first."""
    page: str
    """The foot of a page. A NUL stands for its number, another one for that of the last page."""
    made_at: datetime
    practice: str | None
    """Across each page, and at its head: the words that mark a paper of a practice ledger."""
    wide: bool = False
    """Whether the pages lie on their side."""


def set_pages(template: bytes, frame: PageFrame, content: Mapping[str, Any]) -> bytes:
    """Return the PDF of a template, which finds ``content`` in ``file``.

    Raises ``NotRendered``, ``PdfNotInstalledError`` where the typesetter is missing, and
    ``ScriptNotInFontsError`` for a language whose script the fonts lack.
    """
    check_script(frame.language)
    try:
        import typst
    except ModuleNotFoundError as missing:
        raise PdfNotInstalledError(
            f"PDF files cannot be made here: {how_to_install(missing)}"
        ) from None
    made = frame.made_at.replace(microsecond=0)
    file = {
        **content,
        "language": frame.language.primary,
        "title": frame.title,
        "number": frame.number,
        "footer": frame.page.split("\0"),
        "made": [getattr(made, part) for part in _PARTS],
        "wide": frame.wide,
        "practice": frame.practice,
    }
    try:
        pdf = typst.compile(
            _pages() + template,
            font_paths=_fonts(),
            sys_inputs={"file": json.dumps(file)},
            format="pdf",
            pdf_standards=["ua-1"],
            timestamp=made,
        )
    except typst.TypstError:
        pdf = None
    if not isinstance(pdf, bytes):
        raise NotRendered("the document could not be set")
    return pdf


@cache
def template(name: str) -> bytes:
    """Return one of the templates of this folder."""
    return (resources.files("api.paper.printing") / name).read_bytes()


def _pages() -> bytes:
    """Return the part before every template: the look of pages, and how texts are put into them."""
    return template("pages.typ")


@cache
def _fonts() -> "typst.Fonts":
    """Return the typesetter's own fonts alone, so that every machine sets the same pages."""
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True)
