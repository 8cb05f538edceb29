"""Reads the data that verification needs from a database, all of one moment."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cryptography.x509 import Certificate
from psycopg import Connection
from psycopg.rows import dict_row, scalar_row

from ledger.log.policy import Policy
from ledger.log.timestamp import StoredTimestamp
from ledger.signing.keys import from_public, key_id
from ledger.store.copy_reader import rows_by_position, streaming
from ledger.store.event_rows import RecordedRow
from ledger.verification.verification import ExpectedLedger
from ledger.vocabulary.registration import (
    KeyGrant,
    KeyRegistered,
    ProtocolAdopted,
    PublicKey,
)

_TIMESTAMPS = """
SELECT t.size, t.authority, COALESCE(p.note, '') AS note, t.token, t.moment
FROM log.timestamps t LEFT JOIN log.published p USING (size) ORDER BY t.size, t.authority
"""
_NAMING_KEYS = (ProtocolAdopted.kind, KeyRegistered.kind)


@contextmanager
def one_moment(connection: Connection[Any]) -> Iterator[Connection[Any]]:
    """Yield the connection in a read-only transaction: all reads in it are of one snapshot."""
    with connection.transaction(), streaming(connection):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def stored_rows(
    connection: Connection[Any], kinds: Collection[str] | None = None
) -> Iterator[RecordedRow]:
    """Yield rows by position, one in memory at a time: every row, or the rows of some ``kinds``.

    The connection is the stream's until it ends.
    """
    return rows_by_position(connection, kinds=kinds)


def stored_count(connection: Connection[Any]) -> int:
    """Return how many events are stored."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("SELECT count(*) FROM ledger.events").fetchone() or 0)


def stored_keys(connection: Connection[Any]) -> dict[str, PublicKey]:
    """Return the public keys that the stored acts on the protocol name, by thumbprint."""
    return registered_keys(stored_rows(connection, _NAMING_KEYS))


def kept_in(
    connection: Connection[Any],
    policy: Policy | None,
    held: tuple[str, ...] = (),
    roots: Sequence[Certificate] = (),
) -> ExpectedLedger:
    """Return the data of this database that its events must agree with, and ``held`` besides.

    Timestamps are among it if there are ``roots`` to verify them with.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        timestamps = cursor.execute(_TIMESTAMPS).fetchall() if roots else []
        published = cursor.execute("SELECT note FROM log.published ORDER BY size").fetchall()
        tree = cursor.execute("SELECT level, index, hash FROM ledger.tree").fetchall()
        head = cursor.execute("SELECT position, frontier FROM ledger.head").fetchone()
    return ExpectedLedger(
        policy=policy,
        published=tuple(row["note"] for row in published),
        held=held,
        tree={(row["level"], row["index"]): bytes(row["hash"]) for row in tree},
        frontier=(head["position"], bytes(head["frontier"])) if head else None,
        timestamps=tuple(StoredTimestamp(**row) for row in timestamps),
        roots=roots,
    )


def registered_keys(rows: Iterable[RecordedRow]) -> dict[str, PublicKey]:
    """Return the public keys that a ledger's own acts name, by thumbprint.

    Malformed keys are left out.
    """
    found: dict[str, PublicKey] = {}
    for row in rows:
        if row.kind not in _NAMING_KEYS:
            continue
        try:
            fields = row.event().action.fields
            for content in fields.get("keys", [fields.get("grant")]):
                public = KeyGrant.model_validate(content).key
                found[key_id(from_public(public))] = public
        except (ValueError, KeyError, TypeError):
            continue
    return found
