"""The parcels that wait for a country at the mailbox, and those it refused, for its operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.sql import SQL, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema


@dataclass(frozen=True, slots=True)
class PairStanding:
    """The parcels of one sender that wait for one recipient, in numbers."""

    sender: str
    recipient: str
    parcels: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class RefusedParcels:
    """The number of a country's parcels that were refused for one reason."""

    sender: str
    reason: str
    parcels: int
    last_at: datetime


class ArrivedParcels:
    """Two tables of one country's vault. They name no parcel and no case."""

    def __init__(self, database: Database, party: str) -> None:
        self.party = party
        self._database = database
        self._role = vault_role(party)
        schema = Identifier(vault_schema(party))
        self._waiting = SQL("{}.parcels_waiting").format(schema)
        self._refused = SQL("{}.parcels_refused").format(schema)

    def note_waiting(self, standing: Sequence[PairStanding]) -> None:
        """Note which parcels wait now, in place of the note before.

        The commit does not wait for the disk: the next look writes the note again.
        """
        delete = SQL("DELETE FROM {} WHERE NOT sender = ANY(%s)").format(self._waiting)
        upsert = SQL(
            "INSERT INTO {} (sender, parcels, oldest_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (sender) DO UPDATE"
            " SET parcels = EXCLUDED.parcels, oldest_at = EXCLUDED.oldest_at"
        ).format(self._waiting)
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(delete, ([one.sender for one in standing],))
            for one in standing:
                connection.execute(upsert, (one.sender, one.parcels, one.oldest_at))

    def waiting(self) -> tuple[PairStanding, ...]:
        """Return how many parcels waited at the last look into the mailbox, by sender."""
        select = SQL("SELECT sender, parcels, oldest_at FROM {} ORDER BY sender").format(
            self._waiting
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select).fetchall()
        return tuple(PairStanding(recipient=self.party, **row) for row in rows)

    def note_refused(self, sender: str, reason: str) -> None:
        """Count a parcel that was damaged or not accepted."""
        upsert = SQL(
            "INSERT INTO {} AS r (sender, reason, parcels, last_at) VALUES (%s, %s, 1, now())"
            " ON CONFLICT (sender, reason) DO UPDATE SET parcels = r.parcels + 1, last_at = now()"
        ).format(self._refused)
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(upsert, (sender, reason))

    def refused(self) -> tuple[RefusedParcels, ...]:
        """Return how many parcels were refused, by sender and reason."""
        select = SQL(
            "SELECT sender, reason, parcels, last_at FROM {} ORDER BY last_at DESC"
        ).format(self._refused)
        with self._database.transaction(role=self._role) as connection:
            return tuple(RefusedParcels(**row) for row in connection.execute(select).fetchall())
