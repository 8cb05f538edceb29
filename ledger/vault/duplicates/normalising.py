"""Names as they compare: one form for what is written in several ways in these countries.

    Đorđe Šarić    Gjorgje Shariq    Ђорђе Шарић    DORDE SARIC        ->  dorda sarik
    Zoja Hoxha     Zoja Hodža        Zojë Hoxha     Зоја Хоџа          ->  zoia hoda

Letters that the languages write differently for about the same sound become one letter of a
class. So do letters that the machine-readable zone of a passport writes alike (ICAO 9303: Đ is D).
The form is coarse on purpose: it is never compared alone.
"""  # noqa: RUF002

import re
import unicodedata
from collections.abc import Sequence
from datetime import date

from anyascii import anyascii

_LETTERS = str.maketrans(
    {
        "ё": "e",
        "ђ": "x",  # Serbian and Montenegrin; Albanian gj
        "ѓ": "x",  # Macedonian
        "џ": "x",  # Albanian xh
        "ќ": "k",
        "đ": "x",
        "ð": "d",
        "č": "k",
        "ć": "k",
        "ç": "k",
        "š": "s",
        "ž": "z",
    }
)
"""Before transliteration, which would take the marks away: ``đ`` is not ``d``."""
_SPELLINGS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), written)
    for pattern, written in (
        (r"dzh|xh|gj|dj|dz|dx", "x"),
        (r"shch|sch|sh", "s"),
        (r"zh", "z"),
        (r"tch|ch|ts|c|q", "k"),
        (r"kh", "h"),
        (r"th", "t"),
        (r"dh", "d"),
        (r"ph", "f"),
        (r"w", "v"),
        (r"[yj]", "i"),
        (r"(.)\1+", r"\1"),  # ll, rr, and what became the same
        (r"(?<=[ln])i(?=[aeou])", ""),  # lj and nj, which the others write l and n, or li and ni
        (r"(?<=..)e$", "a"),  # Zojë, Zoje and Zoja
        (r"(?<=ik)i$", ""),  # Albanian -iqi, of what is -ić elsewhere
    )
)
_MACHINE_READABLE = str.maketrans("x", "d")
"""After all others: a passport's machine-readable zone writes đ as D."""
_NO_LETTER = re.compile(r"[^a-z]+")
_NO_LETTER_OR_DIGIT = re.compile(r"[^A-Z0-9]+")
_SHORTEST_NUMBER = 5
# fmt: off
_PLACEHOLDERS = frozenset((
    "anonim", "anonimna", "anonimus", "anonymous", "bez", "doe", "emer", "emri", "ime",
    "imena", "inconnu", "mbiemer", "mbiemri", "na", "name", "naname", "neidentifikuar",
    "nepoznat", "nepoznata", "nepoznati", "nepoznato", "nepoznatog", "neznan", "nn", "nnlice",
    "noname", "none", "null", "pa", "paemer", "panjohur", "panjohura", "panjohuri", "prezime",
    "surname", "test", "unbekannt", "unk", "unkn", "unknown", "xx", "xxx",
))
# fmt: on
"""Words that stand in a name's field where the name is unknown."""
_APOSTROPHES = re.compile(r"['’ʼ`´‘]")  # noqa: RUF001
_PARTS = 3
"""At most so many parts of a given name, and of a family name, count."""


def parts(name: str | None) -> tuple[str, ...]:
    """Return the parts of a name as they are compared, in the order written.

    Single letters and words that stand for an unknown name do not count.
    ``parts("Ana-Marija")`` is ``("ana", "maria")``.
    """
    folded = (fold(part) for part in plain_parts(name))
    return tuple(dict.fromkeys(part for part in folded if part))[:_PARTS]


def plain_parts(name: str | None) -> tuple[str, ...]:
    """Return the parts of a name in the letters a to z, as they are spelled."""
    if name is None:
        return ()
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", name).casefold())
    ascii_only = anyascii(plain.translate(_LETTERS)).lower().replace("'", "")
    split = (part for part in _NO_LETTER.split(ascii_only) if len(part) > 1)
    return tuple(dict.fromkeys(part for part in split if part not in _PLACEHOLDERS))[:_PARTS]


def fold(word: str) -> str:
    """Return a word in the letters a to z, with one spelling for each sound."""
    for pattern, written in _SPELLINGS:
        word = pattern.sub(written, word)
    return word.translate(_MACHINE_READABLE)


def digits_and_letters(number: str | None) -> str | None:
    """Return an identity number without spaces and signs, or ``None`` if it tells nothing.

    Numbers of fewer than five characters, and of one character repeated, tell nothing.
    """
    if number is None:
        return None
    plain = _NO_LETTER_OR_DIGIT.sub("", anyascii(unicodedata.normalize("NFKC", number)).upper())
    if len(plain) < _SHORTEST_NUMBER or len(set(plain)) == 1 or not any(map(str.isdigit, plain)):
        return None
    return plain


def turned(born: date) -> str:
    """Return a birth date as a text that is the same with day and month exchanged."""
    lower, upper = sorted((born.day, born.month))
    return f"{born.year:04}-{lower:02}-{upper:02}"
