"""Each kind and version of action as a JSON Schema (2020-12), read from the action's model.

The schema describes an action in canonical form (:mod:`ledger.vocabulary.canonical`), whole: its
``ledger`` fields together with its ``case`` and ``personal`` fields. One keyword of our own,
``x-case-ledger``, has the facts that JSON Schema has no word for.
"""

import ast
import inspect
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache
from itertools import chain, groupby, pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AfterValidator, AwareDatetime, BaseModel, PlainSerializer, StringConstraints
from pydantic.fields import FieldInfo

from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, Action, documents, person, types
from ledger.vocabulary.iso_codes import COUNTRIES, LANGUAGES
from ledger.vocabulary.levels import FieldLevel, Level
from ledger.vocabulary.upcasting import upcasters

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEYWORD = "x-case-ledger"
"""The one keyword of our own. Its value is an object."""
BASE = "/v1/schemas"
"""The path of the schemas at every node. It begins the ``$id`` of each."""

Schema = dict[str, Any]
Definitions = dict[str, Schema]

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DAY = f"{_YEAR}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?Z"
_UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_SPACES = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""The white space that is no control character, as members of a class of characters."""
_NO_TEXT = (
    r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u202a-\u202e\u2066-\u2069"
)
_OF_LINES = r"\t\n\r\u0085"
_BETWEEN = (
    " The protocol in force says who may record this action and what comes before it: `rules` of "
    "`GET /v1/protocol`. A schema cannot say this."
)
_OLDER = {
    "accepted": " This version is deprecated: the program still accepts it and signs a later one.",
    "recorded": (
        " This version is deprecated: it is only read, in events that are recorded. A new action of"
        " this version is refused (`outdated-version`), since it shows fields of the `case` level"
        " to every country."
    ),
}


def versions(kind: str) -> range:
    """Return every version of a kind's schema. Raises ``KeyError`` for an unknown kind."""
    if kind not in ALL_ACTIONS:
        raise KeyError(kind)
    return range(1, upcasters().version(kind) + 1)


def state(kind: str, version: int) -> str:
    """Return the state of a version: the treatment of new actions of it.

    ``current``: it signs and accepts them. ``accepted``: it accepts them. ``recorded``: it refuses
    them, and reads those that are recorded.
    """
    if version == upcasters().version(kind):
        return "current"
    return "recorded" if upcasters().signs_in_clear(kind, version) else "accepted"


def digest_count(kind: str, version: int) -> int:
    """Return how many digests an action of a version has, decoys among them."""
    counted = upcasters().digests(kind, version)
    return len(ALL_ACTIONS[kind].disclosable_fields()) if counted is None else counted


def level(kind: str, version: int, field: str) -> FieldLevel:
    """Return the level of a field in a version: a later version may have sealed it."""
    steps = (one for one in upcasters() if one.kind == kind and one.from_version >= version)
    if any(field in one.to_case for one in steps):
        return FieldLevel(Level.LEDGER)
    return ALL_ACTIONS[kind].level(field)


@cache
def action_schema(kind: str, version: int) -> Schema:
    """Return the schema of a version of a kind. Nobody may change the result.

    Raises ``KeyError`` for an unknown kind or version.
    """
    if version not in versions(kind):
        raise KeyError(version)
    model = ALL_ACTIONS[kind]
    definitions: Definitions = {}
    own = _object(model, definitions)
    for name, described in own["properties"].items():
        stands = level(kind, version, name)
        group = {} if stands.group is None else {"group": stands.group.value}
        described[KEYWORD] = {"level": stands.level.value, **group, **described.get(KEYWORD, {})}
    now = state(kind, version)
    return {
        "$schema": DIALECT,
        "$id": f"{BASE}/actions/{kind}/{version}",
        "title": kind,
        **own,
        "description": own["description"] + _BETWEEN + _OLDER.get(now, ""),
        **({} if now == "current" else {"deprecated": True}),
        **model.between_fields,
        "examples": [_example(model, own, definitions)],
        KEYWORD: {
            "kind": kind,
            "version": version,
            "state": now,
            "current": upcasters().version(kind),
            "subject": "case" if kind in CASE_ACTIONS else "protocol",
            "stage": model.stage.value,
            "digests": digest_count(kind, version),
        },
        **({"$defs": dict(sorted(definitions.items()))} if definitions else {}),
    }


