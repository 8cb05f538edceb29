"""In which language a person is answered: as chosen, or as the browser asks, or in English."""

import re
from typing import get_args

from fastapi import Request

from api.client.schemas.personal import Language

COOKIE = "case-ledger-language"
LANGUAGES: tuple[Language, ...] = get_args(Language)
NAMES: dict[Language, str] = {"sq": "Shqip", "cnr": "Crnogorski", "en": "English"}
TAGS: dict[Language, str] = {"sq": "sq", "cnr": "cnr-Latn", "en": "en"}
"""BCP 47."""
_ASKED: dict[str, Language] = {
    "sq": "sq",
    "cnr": "cnr",
    "sr": "cnr",
    "bs": "cnr",
    "hr": "cnr",
    "en": "en",
}
"""What a browser may ask for; who reads a neighbouring language reads Montenegrin."""


def language_of(request: Request) -> Language:
    """Return the language of a request: the cookie's, else of ``Accept-Language``."""
    for known in LANGUAGES:
        if request.cookies.get(COOKIE) == known:
            return known
    return accepted(request.headers.get("accept-language", ""))


def accepted(header: str) -> Language:
    """Return the first language of an ``Accept-Language`` header that there is (RFC 9110).

    The languages are in the order of their weights.
    """
    weighed: list[tuple[float, Language]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        known = _ASKED.get(tag.split("-")[0].strip().lower())
        if known is not None:
            number = re.fullmatch(r"[01](\.\d{0,3})?", weight.strip() or "1")
            weighed.append((float(number[0]) if number else 0.0, known))
    best = max(weighed, key=lambda one: one[0], default=(0.0, "en"))
    return best[1] if best[0] > 0 else "en"
