"""In which language a person is answered: as chosen, or as the browser asks, or in English."""

import re
from collections.abc import Sequence

from fastapi import Request

from api.paper.languages.found import SOURCE, Language, offered
from ledger.procedure.protocol import Protocol

COOKIE = "case-ledger-language"


def protocol_of(request: Request) -> Protocol | None:
    """Return the protocol in force, where a request got as far as to know it."""
    caller = getattr(request.state, "caller", None)
    protocol = caller.protocol if caller is not None else getattr(request.state, "protocol", None)
    return protocol if isinstance(protocol, Protocol) else None


def language_of(request: Request) -> Language:
    """Return the language of a request: the cookie's, else of ``Accept-Language``."""
    known = offered(protocol_of(request))
    chosen = request.cookies.get(COOKIE)
    for one in known:
        if one.code == chosen:
            return one
    return accepted(request.headers.get("accept-language", ""), known)


def accepted(header: str, known: Sequence[Language]) -> Language:
    """Return the first of the ``known`` languages that an ``Accept-Language`` header asks for.

    The header's languages are in the order of their weights (RFC 9110). If none is known, the
    answer is in English, or in the first known language where English is not offered.
    """
    asked: dict[str, Language] = {}
    for one in known:
        asked.setdefault(one.code.lower(), one)
        asked.setdefault(one.primary, one)
    for one in known:
        for other in one.also_for:
            asked.setdefault(other, one)
    default = next((one for one in known if one.code == SOURCE), known[0])
    weighed: list[tuple[float, Language]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        found = asked.get(tag.strip().lower()) or asked.get(tag.split("-")[0].strip().lower())
        if found is not None:
            number = re.fullmatch(r"[01](\.\d{0,3})?", weight.strip() or "1")
            weighed.append((float(number[0]) if number else 0.0, found))
    best = max(weighed, key=lambda one: one[0], default=(0.0, default))
    return best[1] if best[0] > 0 else default
