"""Changes a random row of a table as a superuser could, and undoes it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

KINDS = ("update", "update", "update", "delete", "insert", "swap")


@dataclass(frozen=True)
class Table:
    """A table whose rows are changed."""

    schema: str
    name: str
    where: str = "true"
    fixed: tuple[str, ...] = ()
    """Columns that are left alone: the choice of rows stands on them."""

    @property
    def identifier(self) -> Composed:
        return SQL("{}.{}").format(Identifier(self.schema), Identifier(self.name))


@dataclass(frozen=True)
class Changed:
    """The change of one row."""

    table: Table
    kind: str
    before: dict[str, Any]
    column: str | None = None
    after: Any = None

    def __str__(self) -> str:
        return f"{self.kind} of {self.table.name}.{self.column}: {self.before} to {self.after!r}"


@contextmanager
def changed(database: str, tables: Sequence[Table], random: Random) -> Iterator[Changed]:
    """Change one random row, and put the table back as it was in the end."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET TIME ZONE 'UTC'")
        table = random.choice([t for t in tables if _rows(connection, t)])
        before = _rows(connection, table)
        connection.execute(
            SQL("CREATE TEMP TABLE before AS SELECT * FROM {}").format(table.identifier)
        )
        types = _types(connection, table)
        made = None
        while made is None or _rows(connection, table) == before:
            try:
                with connection.transaction():
                    made = _change(connection, table, before, types, random)
            except (psycopg.IntegrityError, psycopg.DataError):
                made = None  # a constraint refuses it
        try:
            yield made
        finally:
            with connection.transaction():
                connection.execute(SQL("DELETE FROM {}").format(table.identifier))
                connection.execute(
                    SQL("INSERT INTO {} SELECT * FROM before").format(table.identifier)
                )


def _change(
    connection: psycopg.Connection[Any],
    table: Table,
    rows: Sequence[dict[str, Any]],
    types: dict[str, str],
    random: Random,
) -> Changed | None:
    row, kind = random.choice(rows), random.choice(KINDS)
    column = random.choice([name for name in types if name not in table.fixed])
    if kind == "delete":
        _delete(connection, table, row)
        return Changed(table, kind, row)
    if kind == "insert":
        new = row | {
            name: other_value(row[name], types[name], random)
            for name in types
            if name not in table.fixed and random.random() < 0.4
        }
        _insert(connection, table, new)
        return Changed(table, kind, row, after=new)
    if kind == "swap":
        other = random.choice(rows)
        if other[column] == row[column]:
            return None
        _delete(connection, table, row)
        _delete(connection, table, other)
        _insert(connection, table, row | {column: other[column]})
        _insert(connection, table, other | {column: row[column]})
        return Changed(table, kind, row, column, other[column])
    value = other_value(row[column], types[column], random)
    _delete(connection, table, row)
    _insert(connection, table, row | {column: value})
    return Changed(table, kind, row, column, value)


def other_value(value: Any, of_type: str, random: Random) -> Any:
    """Another value of a column's type."""
    match of_type:
        case "jsonb":
            return other_json(value, random)
        case "boolean":
            return random.choice([v for v in (True, False, None) if v is not value])
        case "bigint" | "integer":
            return (value or 0) + random.choice((-1, 1, 1_000))
        case "uuid":
            return uuid4()
        case "timestamp with time zone":
            if value is None:
                return datetime.fromisoformat("2026-01-01T00:00:00Z")
            return random.choice((value - timedelta(days=1), value - timedelta(microseconds=1)))
        case "bytea":
            content = bytes(value or b"?")
            at = random.randrange(len(content))
            return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        case "ARRAY":
            parts = list(value or ())
            if parts and random.random() < 0.5:
                return parts[1:]
            return [*parts, parts[0] if parts else "XX"]
        case _:
            if isinstance(value, str) and value.startswith("{"):
                return json.dumps(other_json(json.loads(value), random), separators=(",", ":"))
            return random.choice((f"{value or ''}x", "XK", "me-nac", "closed", "valid"))


def other_json(value: Any, random: Random) -> Any:
    """A JSON document that differs in one place."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(list(value))
        if random.random() < 0.15:
            return {k: v for k, v in value.items() if k != name}
        return value | {name: other_json(value[name], random)}
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        if random.random() < 0.5:
            return [*value[:at], other_json(value[at], random), *value[at + 1 :]]
        return value[:at] + value[at + 1 :]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return random.choice((f"{value}x", value[:-1] or "y", None))
        case None:
            return random.choice(("x", 1, {}))
        case dict():
            return value | {"more": 1}
        case _:
            return [1]


def _rows(connection: psycopg.Connection[Any], table: Table) -> list[dict[str, Any]]:
    statement = SQL("SELECT t.* FROM {} t WHERE {} ORDER BY t::text").format(
        table.identifier,
        SQL(table.where),
    )
    return connection.execute(statement).fetchall()


def _types(connection: psycopg.Connection[Any], table: Table) -> dict[str, str]:
    found = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (table.schema, table.name),
    ).fetchall()
    return {row["column_name"]: row["data_type"] for row in found}


def _delete(connection: psycopg.Connection[Any], table: Table, row: dict[str, Any]) -> None:
    conditions = SQL(" AND ").join(
        SQL("{0} IS NOT DISTINCT FROM {1}").format(Identifier(name), _adapted(value))
        for name, value in row.items()
    )
    connection.execute(SQL("DELETE FROM {} WHERE {}").format(table.identifier, conditions))


def _insert(connection: psycopg.Connection[Any], table: Table, row: dict[str, Any]) -> None:
    connection.execute(
        SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table.identifier,
            SQL(", ").join(map(Identifier, row)),
            SQL(", ").join(_adapted(value) for value in row.values()),
        )
    )


def _adapted(value: Any) -> Any:
    if isinstance(value, dict):
        return Literal(Jsonb(value))
    return Literal(value)
