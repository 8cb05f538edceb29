"""The fields ``RateLimit`` and ``RateLimit-Policy`` of an answer, by the limits that it met.

The form is that of draft-ietf-httpapi-ratelimit-headers-10: structured fields, of which each member
is the name of a limit (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a limit after a request."""

    name: str
    quota: int
    """Requests that are allowed in a window."""
    window_seconds: int
    remaining: int
    resets_seconds: int | None
    """After so many seconds more is allowed; ``None`` where that is not known."""


_met: ContextVar[dict[str, Standing] | None] = ContextVar("met_limits", default=None)


@contextmanager
def collecting() -> Iterator[dict[str, Standing]]:
    """Give the limits that a request meets while the block runs, by name.

    Threads that work for the request share the collection, because they get a copy of its context.
    """
    found: dict[str, Standing] = {}
    token = _met.set(found)
    try:
        yield found
    finally:
        _met.reset(token)


def note(standing: Standing) -> None:
    """Note how a limit stands, for the answer of the request, if one is under way."""
    found = _met.get()
    if found is not None:
        found[standing.name] = standing


def fields(found: dict[str, Standing]) -> list[tuple[bytes, bytes]]:
    """Return the two fields of an answer; none if it met no limit."""
    if not found:
        return []
    standings = found.values()
    policy = ", ".join(f'"{one.name}";q={one.quota};w={one.window_seconds}' for one in standings)
    limits = ", ".join(map(_limit, standings))
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", limits.encode())]


def _limit(one: Standing) -> str:
    resets = "" if one.resets_seconds is None else f";t={one.resets_seconds}"
    return f'"{one.name}";r={one.remaining}{resets}'
