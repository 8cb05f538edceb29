"""Names as they compare: one form for what is written in several ways in these countries.

    Đorđe Šarić    Gjorgje Shariq    Ђорђе Шарић    Djordje Saric      ->  xorxa sarik
    Zoja Hoxha     Zoja Hodža        Zojë Hoxha     Зоја Хоџа          ->  zoia hoxa

Letters that the languages write differently for about the same sound become one letter of a
class. The form is coarse on purpose: it is compared together with a birth date, and what it takes
for the same is looked at by two coordinators.
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
_NO_LETTER = re.compile(r"[^a-z]+")
_APOSTROPHES = re.compile(r"['’ʼ`´‘]")  # noqa: RUF001
_PARTS = 3
"""At most so many parts of a given name, and of a family name, count."""


def parts(name: str | None) -> tuple[str, ...]:
    """Return the parts of a name as they are compared, in the order written.

    Single letters do not count. ``parts("Ana-Marija")`` is ``("ana", "maria")``.
    """
    if name is None:
        return ()
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", name).casefold())
    ascii_only = anyascii(plain.translate(_LETTERS)).lower().replace("'", "")
    folded = (fold(part) for part in _NO_LETTER.split(ascii_only) if len(part) > 1)
    return tuple(dict.fromkeys(part for part in folded if part))[:_PARTS]


def fold(word: str) -> str:
    """Return a word in the letters a to z, with one spelling for each sound."""
    for pattern, written in _SPELLINGS:
        word = pattern.sub(written, word)
    return word


def turned(born: date) -> str:
    """Return a birth date as a text that is the same with day and month exchanged."""
    lower, upper = sorted((born.day, born.month))
    return f"{born.year:04}-{lower:02}-{upper:02}"
