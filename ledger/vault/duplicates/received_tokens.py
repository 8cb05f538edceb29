"""The tokens that other countries sent of their cases."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.vault.duplicates.matching_tables import MatchingTables, wait_for_erasure

MAX_RECEIVED = 100_000
"""Cases of one other country, withdrawn ones included: it names each by a reference of its own."""


class TooManyReceivedError(Exception):
    """Another country names more cases than are kept of one country."""


class ReceivedTokens(MatchingTables):
    """Takes in what other countries send of their cases."""

    def take_tokens(
        self, other: str, reference: UUID, case_id: UUID | None, tokens: Collection[bytes]
    ) -> None:
        """Replace the tokens that ``other`` sent of a case before, unless the case is withdrawn.

        Raises ``TooManyReceivedError`` if ``other`` names more cases than the vault keeps.
        """
        upsert = self._sql(
            "INSERT INTO {}.match_received (other, reference, case_id) VALUES (%s, %s, %s)"
            " ON CONFLICT (other, reference) DO UPDATE"
            " SET case_id = coalesce(EXCLUDED.case_id, match_received.case_id)"
            " WHERE NOT match_received.withdrawn"
        )
        delete = self._sql(
            "DELETE FROM {}.match_received_tokens WHERE other = %s AND reference = %s"
        )
        insert = self._sql(
            "INSERT INTO {}.match_received_tokens (other, reference, token)"
            " SELECT %s, %s, t FROM unnest(%s::bytea[]) n (t) ON CONFLICT DO NOTHING"
        )
        place = (other, reference)
        with self._database.transaction(role=self._role) as connection:
            if case_id is not None:
                wait_for_erasure(connection, case_id)
                erased = self._sql("SELECT FROM {}.erased WHERE case_id = %s")
                if connection.execute(erased, (case_id,)).fetchone() is not None:
                    return
            self._check_room(connection, *place)
            if connection.execute(upsert, (*place, case_id)).rowcount:
                connection.execute(delete, place)
                connection.execute(insert, (*place, list(tokens)))

    def take_withdrawal(self, other: str, reference: UUID) -> None:
        """Remove all of a case whose person the other country erased.

        Tokens of the case that come in later are not kept. Raises ``TooManyReceivedError`` if
        ``other`` names more cases than the vault keeps.
        """
        upsert = self._sql(
            "INSERT INTO {}.match_received (other, reference, withdrawn) VALUES (%s, %s, true)"
            " ON CONFLICT (other, reference) DO UPDATE SET withdrawn = true, case_id = NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            self._check_room(connection, other, reference)
            connection.execute(upsert, (other, reference))
            self.drop_received(connection, other, reference)

    def _check_room(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        """Check that the vault may keep another reference of a country.

        Raises ``TooManyReceivedError`` if the reference is new and the vault keeps the maximum
        already.
        """
        known = self._sql("SELECT FROM {}.match_received WHERE other = %s AND reference = %s")
        if connection.execute(known, (other, reference)).fetchone() is not None:
            return
        full = self._sql("SELECT FROM {}.match_received WHERE other = %s OFFSET %s LIMIT 1")
        if connection.execute(full, (other, MAX_RECEIVED - 1)).fetchone() is not None:
            raise TooManyReceivedError

    def drop_received(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        for statement in (
            "DELETE FROM {}.match_received_tokens WHERE other = %s AND reference = %s",
            "DELETE FROM {}.duplicates WHERE other = %s AND other_reference = %s",
        ):
            connection.execute(self._sql(statement), (other, reference))
