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
_KEYED_BY_LIST = frozenset({"actions", "access.*", "indicators.strength"})
"""The objects whose names are of a list that the program has: kinds of action, and operations."""
_FREE = frozenset(
    {
        "id",
        "title",
        "roles.*",
        "labels.*.*",
        "parties.code",
        "parties.name",
        "parties.names.*",
        "agencies.id",
        "agencies.name",
        "agencies.names.*",
        "agencies.party",
        "agencies.role",
        "agencies.city",
        "actions.*.roles",
        "expected.roles",
        "duties.roles",
        "confirmed_keys.roles",
        "confirmed_keys.by",
    }
)
"""The parts whose values are the parties' own words, such as a name or a role."""
_FREE_BELOW = "parties.accession."
"""The keys and the node of a party that joined, whose values are free too."""


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
    """Yield each part of a text by its path, and each word with its path.

    The word may be of a list that the program has, unless the part is one of ``_FREE``. A path has
    no positions in lists.
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
    elif isinstance(value, str) and place not in _FREE and not place.startswith(_FREE_BELOW):
        yield f"{place}={value}"
