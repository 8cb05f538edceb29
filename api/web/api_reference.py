"""The API for people: its operations and its actions, from the documents that machines read."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from api.http.openapi import TAGS, operations
from api.paper.subject_access.wording import Wording
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary import json_schema as schemas
from ledger.vocabulary.json_schema import KEYWORD, Schema
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import Stage


@dataclass(frozen=True, slots=True)
class FieldLine:
    """A field of an action, or a member of one of its structures."""

    name: str
    label: str
    is_required: bool
    form: str
    """The type and the limits of its value, in words of JSON Schema."""
    said: str
    level: str
    group: str
    part: str
    """The name of the structure that the value is; empty for any other."""
    shared: str
    """The path of the schema that has its values; empty for any other."""
    values: Sequence[tuple[str, str]]
    """The values that it may have, with their labels."""


@dataclass(frozen=True, slots=True)
class ActionPage:
    """A kind of action in its current version."""

    kind: str
    label: str
    said: str
    version: int
    versions: Sequence[tuple[int, str, str]]
    """Every version with its path and its state."""
    digests: int
    fields: Sequence[FieldLine]
    parts: Sequence[tuple[str, str, Sequence[FieldLine]]]
    """Each structure of its values: name, description and members."""
    example: str


@dataclass(frozen=True, slots=True)
class OperationLine:
    """An operation of the API."""

    method: str
    path: str
    name: str
    said: Sequence[str]
    is_open: bool
    """True if anyone may ask."""
    parameters: Sequence[tuple[str, str, bool, str]]
    """Name, place, whether it is required, and description."""
    body: str
    answers: Sequence[tuple[str, str]]


def marked(text: str) -> Markup:
    """Return a description with its code and its links to this node as HTML."""
    made = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\[([^\]]+)\]\((/(?!/)[\w/.-]*)\)", r'<a href="\2">\1</a>', made))  # noqa: S704 - escaped


def action_page(kind: str, words: Wording) -> ActionPage:
    """Return the page of a kind. Raises ``KeyError`` for an unknown kind."""
    known = schemas.versions(kind)
    schema = schemas.action_schema(kind, known[-1])
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    parts = [(name, one) for name, one in definitions.items() if one["type"] == "object"]
    return ActionPage(
        kind=kind,
        label=words.kind(kind),
        said=schema["description"],
        version=known[-1],
        versions=tuple(
            (one, f"{schemas.BASE}/actions/{kind}/{one}", schemas.state(kind, one))
            for one in reversed(known)
        ),
        digests=schema[KEYWORD]["digests"],
        fields=tuple(_lines(schema, definitions, words)),
        parts=tuple(
            (n, one["description"], (*_lines(one, definitions, words),)) for n, one in parts
        ),
        example=json.dumps(schema["examples"][0], ensure_ascii=False, indent=2),
    )


def kinds_by_stage(words: Wording) -> Sequence[tuple[Stage, Sequence[tuple[str, str]]]]:
    """Return every kind of action with its name, by the stage of the procedure."""
    return [
        (stage, sorted((k, words.kind(k)) for k, one in ALL_ACTIONS.items() if one.stage is stage))
        for stage in Stage
    ]


def operation_groups(document: Mapping[str, Any]) -> Sequence[tuple[str, str, str, int]]:
    """Return the address, name, description and size of each group of operations."""
    tagged = [one["tags"][0] for _, _, one in operations(document)]
    return [(address_of(n), n, said, tagged.count(n)) for n, said in TAGS.items() if n in tagged]


def address_of(tag: str) -> str:
    """Return the last part of the path of a group's page."""
    return tag.replace(" ", "-")


def operation_lines(document: Mapping[str, Any], address: str) -> Sequence[OperationLine]:
    """Return the operations of the group with this address."""
    return [
        _operation(path, method, one)
        for path, method, one in operations(document)
        if address_of(one["tags"][0]) == address
    ]


def _operation(path: str, method: str, one: Mapping[str, Any]) -> OperationLine:
    body = one.get("requestBody", {}).get("content", {})
    return OperationLine(
        method=method.upper(),
        path=path,
        name=one["operationId"],
        said=one["description"].split("\n\n"),
        is_open=not one["security"],
        parameters=tuple(
            (p["name"], p["in"], p.get("required", False), p.get("description", ""))
            for p in one.get("parameters", ())
        ),
        body=", ".join(body),
        answers=tuple((s, answer["description"]) for s, answer in sorted(one["responses"].items())),
    )


def _lines(
    schema: Schema, definitions: Mapping[str, Schema], words: Wording
) -> Iterator[FieldLine]:
    for name, field in schema["properties"].items():
        item = field.get("items", field)
        reference = item.get("$ref", "")
        own = definitions.get(reference.rpartition("/")[2], item) if reference else item
        stands = field.get(KEYWORD, {})
        picklist = schemas.picklists().get(own.get(KEYWORD, {}).get("picklist", ""))
        group = stands.get("group")
        yield FieldLine(
            name=name,
            label=words.field(name) if stands else "",
            is_required=name in schema["required"],
            form=_form(field, own, definitions),
            said=field.get("description", ""),
            level=words.picked(Level(stands["level"])) if "level" in stands else "",
            group=words.picked(FieldGroup(group)) if group else "",
            part=reference.rpartition("/")[2] if own.get("type") == "object" and reference else "",
            shared=reference if reference.startswith(schemas.BASE) else "",
            values=tuple(
                (value, "" if picklist is None else words.picked(picklist(value)))
                for value in own.get("enum", ())
            ),
        )


def _form(field: Schema, own: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return the type of a value and its limits, such as ``string (date)`` or ``array 1..8``.

    A map from names to values has the form of both: ``object 1..24 {^[a-z]{2}$: string 1..200}``.
    """
    told = [str(own.get("type", "string"))]
    value = own.get("additionalProperties")
    if isinstance(value, dict):
        named = definitions.get(value.get("$ref", "").rpartition("/")[2], value)
        keys = own.get("propertyNames", {}).get("pattern", "string")
        return " ".join([*told, *_limits(own), f"{{{keys}: {_form(value, named, definitions)}}}"])
    if told == ["object"] and "properties" not in own:
        return "object {string: any}"
    if "format" in own:
        told.append(f"({own['format']})")
    told += _limits({**own, **field} if "items" not in field else own)
    if "items" in field:
        told = ["array", *_limits(field), "/", *told]
    return " ".join(told)


def _limits(schema: Schema) -> list[str]:
    pairs = (
        ("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
    )  # fmt: skip
    found = [(schema.get(least), schema.get(most)) for least, most in pairs]
    if "exclusiveMaximum" in schema:
        found.append((schema.get("minimum"), schema["exclusiveMaximum"] - 1))
    return [f"{least or 0}..{most}" for least, most in found if most is not None]
