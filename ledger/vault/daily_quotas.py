"""The bound of the rows that another country's node may cause in this vault within a day.

The parcels of another node make rows here: possible duplicates, and entries of the access log. A
hostile node sends without end. So each kind has a quota for each other country and day. A parcel
over the quota waits for the next day, so that nothing is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema


class Quota(StrEnum):
    """A kind of row that is counted."""

    DUPLICATES = "duplicates"
    """Possible duplicates with cases of the other country."""
    CHANGED_CASES = "changed_cases"
    """Cases of the other country whose points it sends anew: each lets it test another guess."""
    ASKED_ANEW = "asked_anew"
    """Questions on pairs of cases of which evidence was asked before: each tests other guesses."""
    GIVEN = "given"
    """Actions whose fields are given to the other country once more, because it asked."""
    CHUNKS = "chunks"
    """Chunks of documents that are given to the other country: 25 GB a day."""


MAX_A_DAY = {
    Quota.DUPLICATES: 500,
    Quota.CHANGED_CASES: 500,
    Quota.ASKED_ANEW: 200,
    Quota.GIVEN: 100_000,
    Quota.CHUNKS: 100_000,
}
_USE = """
INSERT INTO {quotas} AS q (other, what, used) VALUES (%(other)s, %(what)s, %(count)s)
ON CONFLICT (other, what) DO UPDATE SET
    since = CASE WHEN q.since <= now() - interval '1 day' THEN now() ELSE q.since END,
    used = CASE WHEN q.since <= now() - interval '1 day' THEN 0 ELSE q.used END + EXCLUDED.used
WHERE CASE WHEN q.since <= now() - interval '1 day' THEN 0 ELSE q.used END + EXCLUDED.used
    <= %(most)s
"""
_REFUSED = """
INSERT INTO {quotas} AS q (other, what, refused_at) VALUES (%(other)s, %(what)s, now())
ON CONFLICT (other, what) DO UPDATE SET refused_at = now()
"""
_USED_UP = """
SELECT other, what FROM {quotas} WHERE refused_at > now() - interval '1 day' ORDER BY other, what
"""


class QuotaUsedUpError(Exception):
    """Another country has caused as much here as one may within a day. The rest waits."""


@dataclass(frozen=True, slots=True)
class UsedUp:
    """A quota of which more was asked within the last day than it has."""

    other: str
    quota: Quota


class DailyQuotas:
    """The table of one country's vault. Its keeper's role alone reaches it."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        self._names = {"quotas": SQL("{}.daily_quotas").format(Identifier(vault_schema(party)))}

    def use(
        self, other: str, quota: Quota, count: int = 1, *, connection: Connection[Any] | None = None
    ) -> None:
        """Count a use of a country's daily quota, within ``connection``'s transaction.

        Raises ``QuotaUsedUpError`` if ``count`` is more than the day has left.
        """
        named = {"other": other, "what": quota.value, "count": count, "most": MAX_A_DAY[quota]}
        if connection is not None:
            used = connection.execute(self._named(_USE), named).rowcount
        else:
            with self._database.transaction(role=self._role) as own:
                used = own.execute(self._named(_USE), named).rowcount
        if not used:
            raise QuotaUsedUpError

    def refused(self, other: str, quota: Quota) -> None:
        """Note that more was asked than there is. The commit does not wait for the disk."""
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(self._named(_REFUSED), {"other": other, "what": quota.value})

    def used_up(self) -> Sequence[UsedUp]:
        """Return the quotas that were asked for more than they have within the last day."""
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._named(_USED_UP)).fetchall()
        return [UsedUp(row["other"], Quota(row["what"])) for row in rows]

    def _named(self, statement: str) -> Composed:
        return SQL(statement).format(**self._names)
