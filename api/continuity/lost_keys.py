"""Tells a new node, whose keys are made, from one that lost a key, which is refused.

A key that was used leaves marks: its public part in a file beside it, its id in the database, and
whatever it signed or opens. Where a mark is there and the key is not, no new key is made.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import psycopg
from psycopg.sql import SQL, Identifier

from api.runtime.settings import Settings
from ledger.signing.keys import write_private
from ledger.store.database import Database, set_role
from ledger.store.migrate import vault_role, vault_schema, witness_role, witness_schema


class LostKeyError(ValueError):
    """A key that this node used before is not where it was."""


def refuse_lost(settings: Settings, name: str, *others: bool) -> None:
    """Check that no key of this name left a mark, and that none of ``others`` is true.

    ``name`` is that of the file without its ending, such as ``country-xk``. Raises ``LostKeyError``
    if a mark exists or one of ``others`` is true.
    """
    if any(others) or (settings.key_directory / f"{name}.public").exists():
        raise _lost(settings, name)


def mark_used(settings: Settings, name: str, public: str) -> None:
    """Leave a key's public part beside it."""
    path = settings.key_directory / f"{name}.public"
    if not path.exists():
        with suppress(FileExistsError):
            write_private(path, f"{public}\n".encode("ascii"))


def keep_used(database: Database, used: Mapping[str, str]) -> None:
    """Store the ids of the keys that this node uses, by name."""
    with database.connection() as connection:
        for name, key_id in used.items():
            connection.execute(
                "INSERT INTO log.own_keys (name, key_id, first_seen) VALUES (%s, %s, now())"
                " ON CONFLICT DO NOTHING",
                (name, key_id),
            )


def check_none_lost(settings: Settings, conninfo: str, names: Iterable[str]) -> None:
    """Check that no key is missing here whose mark the database has.

    Raises ``LostKeyError`` if one is missing.
    """
    missing = [name for name in names if not _is_here(settings, name)]
    if not missing:
        return
    with psycopg.connect(conninfo) as connection:
        set_role(connection)
        for name in missing:
            if _left_a_mark(connection, name):
                raise _lost(settings, name)


def _is_here(settings: Settings, name: str) -> bool:
    directory = settings.key_directory
    ending = "jwe" if name.startswith("country-") else "jwk"
    return (directory / f"{name}.{ending}").exists() or any(
        path.stem[len(name) + 1 :].isdigit() for path in directory.glob(f"{name}-*.{ending}")
    )


def _left_a_mark(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    kind, _, party = name.partition("-")
    known = "SELECT EXISTS (SELECT FROM log.own_keys WHERE name = %s)"
    if connection.execute(known, (name,)).fetchone() == (True,):
        return True
    role: str | None = None
    if kind == "log":
        query = SQL("SELECT EXISTS (SELECT FROM {}.signed)").format(Identifier("log"))
    elif kind == "witness":
        role = witness_role(party)
        query = SQL("SELECT EXISTS (SELECT FROM {}.cosigned)").format(
            Identifier(witness_schema(party))
        )
    else:
        role = vault_role(party)
        query = SQL("SELECT EXISTS (SELECT FROM {}.disclosures)").format(
            Identifier(vault_schema(party))
        )
    if role is not None:
        connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
    found = connection.execute(query).fetchone()
    set_role(connection)
    return bool(found and found[0])


def _lost(settings: Settings, name: str) -> LostKeyError:
    kind, _, party = name.partition("-")
    where = settings.key_directory / f"{name}.{'jwe' if kind == 'country' else 'jwk'}"
    anew = {
        "country": f"case-ledger keys new-country {party.upper()}",
        "log": "case-ledger log new-key",
        "witness": f"case-ledger witness new-key {party.upper()}",
    }[kind]
    return LostKeyError(
        f"{where} is missing, and this node used that key before. Put it back from its backup. "
        f"Only if it is lost for good: `{anew}` makes another one, and docs/key-loss.md says what "
        "else is needed and what stays closed"
    )
