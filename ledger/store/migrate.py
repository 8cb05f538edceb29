"""Forward migrations: numbered SQL files, each applied once, in one transaction, in order."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composable, Identifier

from ledger.procedure.protocol import Protocol
from ledger.refusals import OperatorError
from ledger.store.database import APP_ROLE, ServerTooOldError, check_server

_LOCK = 7_205_301_446  # any number, the same in every process
_CREATE = """
CREATE SCHEMA IF NOT EXISTS migrations;
CREATE TABLE IF NOT EXISTS migrations.applied (
    component  text        NOT NULL,
    name       text        NOT NULL,
    sha256     bytea       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, name)
);
"""


class MigrationError(OperatorError):
    """A migration cannot be applied; the database is as it was before it."""


@dataclass(frozen=True, slots=True)
class Component:
    """A directory of migrations, with the values of its ``{names}``."""

    name: str
    directory: Traversable
    names: Mapping[str, Composable] = field(default_factory=dict)


def ledger_components(parties: Iterable[str]) -> tuple[Component, ...]:
    """Return the ledger's own tables, and a vault for each party."""
    own = Component("ledger", resources.files("ledger.store") / "migrations")
    return (own, *map(vault_component, parties))


def vault_component(party: str) -> Component:
    """Return the tables of one party's vault."""
    reader = Identifier(reader_role(party))
    return _of_party("vault", party, vault_schema(party), vault_role(party), reader=reader)


def witness_component(party: str) -> Component:
    """Return the tables of one party's witness, which may stand in a database of its own."""
    return _of_party("witness", party, witness_schema(party), witness_role(party))


def _of_party(kind: str, party: str, schema: str, role: str, **more: Composable) -> Component:
    """Return a template of migrations, applied to one party's schema and role."""
    directory = resources.files("ledger.store") / f"{kind}_migrations"
    names = {"schema": Identifier(schema), "role": Identifier(role), **more}
    return Component(f"{kind}-{party.lower()}", directory, names)


def witness_schema(party: str) -> str:
    return f"witness_{party.lower()}"


def witness_role(party: str) -> str:
    return f"case_ledger_witness_{party.lower()}"


def vault_schema(party: str) -> str:
    return f"vault_{party.lower()}"


def vault_role(party: str) -> str:
    return f"case_ledger_vault_{party.lower()}"


def reader_role(party: str) -> str:
    """Return the name of the role that reads disclosures of a party's vault.

    The role is under row-level security, and changes nothing.
    """
    return f"case_ledger_reader_{party.lower()}"


def write_access_matrix(conninfo: str, protocol: Protocol, parties: Iterable[str]) -> None:
    """Write the protocol's access matrix into each vault, as the owner.

    A party that joined since the last migration has no vault here yet; its migration writes it.
    """
    rows = sorted(access_rows(protocol))
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        for party in parties:
            if not _has_vault(cursor, party):
                continue
            table = SQL("{}.access_matrix").format(Identifier(vault_schema(party)))
            cursor.execute(SQL("DELETE FROM {}").format(table))
            cursor.executemany(SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(table), rows)


def _has_vault(cursor: Cursor, party: str) -> bool:
    name = f"{vault_schema(party)}.access_matrix"
    return cursor.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)


def access_rows(protocol: Protocol) -> set[tuple[str, str, str]]:
    """Return the protocol's access matrix as rows of a vault's table.

    Each row is a role, an operation and a field group.
    """
    return {
        (role, operation.value, group.value)
        for role, operations in protocol.access.items()
        for operation, groups in operations.items()
        for group in groups
    }


def migrate(
    conninfo: str,
    components: Sequence[Component],
    *,
    roles: Iterable[str] = (),
    grant_to: str | None = None,
) -> list[str]:
    """Apply the missing migrations, as the owner, and return their names.

    ``roles`` are created if missing; with ``grant_to``, that login may take the application's role
    and these, and nothing more. Raises ``MigrationError``.
    """
    applied: list[str] = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        _check_encoding(connection)
        try:
            check_server(connection)
        except ServerTooOldError as error:
            raise MigrationError(str(error)) from error
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            with connection.transaction():
                connection.execute(_CREATE)
            for role in (APP_ROLE, *roles):
                _ensure_role(connection, role)
            for component in components:
                applied += _apply(connection, component)
            if grant_to is not None:
                for role in (APP_ROLE, *roles):
                    _let_take(connection, grant_to, role)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    return applied


def _check_encoding(connection: psycopg.Connection[TupleRow]) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MigrationError(
            f"the database's encoding is {encoding}; make it anew with ENCODING 'UTF8'"
        )


def _apply(connection: psycopg.Connection[TupleRow], component: Component) -> list[str]:
    done: dict[str, bytes] = dict(
        connection.execute(
            "SELECT name, sha256 FROM migrations.applied WHERE component = %s", (component.name,)
        ).fetchall()
    )
    applied: list[str] = []
    files = sorted((f for f in component.directory.iterdir()), key=lambda f: f.name)
    for file in (f for f in files if f.name.endswith(".sql")):
        text = file.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).digest()
        if file.name in done:
            if bytes(done[file.name]) != digest:
                raise MigrationError(
                    f"{component.name}/{file.name} was changed after it was applied here; "
                    "write a new migration instead"
                )
            continue
        statement = SQL(text).format(**component.names) if component.names else SQL(text)
        try:
            with connection.transaction():
                connection.execute(statement)
                connection.execute(
                    "INSERT INTO migrations.applied (component, name, sha256) VALUES (%s, %s, %s)",
                    (component.name, file.name, digest),
                )
        except psycopg.Error as error:
            raise MigrationError(f"{component.name}/{file.name}: {error}") from error
        applied.append(f"{component.name}/{file.name}")
    return applied


def _ensure_role(connection: psycopg.Connection[TupleRow], role: str) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if exists is None:
        with connection.transaction():
            connection.execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
    # The owner may act in the role too (a superuser may anyway).
    _let_take(connection, None, role)


def _let_take(connection: psycopg.Connection[TupleRow], login: str | None, role: str) -> None:
    target = Identifier(login) if login is not None else SQL("CURRENT_USER")
    connection.execute(
        SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(Identifier(role), target)
    )
