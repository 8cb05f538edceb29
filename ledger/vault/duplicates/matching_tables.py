"""The tables of duplicate matching in one country's vault, for their readers and writers."""

from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.daily_quotas import DailyQuotas


class MatchingTables:
    """The database, schema and role of one country's vault."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._party = party
        self._schema = vault_schema(party)
        self._role = vault_role(party)
        self._quotas = DailyQuotas(database, party)

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(Identifier(self._schema))


def wait_for_erasure(connection: Connection[Any], case_id: UUID) -> None:
    """Take the person's lock, so that this transaction and an erasure follow one another.

    An erasure waits until this transaction commits, or this transaction sees the finished erasure.
    """
    connection.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (str(case_id),)
    )
