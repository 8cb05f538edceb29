"""Text as it can be shown: every character visible, in place, and in the fonts.

The fonts are those that come inside the typesetter: Libertinus Serif, and DejaVu Sans Mono
for what it lacks.
"""

import re
import unicodedata

_RANGES = (
    (0x0020, 0x007E),  # Latin, Greek and Cyrillic
    (0x00A1, 0x00AC),
    (0x00AE, 0x02FF),
    (0x0370, 0x0377),
    (0x037A, 0x037F),
    (0x0384, 0x038A),
    (0x038C, 0x038C),
    (0x038E, 0x03A1),
    (0x03A3, 0x0482),
    (0x048A, 0x04FF),
    (0x0531, 0x0556),  # Armenian
    (0x0559, 0x058A),
    (0x05D0, 0x05EA),  # Hebrew
    (0x060C, 0x060C),  # Arabic
    (0x061B, 0x061B),
    (0x061F, 0x061F),
    (0x0621, 0x063A),
    (0x0640, 0x064A),
    (0x0660, 0x066D),
    (0x0679, 0x067B),
    (0x067E, 0x0680),
    (0x0686, 0x0687),
    (0x0698, 0x0698),
    (0x06A9, 0x06A9),
    (0x06AF, 0x06AF),
    (0x06CC, 0x06CC),
    (0x06F0, 0x06F9),
    (0x10D0, 0x10FF),  # Georgian
    (0x1E00, 0x1EFF),  # Latin with marks
    (0x2010, 0x2027),  # signs
    (0x2030, 0x2040),
    (0x20A0, 0x20C0),
    (0x2116, 0x2116),
    (0x2122, 0x2122),
    (0x2190, 0x2193),
)
"""The letters of the fonts in the scripts of the region and of those who come to it."""

_SHOWN = frozenset(code for first, last in _RANGES for code in range(first, last + 1))
_SPACES = frozenset("\t\u00a0\u2002\u2003\u2009\u202f")
_TOO_LONG = re.compile(r"(\S{10})(?=\S{20})")
"""Where a run without a space, longer than any word of the catalogues, may be broken."""

Line = tuple[str, ...]
"""A line of text in pieces, between which it may be broken besides at its spaces."""


def shown(text: str) -> tuple[Line, ...]:
    """Return the lines of a text, as they can be set.

    A character that has no glyph, or that would act on the text around it instead of being seen
    (controls, directions, marks that join nothing), stands as its number, ``[U+202E]``. Nothing is
    left out.
    """
    lines = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).split("\n")
    return tuple(_pieces("".join(map(_visible, line))) for line in lines)


def has_codes(text: str) -> bool:
    """Return whether ``shown`` gives some character of a text by its number."""
    normal = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\n", ""))
    return any(ord(c) not in _SHOWN and c not in _SPACES for c in normal)


def _visible(character: str) -> str:
    if character in _SPACES:
        return " "
    return character if ord(character) in _SHOWN else f"[U+{ord(character):04X}]"


def _pieces(line: str) -> Line:
    return tuple(_TOO_LONG.sub("\\1\0", line).split("\0"))
