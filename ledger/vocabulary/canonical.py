"""The canonical form of JSON values: how each type of field is written when it is signed.

A value of the right meaning in another form, such as ``"1"`` for a number, would be one thing to
the rules and another to a reader in another language. So each type has one form:

- whole numbers are JSON numbers without fraction or exponent;
- yes and no are ``true`` and ``false``;
- an id is a UUID in lower case with hyphens (RFC 9562);
- a day is ``YYYY-MM-DD``;
- a time is RFC 3339 in UTC, with a ``Z`` and zero to six digits of a second: it may be written in
  several ways, and stands for the moment;
- a field that is left out is absent, not null;
- no text has a NUL character.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    create_model,
)
from pydantic_core import PydanticCustomError, to_json

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import format_utc

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")

Path = tuple[str | None, ...]
"""Where a value lies in JSON: the names of members; ``None`` for each item of a list."""


def _not_canonical(message: str) -> PydanticCustomError:
    return PydanticCustomError("not_canonical", message)


def _uuid_text(value: str) -> str:
    if _UUID.fullmatch(value) is None:
        raise _not_canonical("Write an id as a UUID in lower case, with hyphens")
    return value


def _day_text(value: str) -> str:
    try:
        if _DAY.fullmatch(value) is not None:
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise _not_canonical("Write a day as YYYY-MM-DD")


def _time_text(value: str) -> str:
    try:
        if _TIME.fullmatch(value) is not None:
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise _not_canonical(
        "Write a time as RFC 3339 in UTC with a Z and at most six digits of a second, such as"
        " 2026-11-29T10:00:00.170Z"
    )


def _uuid(value: object) -> object:
    """Return the UUID of a canonical text; return any other value as it is."""
    return UUID(_uuid_text(value)) if isinstance(value, str) else value


CanonicalUuid = Annotated[UUID, BeforeValidator(_uuid)]
"""An id: a text of another form is refused."""

_Uuid = Annotated[str, AfterValidator(_uuid_text)]
_Day = Annotated[str, AfterValidator(_day_text)]
_Time = Annotated[str, AfterValidator(_time_text)]


class _Canonical(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


@cache
def _adapter(model: type[LedgerModel]) -> TypeAdapter[Any]:
    return TypeAdapter(_canonical_model(model))


def check_canonical(model: type[LedgerModel], content: Mapping[str, Any]) -> None:
    """Check that JSON content of ``model`` is in canonical form.

    Raises ``pydantic.ValidationError``, which names the member, and ``ValueError`` for a text
    with a NUL character.
    """
    written = to_json(content)
    _adapter(model).validate_json(written)
    if b"\\u0000" in written and _has_nul(content):
        raise ValueError("a text has a NUL character")


def _has_nul(content: Any) -> bool:
    """Return whether a text in JSON content has a NUL.

    Databases and other programs cannot hold a NUL.
    """
    if isinstance(content, str):
        return "\x00" in content
    if isinstance(content, dict):
        return any(_has_nul(part) for item in content.items() for part in item)
    return isinstance(content, list) and any(map(_has_nul, content))


def moments_normalised(model: type[LedgerModel], content: dict[str, Any]) -> dict[str, Any]:
    """Return canonical content with each time as ``format_utc`` writes it.

    Equal moments are then equal texts. ``content`` stays as it is.
    """
    for path in _time_paths(model):
        content = _with_moment(content, path)
    return content


def _with_moment(value: Any, path: Path) -> Any:
    if not path:
        # Only digits of a second can be written in more than one way.
        return format_utc(datetime.fromisoformat(value)) if "." in value else value
    name, *rest = path
    if name is None:
        return [_with_moment(item, tuple(rest)) for item in value]
    if name not in value:
        return value
    was = value[name]
    normalised = _with_moment(was, tuple(rest))
    return value if normalised is was else {**value, name: normalised}


@cache
def _time_paths(model: type[BaseModel]) -> tuple[Path, ...]:
    hints = get_type_hints(model, include_extras=True)
    return tuple((name, *path) for name in model.model_fields for path in _times_in(hints[name]))


def _times_in(annotation: Any) -> Iterator[Path]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _times_in(parts[0])
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _times_in(part)
    elif origin is tuple:
        yield from ((None, *path) for path in _times_in(parts[0]))
    elif annotation is AwareDatetime:
        yield ()
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _time_paths(annotation)


def _canonical_model(model: type[BaseModel]) -> type[BaseModel]:
    hints = get_type_hints(model, include_extras=True)
    fields: dict[str, Any] = {
        name: (_canonical(hints[name]), ... if field.is_required() else None)
        for name, field in model.model_fields.items()
    }
    return create_model(f"{model.__name__}InCanonicalForm", __base__=_Canonical, **fields)


def _canonical(annotation: Any) -> Any:
    """Return the type of the JSON value in the canonical form of ``annotation``."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        plain = _canonical(parts[0])
        if plain in (_Uuid, _Day, _Time):
            return plain  # what is declared of the value beyond this does not apply to its text
        made = plain
        for item in parts[1:]:
            made = Annotated[made, item]
        return made
    if origin in (Union, UnionType):
        (some,) = (part for part in parts if part is not NoneType)
        return _canonical(some)
    if origin is tuple:
        return tuple[_canonical(parts[0]), ...]  # type: ignore[misc]
    if annotation is AwareDatetime:
        return _Time
    if annotation is UUID:
        return _Uuid
    if annotation is date:
        return _Day
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _canonical_model(annotation)
    is_plain = annotation in (str, int, bool, Any) or origin in (dict, Literal)
    if is_plain or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return annotation
    raise TypeError(f"values of {annotation!r} have no canonical form")
