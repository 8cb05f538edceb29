"""The parts and values of a protocol's text that a program must have to read the text.

An honest node of an older program refuses a proposed text that names something of a later program
(``unknown-version``). It has read every text that the parties adopted. So it reads a text that
names no other part, value or edition than these texts.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_KEYED_BY_DATA = frozenset(
    {"roles", "access", "labels", "labels.*", "parties.names", "agencies.names"}
)
"""The objects whose names are data of the parties, such as a role or a language."""
_KEYED_BY_LIST = frozenset({"actions", "access.*"})
"""The objects whose names are of a list that the program has: kinds of action, and operations."""
_PICKED = frozenset(
    {
        "actions.*.sets_status",
        "access.*.*",
        "duties.groups",
        "retention.reasons",
        "confirmed_keys.changes",
        "forms.periods",
        "forms.sender",
        "forms.source",
    }
)
"""The parts whose values are of a list that the program has."""


def names_nothing_new(text: Mapping[str, Any], adopted: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a program that reads the ``adopted`` texts reads ``text`` too.

    Each text is as it was signed. A text that names nothing new may still not hold.
    """
    texts = list(adopted)
    if _edition(text) > max(map(_edition, texts), default=1):
        return False
    known = {part for one in texts for part in _parts(one)}
    return set(_parts(text)) <= known


def _edition(text: Mapping[str, Any]) -> float:
    edition = text.get("edition", 1)
    return edition if isinstance(edition, int) else float("inf")


def _parts(value: object, place: str = "") -> Iterator[str]:
    """Yield each part of a text by its path, and each value of ``_PICKED`` with its path.

    A path has no positions in lists.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{place}.*" if place in _KEYED_BY_DATA else f"{place}.{name}"
            is_keyed = place in _KEYED_BY_DATA or place in _KEYED_BY_LIST
            below = f"{place}.*" if is_keyed else f"{place}.{name}"
            yield from _parts(inner, below.lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _parts(inner, place)
    elif place in _PICKED:
        yield f"{place}={value}"
