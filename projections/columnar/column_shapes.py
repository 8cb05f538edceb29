"""The Arrow type of a field's values, by the declaration in the field's model."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pydantic import AwareDatetime, BaseModel
from pydantic_core import to_json

from ledger.vocabulary import Action

MOMENT = pa.timestamp("us", "UTC")
_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_ZONED = "(Z|[+-][0-9]{2}:[0-9]{2})$"


class NotCanonicalError(ValueError):
    """Values that are valid are not written as a model writes them; read them through it."""


class ColumnEncoding(StrEnum):
    """The encoding of a value whose Arrow type alone does not say it."""

    PLAIN = "plain"
    UUID = "uuid"
    DATE = "date"
    MOMENT = "moment"
    LIST = "list"
    STRUCT = "struct"
    JSON = "json"
    """Of no declared form: kept as its JSON text."""


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """The form of a field's values."""

    form: ColumnEncoding
    type: Any
    """The Arrow type in the export."""
    parts: tuple[tuple[str, "ColumnShape"], ...] = ()
    """Of a list its one item; of a structure its fields."""
    values: tuple[str, ...] = ()
    """The picklist, where there is one."""

    @property
    def wire(self) -> Any:
        """Return the Arrow type of the value in the signed JSON."""
        match self.form:
            case ColumnEncoding.DATE | ColumnEncoding.MOMENT:
                return pa.string()
            case ColumnEncoding.LIST:
                return pa.list_(self.parts[0][1].wire)
            case ColumnEncoding.STRUCT:
                return pa.struct([(name, part.wire) for name, part in self.parts])
        return self.type

    @property
    def is_readable_at_once(self) -> bool:
        """Return whether Arrow can read the values from JSON: every part has a declared form."""
        return self.form is not ColumnEncoding.JSON and all(
            p.is_readable_at_once for _, p in self.parts
        )


@cache
def shapes(model: type[Action]) -> dict[str, ColumnShape]:
    """Return the shape of each ``ledger`` field of an action, except ``acted_at``.

    Every action has ``acted_at``.
    """
    hints = get_type_hints(model, include_extras=True)
    return {name: shape(hints[name]) for name in model.ledger_fields() if name != "acted_at"}


def shape(annotation: Any) -> ColumnShape:
    """Return the shape of the values that an annotation declares.

    Raises ``TypeError`` if such values cannot be kept in a column.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return shape(get_args(annotation)[0])
    if origin in (Union, UnionType):
        some = [part for part in get_args(annotation) if part is not NoneType]
        if len(some) == 1:
            return shape(some[0])
    elif origin is Literal:
        values = [part.value if isinstance(part, Enum) else part for part in get_args(annotation)]
        return ColumnShape(ColumnEncoding.PLAIN, pa.string(), values=tuple(map(str, values)))
    elif origin is tuple and get_args(annotation)[1:] == (Ellipsis,):
        item = shape(get_args(annotation)[0])
        return ColumnShape(ColumnEncoding.LIST, pa.list_(item.type), (("item", item),))
    elif origin is dict or annotation is Any:
        return ColumnShape(ColumnEncoding.JSON, pa.string())
    elif isinstance(annotation, type):
        return _shape_of_class(annotation)
    raise TypeError(f"no column is made for values of {annotation!r}")


def _shape_of_class(declared: type) -> ColumnShape:
    if declared is AwareDatetime or issubclass(declared, datetime):
        return ColumnShape(ColumnEncoding.MOMENT, MOMENT)
    if issubclass(declared, BaseModel):
        hints = get_type_hints(declared, include_extras=True)
        parts = tuple((name, shape(hints[name])) for name in declared.model_fields)
        return ColumnShape(
            ColumnEncoding.STRUCT, pa.struct([(name, part.type) for name, part in parts]), parts
        )
    if issubclass(declared, Enum):
        return ColumnShape(
            ColumnEncoding.PLAIN, pa.string(), values=tuple(str(m.value) for m in declared)
        )
    simple = {
        UUID: ColumnShape(ColumnEncoding.UUID, pa.string()),
        date: ColumnShape(ColumnEncoding.DATE, pa.date32()),
        str: ColumnShape(ColumnEncoding.PLAIN, pa.string()),
        bool: ColumnShape(ColumnEncoding.PLAIN, pa.bool_()),
        int: ColumnShape(ColumnEncoding.PLAIN, pa.int64()),
    }
    if declared not in simple:
        raise TypeError(f"no column is made for values of {declared.__name__}")
    return simple[declared]


def from_wire(array: Any, of: ColumnShape) -> Any:
    """Convert an array from the JSON's types to the export's types.

    Raises ``NotCanonicalError`` if a value is not written as models write it.
    """
    match of.form:
        case ColumnEncoding.PLAIN:
            return array
        case ColumnEncoding.UUID:
            return _all_match(array, _UUID)
        case ColumnEncoding.DATE | ColumnEncoding.MOMENT:
            if of.form is ColumnEncoding.MOMENT:
                _all_match(array, _ZONED)
            try:
                return pc.cast(array, of.type)
            except pa.ArrowInvalid as error:
                raise NotCanonicalError("a time is written in another way") from error
        case ColumnEncoding.LIST:
            from_wire(array.flatten(), of.parts[0][1])
            if array.type != of.type:
                raise NotCanonicalError("items that change are read by themselves")
            return array
        case ColumnEncoding.STRUCT:
            if array.null_count:
                raise NotCanonicalError("a structure is left out")
            parts = [from_wire(array.field(name), part) for name, part in of.parts]
            return pa.StructArray.from_arrays(parts, names=[name for name, _ in of.parts])
    raise NotCanonicalError("a value of no declared form is read by itself")


def to_arrow(value: Any, of: ColumnShape) -> Any:
    """Convert a validated value to the form that Arrow takes for the export's type."""
    if value is None:
        return None
    match of.form:
        case ColumnEncoding.UUID:
            return str(value)
        case ColumnEncoding.JSON:
            return to_json(value).decode()
        case ColumnEncoding.LIST:
            return [to_arrow(item, of.parts[0][1]) for item in value]
        case ColumnEncoding.STRUCT:
            return {name: to_arrow(getattr(value, name), part) for name, part in of.parts}
    return value.value if isinstance(value, Enum) else value


def _all_match(array: Any, pattern: str) -> Any:
    if pc.all(pc.match_substring_regex(array, pattern)).as_py() is False:
        raise NotCanonicalError("a value is written in another way")
    return array
