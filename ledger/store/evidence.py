"""Reads from a database what :mod:`ledger.verification` verifies, all of one moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from ledger.entry import unseal
from ledger.keys import from_public, key_id
from ledger.signing import read_recorded
from ledger.store.recorder import RecordedRow
from ledger.transparency.policy import Policy
from ledger.verification import Kept
from ledger.vocabulary.registration import KeyGrant, PublicKey

_PAGE = 2000


@contextmanager
def one_moment(connection: Connection[Any]) -> Iterator[Connection[Any]]:
    """All that is read in the block is of one snapshot; nothing is written."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def stored_rows(connection: Connection[Any]) -> Iterator[RecordedRow]:
    """Every row by position, a page in memory at a time."""
    after = -(2**62)
    while True:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                "SELECT notification_id, originator_id, originator_version, topic, state,"
                " action_id, recorded_at, leaf_hash FROM ledger.events"
                " WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
                (after, _PAGE),
            ).fetchall()
        for row in rows:
            yield RecordedRow(
                position=row["notification_id"],
                originator_id=row["originator_id"],
                version=row["originator_version"],
                kind=row["topic"],
                state=bytes(row["state"]),
                action_id=row["action_id"],
                recorded_at=row["recorded_at"],
                leaf_hash=bytes(row["leaf_hash"]),
            )
        if not rows:
            return
        after = rows[-1]["notification_id"]


def stored_count(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM ledger.events").fetchone()
    return int(next(iter(row.values())) if isinstance(row, dict) else row[0]) if row else 0


def kept_in(connection: Connection[Any], policy: Policy | None, held: tuple[str, ...] = ()) -> Kept:
    """What this database itself says that its events must agree with, and ``held`` besides."""
    with connection.cursor(row_factory=dict_row) as cursor:
        published = cursor.execute("SELECT note FROM log.published ORDER BY size").fetchall()
        tree = cursor.execute("SELECT level, index, hash FROM ledger.tree").fetchall()
        head = cursor.execute("SELECT position, frontier FROM ledger.head").fetchone()
    return Kept(
        policy=policy,
        published=tuple(row["note"] for row in published),
        held=held,
        tree={(row["level"], row["index"]): bytes(row["hash"]) for row in tree},
        frontier=(head["position"], bytes(head["frontier"])) if head else None,
    )


def registered_keys(rows: Iterator[RecordedRow]) -> dict[str, PublicKey]:
    """The public keys that a ledger's own acts name, by thumbprint; malformed ones left out."""
    found: dict[str, PublicKey] = {}
    for row in rows:
        if row.kind not in ("protocol_adopted", "key_registered"):
            continue
        try:
            fields = read_recorded(unseal(row.state)[0]).fields
            for content in fields.get("keys", [fields.get("grant")]):
                public = KeyGrant.model_validate(content).key
                found[key_id(from_public(public))] = public
        except (ValueError, KeyError, TypeError):
            continue
    return found
