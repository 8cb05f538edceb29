"""The text of a PDF that Typst set, in a tenth of the time that a reader of any PDF takes.

``tests/api/web/test_printing.py`` compares it with the text that ``pypdf`` extracts.
"""

import re
from io import BytesIO
from typing import Any

from pypdf import PdfReader

_STRING = rb"(?:[^\\()]|\\.)*"
for _ in range(20):  # pairs of brackets in a string need no escape
    _STRING = rb"(?:[^\\()]|\\.|\(%s\))*" % _STRING
_SHOWN = re.compile(
    rb"/(\w+) [\d.]+ Tf|\[((?:\(%s\)|[-\d. ]+)*)\]\s*TJ|(\(%s\))\s*Tj" % (_STRING, _STRING),
    re.DOTALL,
)
"""The name of a font that is chosen, or strings that are shown."""
_PART = re.compile(rb"\((%s)\)" % _STRING, re.DOTALL)
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_CONTROL = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_MAPPED = re.compile(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>\n")
_BLOCK = re.compile(rb"beginbfchar(.*?)endbfchar", re.DOTALL)


def page_texts(content: bytes) -> list[str]:
    """The text of each page in the order in which it is drawn, a line for each run of letters."""
    known: dict[int, dict[int, str]] = {}
    return [_text(page, known) for page in PdfReader(BytesIO(content)).pages]


def _text(page: Any, known: dict[int, dict[int, str]]) -> str:
    fonts = page["/Resources"].get("/Font", {})
    told: list[str] = []
    letters: dict[int, str] = {}
    for match in _SHOWN.finditer(page.get_contents().get_data()):
        chosen, several, one = match.groups()
        if chosen is not None:
            font = fonts.raw_get(f"/{chosen.decode()}")
            if font.idnum not in known:
                known[font.idnum] = _letters(font.get_object()["/ToUnicode"].get_data())
            letters = known[font.idnum]
            continue
        codes = b"".join(_ESCAPED.sub(_unescaped, part) for part in _PART.findall(several or one))
        pairs = zip(codes[::2], codes[1::2], strict=True)
        told.append("".join(letters[high << 8 | low] for high, low in pairs))
    return "\n".join(told)


def _unescaped(match: re.Match[bytes]) -> bytes:
    one = match[1]
    return bytes([int(one, 8)]) if one[:1].isdigit() else _CONTROL.get(one, one)


def _letters(cmap: bytes) -> dict[int, str]:
    """The characters of each glyph's number in a font."""
    assert b"beginbfrange" not in cmap
    return {
        int(number, 16): bytes.fromhex(text.decode()).decode("utf-16-be")
        for block in _BLOCK.findall(cmap)
        for number, text in _MAPPED.findall(block)
    }
