"""The shape of a field's value, read from the model: a picklist, a date, a code."""

from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.types import AgencyId, Country, Language, UtcDatetime


class Plain(Enum):
    """Values that are no picklist's."""

    TEXT = auto()
    NUMBER = auto()
    FLAG = auto()
    DATE = auto()
    MOMENT = auto()
    COUNTRY = auto()
    LANGUAGE = auto()
    AGENCY = auto()
    ACTION = auto()


Shape = Plain | type[StrEnum]
"""A picklist's class, or one of the plain shapes; a list has the shape of its items."""

_ALIASES = {
    Country: Plain.COUNTRY,
    Language: Plain.LANGUAGE,
    AgencyId: Plain.AGENCY,
    UtcDatetime: Plain.MOMENT,
}
_TYPES: dict[Any, Plain] = {
    bool: Plain.FLAG,
    int: Plain.NUMBER,
    Decimal: Plain.NUMBER,
    date: Plain.DATE,
    UUID: Plain.ACTION,
}


@cache
def shape(kind: str, field: str) -> Shape:
    """Return the shape of a field, or ``TEXT`` if the vocabulary does not have the field."""
    return shapes(kind).get(field, Plain.TEXT)


@cache
def shapes(kind: str) -> dict[str, Shape]:
    """Return the shapes of all fields of a kind of action, none for an unknown kind."""
    model = ALL_ACTIONS.get(kind)
    if model is None:
        return {}
    hints = get_type_hints(model, include_extras=True)
    return {name: _shape(hints[name]) for name in model.model_fields}


def _shape(hint: Any) -> Shape:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _alias(arguments[1:]) or _shape(arguments[0])
    if origin in (Union, UnionType):
        return _shape(next(a for a in arguments if a is not NoneType))
    if origin is tuple:
        return _shape(arguments[0])
    if origin is Literal:
        return _shape(type(arguments[0]))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    return _TYPES.get(hint, Plain.TEXT)


def _alias(metadata: tuple[Any, ...]) -> Plain | None:
    for alias, plain in _ALIASES.items():
        own = get_args(alias)[1:]
        if metadata[: len(own)] == own:
            return plain
    return None
