"""Parcels that wait at the ledger node for the country that can open them."""

from collections.abc import Sequence
from uuid import UUID

from ledger.refusals import Ground, Refusal
from ledger.store.database import Database
from ledger.vault.parcels import Parcel

MAX_BYTES = 1024 * 1024
MAX_WAITING = 100_000


class Mailbox:
    """The table of parcels. What is taken out is gone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, parcel: Parcel) -> None:
        """Keep a parcel until it is fetched. Durable on return; the same again is no other.

        Raises ``Refusal`` (``parcel``) where it is too large, or too many wait.
        """
        if len(parcel.sealed) > MAX_BYTES:
            raise Refusal(Ground.INVALID, "parcel", f"A parcel has at most {MAX_BYTES} bytes.")
        with self._database.connection() as connection:
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
            connection.execute(
                "INSERT INTO mailbox.parcels (id, sender, recipient, sealed)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
                (parcel.id, parcel.sender, parcel.recipient, parcel.sealed),
                prepare=True,
            )

    def waiting(self, recipient: str, limit: int) -> Sequence[Parcel]:
        """The parcels for a country, the first one first."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, sender, recipient, sealed FROM mailbox.parcels"
                " WHERE recipient = %s ORDER BY seq LIMIT %s",
                (recipient, limit),
                prepare=True,
            ).fetchall()
        return [
            Parcel(row["id"], row["sender"], row["recipient"], bytes(row["sealed"])) for row in rows
        ]

    def remove(self, recipient: str, parcel_ids: Sequence[UUID]) -> int:
        """Take out what the country has taken in. Returns how many there were."""
        with self._database.connection() as connection:
            return connection.execute(
                "DELETE FROM mailbox.parcels WHERE recipient = %s AND id = ANY(%s)",
                (recipient, list(parcel_ids)),
                prepare=True,
            ).rowcount
