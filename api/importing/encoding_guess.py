"""Guesses the encoding of a text file, by its bytes and by the letters of the region."""

import codecs
import re

from charset_normalizer import from_bytes

_CANDIDATES = (
    *("cp1250", "iso8859-2", "cp1252", "iso8859-1", "cp852", "mac-latin2", "mac-croatian"),
    *("cp1251", "iso8859-5", "cp1253", "iso8859-7"),
)
"""Encodings of one byte for each sign, the most usual first."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EXPECTED = re.compile(
    r"[čćžšđČĆŽŠĐëçËÇśźŚŹéáíóúöüâêô]|[\u0400-\u045f]|[\u0386-\u03ce]"  # Cyrillic, Greek
)
_UNEXPECTED = re.compile(
    r"[æÆèÈðÐþÞøØ¹²³¾½¼¿¡¬¦§¶¤©®±µ\xd7\xf7]|[\x80-\x9f]|[\u2500-\u259f]"
    r"|(?<=[a-z])[A-Z\u0400-\u042f\xc0-\xde](?=[a-z])"
)
_SAMPLE_BYTES = 256 * 1024


def guessed_encoding(content: bytes) -> str:
    """Return the encoding of a file that begins with ``content``.

    The result is ``utf-8-sig`` for every text that is UTF-8, with its mark or without.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    sample = content[:_SAMPLE_BYTES]
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sample)
    except UnicodeDecodeError:
        return _of_one_byte(sample)
    return "utf-8-sig"


def _of_one_byte(sample: bytes) -> str:
    scored = []
    for place, name in enumerate(_CANDIDATES):
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        expected, wrong = len(_EXPECTED.findall(text)), len(_UNEXPECTED.findall(text))
        scored.append((wrong - expected, place, name))
    if scored and min(scored)[0] < 0:
        return min(scored)[2]
    found = from_bytes(sample, cp_isolation=list(_CANDIDATES)).best()
    return _CANDIDATES[0] if found is None else found.encoding
