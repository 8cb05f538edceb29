"""The letters of a language that the fonts of PDF files have."""

import unicodedata
from functools import cache

from api.paper.languages.catalogue import messages
from api.paper.languages.found import Language
from api.paper.printing.glyphs import has_codes
from ledger.refusals import OperatorError


class ScriptNotInFontsError(OperatorError):
    """The fonts of PDF files lack the script of a language."""


def check_script(language: Language) -> None:
    """Check that the fonts have the letters of a language's texts.

    Raises ``ScriptNotInFontsError`` that names letters which would be missing.
    """
    lacking = letters_without_glyph(language)
    if lacking:
        raise ScriptNotInFontsError(
            f"The fonts of PDF files lack letters of {language.name}, such as"
            f" {', '.join(f'U+{ord(one):04X}' for one in lacking[:3])}. Choose another language for"
            " the PDF; pages, e-mails and JSON have this one."
        )


@cache
def letters_without_glyph(language: Language) -> tuple[str, ...]:
    """Return the letters of a language's texts that the fonts lack."""
    texts = "".join(messages(language).values())
    letters = sorted({one for one in unicodedata.normalize("NFC", texts) if one.isalpha()})
    return tuple(one for one in letters if has_codes(one))
