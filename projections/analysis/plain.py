"""Plain values as JSON and back, each with its type: how a view's state is kept and compared."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

_FACTORIES = {f.__name__: f for f in (int, float, str, list, dict, set, Counter)}


class NotPlainError(ValueError):
    """A value cannot be kept; the message says which, and where."""


def dumps(value: Any) -> str:
    """Return a value as text, which is the same for values that are equal when iterated.

    A set has no order of its own; its items are sorted. Raises ``NotPlainError`` if a value is not
    plain.
    """
    return json.dumps(encode(value), ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Any:
    """Return the value that :func:`dumps` wrote."""
    return decode(json.loads(text))


def encode(value: Any, where: str = "state") -> Any:
    """Return a value as JSON, which :func:`decode` reads back.

    ``None``, a bool, an int and a str stay as they are. Any other value becomes a list that begins
    with the name of its type. Raises ``NotPlainError`` if a value is not plain.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return ["float", repr(value)]
    if kind in (list, tuple):
        return [kind.__name__, *(encode(v, f"{where}[{n}]") for n, v in enumerate(value))]
    if kind in (set, frozenset):
        items = [encode(item, f"{where}{{…}}") for item in value]
        return [kind.__name__, *sorted(items, key=json.dumps)]
    if kind in (dict, Counter):
        return [kind.__name__, *_pairs(value, where)]
    if kind is defaultdict:
        factory = getattr(value.default_factory, "__name__", "")
        if _FACTORIES.get(factory) is not value.default_factory:
            raise NotPlainError(f"{where} is a defaultdict of {factory or 'nothing'}; use a dict")
        return ["defaultdict", factory, *_pairs(value, where)]
    return _encode_other(value, where)


def _encode_other(value: Any, where: str) -> Any:
    match value:
        case datetime() if type(value) is datetime and value.tzinfo is not None:
            return ["datetime", value.astimezone(UTC).isoformat()]
        case date() if type(value) is date:
            return ["date", value.isoformat()]
        case timedelta():
            return ["timedelta", value // timedelta(microseconds=1)]
        case UUID():
            return ["UUID", str(value)]
        case Decimal():
            return ["Decimal", str(value)]
    raise NotPlainError(
        f"{where} is a {type(value).__name__}, which cannot be kept; use dicts, lists, sets, "
        "texts, numbers, dates and times with their zone"
    )


def _pairs(value: dict[Any, Any], where: str) -> Iterator[Any]:
    for name, part in value.items():
        at = f"{where}[{name!r}]"
        yield [encode(name, at), encode(part, at)]


def decode(content: Any) -> Any:
    """Return the value that :func:`encode` encoded."""
    if not isinstance(content, list):
        return content
    kind, *parts = content
    match kind:
        case "float":
            return float(parts[0])
        case "list" | "tuple" | "set" | "frozenset":
            made = (decode(part) for part in parts)
            return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](made)
        case "dict" | "Counter":
            pairs = {decode(name): decode(part) for name, part in parts}
            return Counter(pairs) if kind == "Counter" else pairs
        case "defaultdict":
            pairs = {decode(name): decode(part) for name, part in parts[1:]}
            return defaultdict(_FACTORIES[parts[0]], pairs)
        case "datetime":
            return datetime.fromisoformat(parts[0])
        case "date":
            return date.fromisoformat(parts[0])
        case "timedelta":
            return timedelta(microseconds=parts[0])
        case "UUID":
            return UUID(parts[0])
        case "Decimal":
            return Decimal(parts[0])
    raise NotPlainError(f"a kept state has a {kind}, which this program does not know")


def difference(one: Any, other: Any, where: str) -> str | None:
    """Describe the first difference of two encoded values, or return ``None`` if they are equal."""
    if one == other:
        return None
    if isinstance(one, list) and isinstance(other, list) and one[:1] == other[:1] and one:
        kind = one[0]
        if len(one) != len(other):
            return f"{where} has {len(one) - 1} parts in one run, and {len(other) - 1} in another"
        if kind in ("dict", "Counter"):
            names, others = [p[0] for p in one[1:]], [p[0] for p in other[1:]]
            if names != others:
                if sorted(map(json.dumps, names)) == sorted(map(json.dumps, others)):
                    return f"{where} has its keys in another order each run"
                return f"{where} has other keys in another run"
            for (name, part), (_, part_of_other) in zip(one[1:], other[1:], strict=True):
                if found := difference(part, part_of_other, f"{where}[{decode(name)!r}]"):
                    return found
        for number, (part, part_of_other) in enumerate(zip(one[1:], other[1:], strict=True)):
            if found := difference(part, part_of_other, f"{where}[{number}]"):
                return found
    return f"{where} is {_shown(one)} in one run, and {_shown(other)} in another"


def _shown(content: Any) -> str:
    text = repr(decode(content))
    return text if len(text) <= 80 else f"{text[:77]}..."