def shared_schemas() -> Mapping[str, Schema]:
    """Return the schemas that several kinds refer to, by name."""
    return {
        name: {
            "$schema": DIALECT,
            "$id": f"{BASE}/shared/{name}",
            "title": name,
            "description": said,
            "type": "string",
            "enum": sorted(values),
        }
        for name, said, values in (
            ("countries", "ISO 3166-1 alpha-2, or the user-assigned `XK`.", {*COUNTRIES, "XK"}),
            ("languages", "A language by its ISO 639-3 code.", LANGUAGES),
        )
    }


@cache
def picklists() -> Mapping[str, type[StrEnum]]:
    """Return every picklist of a field, by its name in the schemas."""
    found: dict[str, type[StrEnum]] = {}

    def look(hint: Any) -> None:
        for part in get_args(hint):
            look(type(part) if isinstance(part, StrEnum) else part)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            found[hint.__name__] = hint
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            for one in get_type_hints(hint, include_extras=True).values():
                look(one)

    for model in ALL_ACTIONS.values():
        hints = get_type_hints(model, include_extras=True)
        for name in model.model_fields:
            look(hints[name])
    return found


def _object(model: type[BaseModel], definitions: Definitions) -> Schema:
    """Return the schema of a model's members. One without a value is left out, not null."""
    hints, said = get_type_hints(model, include_extras=True), _said_of_fields(model)
    members: dict[str, Schema] = {}
    for name in model.model_fields:
        described = {"description": said[name]} if name in said else {}
        members[name] = {**_value(hints[name], definitions), **described}
    return {
        "description": inspect.cleandoc(model.__doc__ or "").replace("``", "`"),
        "type": "object",
        "properties": members,
        "required": [name for name, one in model.model_fields.items() if one.is_required()],
        "additionalProperties": False,
    }


