"""Builds an action from what is typed or read from a file."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from ledger.system.bounded_files import read_ordinary
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.levels import Level


def build(kind: str, assignments: Iterable[str], file: Path | None) -> Action:
    """Build the action of ``kind`` from a JSON file, overridden by ``field=value`` texts.

    A value is read as JSON if it is JSON, else as text. A field that takes several values is given
    as ``a,b``. Raises ``ValueError`` that names the fault.
    """
    model = CASE_ACTIONS.get(kind)
    if model is None:
        raise ValueError(f"there is no action {kind}; see `case-ledger act --list`")
    content: dict[str, Any] = {}
    if file is not None:
        content = json.loads(read_ordinary(file))
        if not isinstance(content, dict):
            raise ValueError(f"{file} does not hold a JSON object")
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment!r} is not field=value")
        content[name] = _value(model, name, value)
    # As JSON, so that what a file and a command line say is read by the same rules.
    return model.model_validate_json(json.dumps(content))


def _value(model: type[Action], name: str, value: str) -> Any:
    schema = _fields(model).get(name)
    if schema is None:
        raise ValueError(f"{model.kind} has no field {name}; see `case-ledger act {model.kind}`")
    kinds = {part.get("type") for part in _alternatives(schema)}
    if "array" in kinds and not value.startswith("["):
        return value.split(",")
    if "string" in kinds:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def kinds_table() -> Table:
    """Return a table of every kind of action."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Action", style="bold")
    table.add_column("Stage")
    table.add_column("What it says")
    for kind, model in CASE_ACTIONS.items():
        says = (model.__doc__ or "").strip().split("\n")[0]
        table.add_row(kind, model.stage.value.replace("_", " "), says)
    return table


def fields_table(kind: str) -> Table:
    """Return a table of the fields of one kind.

    Raises ``ValueError`` if the kind is unknown.
    """
    model = CASE_ACTIONS.get(kind)
    if model is None:
        raise ValueError(f"there is no action {kind}; see `case-ledger act --list`")
    table = Table(title=f"{kind}: {(model.__doc__ or '').strip()}", box=box.SIMPLE_HEAD)
    for column in ("Field", "Seen by", "Needed", "Values"):
        table.add_column(column)
    for name, schema in _fields(model).items():
        level = model.level(name)
        seen = {
            Level.LEDGER: "every party",
            Level.CASE: "parties to the case",
            Level.PERSONAL: f"legal basis: {level.group.value if level.group else ''}",
        }[level.level]
        needed = "yes" if model.model_fields[name].is_required() else ""
        table.add_row(name, seen, needed, _values(schema))
    return table


@cache
def expected(kind: str, field: str) -> str:
    """Describe the values that a field of an action takes, by the vocabulary."""
    schema = _fields(CASE_ACTIONS[kind]).get(field) if kind in CASE_ACTIONS else None
    return _values(schema) if schema is not None else ""


def _fields(model: type[Action]) -> Mapping[str, Any]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return definitions[part["$ref"].rsplit("/", 1)[1]]
            return {key: resolved(value) for key, value in part.items()}
        return [resolved(item) for item in part] if isinstance(part, list) else part

    return {name: resolved(part) for name, part in schema["properties"].items()}


_PATTERNS = {
    "^[A-Z]{2}$": "a country in two letters, such as XK",
    "^[a-z]{3}$": "a language in three letters, such as sqi",
}
"""The values that a pattern of the vocabulary stands for, for people."""


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]


def _values(schema: Mapping[str, Any]) -> str:
    described = []
    for part in _alternatives(schema):
        if part.get("type") == "array":
            described.append(f"several of: {_values(part.get('items', {}))}")
        elif "enum" in part:
            described.append(", ".join(map(str, part["enum"])))
        else:
            told = _PATTERNS.get(part.get("pattern", ""))
            described.append(told or str(part.get("format") or part.get("type") or ""))
    return " or ".join(described)
