"""Parcels that wait at the ledger node for the country that can open them.

What a parcel holds would open for ever to the country's key, and so would each backup that was made
while it waited. Therefore each lies under a key of its own besides, in a file apart from the
database, which is destroyed when the parcel is taken out.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from ledger.refusals import Ground, Refusal
from ledger.store.database import Database
from ledger.vault.key_files import KeyFiles
from ledger.vault.parcels import Parcel

MAX_BYTES = 1_000_000
MAX_WAITING = 100_000
_log = structlog.get_logger(__name__)
_KEY_BYTES, _NONCE_BYTES = 32, 12
_ENCLOSED = b"case-ledger parcel at rest 1\n"
"""Before what lies under a key of its own. An earlier version kept parcels as they came."""

_WAITING = """
WITH turns AS (
    SELECT seq, row_number() OVER (PARTITION BY sender ORDER BY seq) AS turn
    FROM mailbox.parcels WHERE recipient = %s
)
SELECT seq, turn, id, sender, recipient, sealed
FROM turns JOIN mailbox.parcels USING (seq)
WHERE (turn, seq) > (%s, %s) ORDER BY turn, seq LIMIT %s
"""


class Mailbox:
    """The table of parcels, and their keys in ``directory``. What is taken out is gone."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._keys = KeyFiles(directory)
        self._passed_over: dict[str, int] = {}
        """How many of a country's parcels did not open when it was last asked."""

    def put(self, parcel: Parcel) -> None:
        """Keep a parcel until it is fetched. Durable on return; the same again is no other.

        Raises ``Refusal`` (``parcel``) where it is too large, or too many wait.
        """
        if len(parcel.sealed) > MAX_BYTES:
            raise Refusal(Ground.INVALID, "parcel", f"A parcel has at most {MAX_BYTES} bytes.")
        with self._database.transaction() as connection:
            waiting = connection.execute(
                "SELECT count(*) AS parcels FROM (SELECT FROM mailbox.parcels"
                " WHERE recipient = %s LIMIT %s) p",
                (parcel.recipient, MAX_WAITING),
                prepare=True,
            ).fetchone()
            if waiting is not None and waiting["parcels"] >= MAX_WAITING:
                raise Refusal(
                    Ground.CONFLICT, "parcel", "Too many parcels wait; the receiver must fetch."
                )
            _lock(connection, parcel.id)
            key, is_new = self._key(parcel.id)
            row = (parcel.id, parcel.sender, parcel.recipient)
            if is_new:  # what is there came back with a backup, and opens no more
                connection.execute(
                    "DELETE FROM mailbox.parcels WHERE (id, sender, recipient) = (%s, %s, %s)",
                    row,
                    prepare=True,
                )
            connection.execute(
                "INSERT INTO mailbox.parcels (id, sender, recipient, sealed)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
                (*row, _enclose(parcel, key)),
                prepare=True,
            )

    def waiting(self, recipient: str, limit: int) -> Sequence[Parcel]:
        """The parcels for a country, the first one of each sender first, then the second ones.

        So a sender whose parcels cannot be taken in keeps no other sender's waiting.

        One whose key is gone is passed over: it was taken out, and came back with a backup.
        """
        found: list[Parcel] = []
        passed_over, after = 0, (0, 0)
        with self._database.connection() as connection:
            while len(found) < limit:
                rows = connection.execute(
                    _WAITING, (recipient, *after, limit), prepare=True
                ).fetchall()
                kept = [
                    Parcel(row["id"], row["sender"], row["recipient"], bytes(row["sealed"]))
                    for row in rows
                ]
                opened = [parcel for one in kept if (parcel := self._disclose(one)) is not None]
                found += opened
                passed_over += len(kept) - len(opened)
                if len(rows) < limit:
                    break
                after = rows[-1]["turn"], rows[-1]["seq"]
        if passed_over > self._passed_over.get(recipient, 0):
            _log.warning("parcels whose key is gone", recipient=recipient, parcels=passed_over)
        self._passed_over[recipient] = passed_over
        return found[:limit]

    def remove(self, recipient: str, parcel_ids: Sequence[UUID]) -> int:
        """Take out what the country has taken in. Returns how many there were."""
        return sum(self._remove(recipient, parcel_id) for parcel_id in parcel_ids)

    def _remove(self, recipient: str, parcel_id: UUID) -> bool:
        with self._database.transaction() as connection:
            _lock(connection, parcel_id)
            removed = connection.execute(
                "DELETE FROM mailbox.parcels WHERE recipient = %s AND id = %s",
                (recipient, parcel_id),
                prepare=True,
            ).rowcount
            # The key before the row is gone for others: from then on no copy of it opens.
            if removed:
                self._keys.destroy(parcel_id)
        return removed > 0

    def _key(self, parcel_id: UUID) -> tuple[bytes, bool]:
        """The parcel's key, and whether it is new."""
        key = secrets.token_bytes(_KEY_BYTES)
        try:
            self._keys.write(parcel_id, key)
        except FileExistsError:
            found = self._keys.read(parcel_id)
            if found is None:
                raise
            return found, False
        return key, True

    def _disclose(self, kept: Parcel) -> Parcel | None:
        """The parcel as it was handed in; ``None`` where nothing opens it any more."""
        if not kept.sealed.startswith(_ENCLOSED):
            return kept
        key = self._keys.read(kept.id)
        if key is None:
            return None
        content = kept.sealed.removeprefix(_ENCLOSED)
        try:
            sealed = AESGCM(key).decrypt(
                content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bound(kept)
            )
        except InvalidTag:
            return kept  # its receiver refuses it, and says so
        return Parcel(kept.id, kept.sender, kept.recipient, sealed)


def _lock(connection: Connection[Any], parcel_id: UUID) -> None:
    """Until the transaction ends: the key and the row of a parcel come and go together."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"parcel {parcel_id}",)
    )


def _enclose(parcel: Parcel, key: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _ENCLOSED + nonce + AESGCM(key).encrypt(nonce, parcel.sealed, _bound(parcel))


def _bound(parcel: Parcel) -> bytes:
    return f"{parcel.id}\n{parcel.sender}\n{parcel.recipient}\n".encode()