@cache
def _said_of_fields(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the text below each field in the source of a model and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        body = _classes(base.__module__)[base.__name__].body
        for field, text in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                said = inspect.cleandoc(str(text.value.value)).replace("``", "`")
                found[field.target.id] = said.replace("\n", " ")
    return found


@cache
def _classes(module: str) -> Mapping[str, ast.ClassDef]:
    body = ast.parse(inspect.getsource(sys.modules[module])).body
    return {one.name: one for one in body if isinstance(one, ast.ClassDef)}


def _value(hint: Any, definitions: Definitions) -> Schema:
    """Return the schema of the values that a type declares.

    Raises ``TypeError`` for a declaration that this module does not have in words of JSON Schema.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        made = _value(parts[0], definitions)
        for item in parts[1:]:
            made = _constrained(made, item, definitions)
        return made
    if origin in (Union, UnionType):
        (some,) = (part for part in parts if part is not NoneType)
        return _value(some, definitions)
    if origin is tuple and parts[1:] == (Ellipsis,):
        return {"type": "array", "items": _value(parts[0], definitions)}
    if origin is dict:
        if parts[1] is Any:
            return {"type": "object"}
        names, values = (_value(part, definitions) for part in parts)
        names.pop("type")
        return {"type": "object", "propertyNames": names, "additionalProperties": values}
    if origin is Literal:
        listed = [part.value if isinstance(part, Enum) else part for part in parts]
        named = {KEYWORD: {"picklist": type(parts[0]).__name__}}
        return {"type": "string", "enum": listed} | (named if isinstance(parts[0], StrEnum) else {})
    return _plain(hint, definitions)


def _plain(hint: Any, definitions: Definitions) -> Schema:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        described = {
            "description": inspect.cleandoc(hint.__doc__ or "").replace("``", "`"),
            "type": "string",
            "enum": [one.value for one in hint],
            KEYWORD: {"picklist": hint.__name__},
        }
        return _defined(hint.__name__, lambda: described, definitions)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _defined(hint.__name__, lambda: _object(hint, definitions), definitions)
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    raise TypeError(f"no schema is made for values of {hint!r}")


def _defined(name: str, make: Callable[[], Schema], definitions: Definitions) -> Schema:
    if name not in definitions:
        definitions[name] = make()
    return {"$ref": f"#/$defs/{name}"}


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string", "pattern": r"^[^\u0000]*$"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    date: {"type": "string", "format": "date", "pattern": f"^{_DAY}$"},
    AwareDatetime: {"type": "string", "format": "date-time", "pattern": f"^{_DAY}T{_TIME}$"},
    UUID: {"type": "string", "format": "uuid", "pattern": f"^{_UUID}$"},
    Decimal: {"type": "string", "pattern": r"^(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"},
}
_SIZES = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def _constrained(schema: Schema, item: Any, definitions: Definitions) -> Schema:
    """Return a schema with a further constraint of its declaration."""
    match item:
        case FieldLevel() | PlainSerializer():
            return schema
        case AfterValidator():
            return _validated(schema, item, definitions)
        case StringConstraints():
            sizes = {"minLength": item.min_length, "maxLength": item.max_length}
            pattern = {} if item.pattern is None else {"pattern": _portable(str(item.pattern))}
            return schema | {k: v for k, v in sizes.items() if v is not None} | pattern
        case FieldInfo():
            for one in item.metadata:
                schema = _limited(schema, one)
            return schema
    raise TypeError(f"the constraint {item!r} is in no schema")


def _limited(schema: Schema, item: Any) -> Schema:
    least, most = _SIZES.get(schema.get("type", "string"), ("", ""))
    is_amount = schema == _PLAIN[Decimal]
    match item:
        case MinLen():
            return {**schema, least: item.min_length}
        case MaxLen():
            return {**schema, most: item.max_length}
        case Ge() if is_amount and item.ge == 0:
            return schema  # its pattern has no sign
        case Ge():
            return {**schema, "minimum": item.ge}
        case Gt():
            return {**schema, "exclusiveMinimum": item.gt}
        case Le():
            return {**schema, "maximum": item.le}
        case Lt():
            return {**schema, "exclusiveMaximum": item.lt}
    if (pattern := getattr(item, "pattern", None)) is not None:
        return {**schema, "pattern": _portable(pattern)}
    if (places := getattr(item, "decimal_places", None)) is not None and is_amount:
        return {**schema, "pattern": rf"^(?:0|[1-9][0-9]*)(?:\.[0-9]{{1,{places}}})?$"}
    raise TypeError(f"the limit {item!r} is in no schema")


def _portable(pattern: str) -> str:
    """Return a pattern in which digits are those of ASCII for every reader."""
    return pattern.replace(r"\d", "[0-9]")


def _validated(schema: Schema, validator: AfterValidator, definitions: Definitions) -> Schema:
    function: Any = validator.func
    if function in _REFERENCES:
        return {"$ref": f"{BASE}/shared/{_REFERENCES[function]}"}
    if function in _CHARACTERS:
        name, said, pattern = _CHARACTERS[function]
        described = {"description": said, "type": "string", "pattern": pattern()}
        sizes = {key: schema[key] for key in ("minLength", "maxLength") if key in schema}
        return _defined(name, lambda: described, definitions) | sizes
    if function in _PATTERNS:
        return {**schema, **_PATTERNS[function]}
    raise TypeError(f"the check {function!r} is in no schema")


def _text_pattern() -> str:
    """Return the pattern of a text of several lines without white space at its ends."""
    return _without_spaces_at_ends(_NO_TEXT, _SPACES + _OF_LINES)


@cache
def _name_pattern() -> str:
    """Return the pattern of a name: one line, and no character that nobody sees."""
    codes = chain(range(0x20, 0x20000), range(0xE0000, 0xE1000))  # all planes that have any
    hidden = (c for c in map(chr, codes) if _is_hidden(c))
    spans = (list(one) for _, one in groupby(enumerate(hidden), lambda x: ord(x[1]) - x[0]))
    listed = "".join(_span(one[0][1], one[-1][1]) for one in spans)
    return _without_spaces_at_ends(rf"\u0000-\u001f{listed}", _SPACES)


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Zl", "Zp") or (category == "Cf" and character not in "\u200c\u200d")


def _span(first: str, last: str) -> str:
    return _escaped(first) + (f"-{_escaped(last)}" if last != first else "")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else character


def _without_spaces_at_ends(never: str, spaces: str) -> str:
    return f"^[^{never}{spaces}](?:[^{never}]*[^{never}{spaces}])?$"


_REFERENCES: Mapping[Any, str] = {types._country: "countries", types._language: "languages"}
_CHARACTERS: Mapping[Any, tuple[str, str, Callable[[], str]]] = {
    types._text: (
        "Text",
        "A text of one or more lines, without white space at its ends and without characters that "
        "nobody can see. Something in it can be seen; this schema does not check that.",
        _text_pattern,
    ),
    types._name: (
        "Name",
        "A text of one line, without white space at its ends and without characters that nobody "
        "can see. Something in it can be seen, and a joiner (U+200C, U+200D) stands between two "
        "letters; this schema checks neither.",
        _name_pattern,
    ),
}
_PATTERNS: Mapping[Any, Schema] = {
    types._utc: {},
    person._quarter: {"pattern": f"^{_YEAR}-(?:01|04|07|10)-01$"},
    documents._ordered: {
        "description": "Pages in order, each once, such as `2,5-7`. This schema does not check "
        "the order."
    },
}
"""The words of JSON Schema for each check of the vocabulary that is a function."""


def _example(model: type[Action], own: Schema, definitions: Definitions) -> dict[str, Any]:
    """Return an action that the program accepts.

    It has the required fields and those that the model names, else the first that is optional and
    not on the ledger.
    """
    sealed = [name for name in model.disclosable_fields() if name not in own["required"]]
    named = {*own["required"], *(model.example_fields or sealed[:1])}
    return {
        name: _sample(one, definitions) for name, one in own["properties"].items() if name in named
    }


def _sample(schema: Schema, definitions: Definitions) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in definitions:
            return _sample({**definitions[name], **_sizes_of(schema)}, definitions)
        return {"countries": "XK", "languages": "sqi"}[name]
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "array":
            return list(_samples(schema, definitions))
        case "object" if "propertyNames" in schema:
            return {"en": _sample(schema["additionalProperties"], definitions)}
        case "object":
            members = schema.get("properties", {}).items()
            required = schema.get("required", ())
            return {name: _sample(one, definitions) for name, one in members if name in required}
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    pattern = schema.get("pattern")
    if pattern in _SAMPLES:
        return _SAMPLES[pattern]
    return "Example".ljust(schema.get("minLength", 0), "x")


def _sizes_of(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key.endswith("Length")}


def _samples(schema: Schema, definitions: Definitions) -> Iterator[Any]:
    for _ in range(schema.get("minItems", 1)):
        yield _sample(schema["items"], definitions)


_KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
_SAMPLES: Mapping[str | None, str] = {
    f"^{_UUID}$": "3f2b8a5e-6d0f-4b58-9f44-0c5b7f7a3f10",
    f"^{_DAY}$": "2026-01-05",
    f"^{_YEAR}-(?:01|04|07|10)-01$": "2031-04-01",
    f"^{_DAY}T{_TIME}$": "2026-01-05T08:00:00Z",
    r"^(?:0|[1-9][0-9]*)(?:\.[0-9]{1,2})?$": "120.50",
    r"^[a-z][a-z0-9-]{2,43}$": "xk-dhtqnj",
    r"^[a-z][a-z_]{1,39}$": "police",
    r"^OKP$": "OKP",
    r"^Ed25519$": "Ed25519",
    r"^[A-Za-z0-9_-]{43}$": _KEY,
    r"^[A-Za-z0-9_-]{1622}$": "A" * 1622,
    r"^[0-9a-f]{64}$": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$": f"e30.e30.{'A' * 86}",
    r"^https?://[A-Za-z0-9.\[\]:-]{1,253}(:[0-9]{1,5})?$": "https://node.example",
    r"^\+[0-9][0-9 ]{3,24}$": "+999 00 000 000",
    r"^\+?[1-9][0-9]{1,14}$": "+99900000000",
    r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$": "office@example.org",
}
"""A value for each pattern of the vocabulary that "Example" does not have."""
