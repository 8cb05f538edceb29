"""The member of an agency to whom each case is assigned, and the deputy, in one country's vault.

No event and no parcel has it: which person of an agency works on a case is the agency's own matter.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.store.postgres_arrays import Uuids

MOST = 10_000
"""Cases of one list."""
_PUT = """
INSERT INTO {schema}.assignments AS a (agency, case_id, member, deputy, by_member)
SELECT %(agency)s, %(case)s, %(member)s, %(deputy)s, %(by)s
WHERE NOT EXISTS (SELECT FROM {schema}.erased WHERE case_id = %(case)s)
    AND (%(known_member)s::uuid IS NULL OR EXISTS (SELECT FROM {schema}.assignments
        WHERE agency = %(agency)s AND case_id = %(case)s))
ON CONFLICT (agency, case_id) DO UPDATE SET
    member = EXCLUDED.member, deputy = EXCLUDED.deputy, by_member = EXCLUDED.by_member,
    assigned_at = now()
WHERE (a.member, a.assigned_at) = (%(known_member)s, %(known_at)s)
    AND a.deputy IS NOT DISTINCT FROM %(known_deputy)s
"""
_REMOVE = """
DELETE FROM {schema}.assignments
WHERE agency = %(agency)s AND case_id = %(case)s
    AND (member, assigned_at) = (%(known_member)s, %(known_at)s)
    AND deputy IS NOT DISTINCT FROM %(known_deputy)s
"""
_OF_MEMBER = """
SELECT case_id FROM {schema}.assignments
WHERE agency = %(agency)s AND (member = %(member)s OR deputy = %(member)s)
ORDER BY assigned_at DESC, case_id LIMIT %(most)s
"""
_ALL = """
SELECT case_id FROM {schema}.assignments WHERE agency = %(agency)s
ORDER BY assigned_at DESC, case_id LIMIT %(most)s
"""
# A deputy who takes over is no deputy any more.
_HAND_OVER = """
UPDATE {schema}.assignments SET
    member = CASE WHEN member = %(member)s THEN %(to)s ELSE member END,
    deputy = CASE WHEN member = %(member)s THEN nullif(deputy, %(to)s)
                  WHEN deputy = %(member)s THEN nullif(%(to)s, member) ELSE deputy END,
    by_member = %(by)s, assigned_at = now()
WHERE agency = %(agency)s AND (member = %(member)s OR deputy = %(member)s)
"""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The members who work on a case for one agency."""

    case_id: UUID
    member: UUID
    deputy: UUID | None
    by_member: UUID | None
    """The member who assigned the case; ``None`` for a system of the agency."""
    assigned_at: datetime


class Assignments:
    """The table of assignments in one country's vault."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def of_cases(self, agency: str, case_ids: Collection[UUID]) -> Mapping[UUID, Assignment]:
        """Return an agency's assignments of some cases, by the case's id."""
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(
                self._sql(
                    "SELECT case_id, member, deputy, by_member, assigned_at"
                    " FROM {schema}.assignments WHERE agency = %s AND case_id = ANY(%s)"
                ),
                (agency, Uuids(case_ids)),
            ).fetchall()
        return {row["case_id"]: Assignment(**row) for row in rows}

    def of_member(self, agency: str, member: UUID) -> Sequence[UUID]:
        """Return the cases of a member or of which the member is deputy, at most ``MOST``."""
        return self._cases(_OF_MEMBER, {"agency": agency, "member": member})

    def all(self, agency: str) -> Sequence[UUID]:
        """Return the cases that an agency has assigned to somebody, at most ``MOST``."""
        return self._cases(_ALL, {"agency": agency})

    def put(
        self,
        agency: str,
        case_id: UUID,
        member: UUID,
        deputy: UUID | None,
        by: UUID | None,
        known: Assignment | None,
    ) -> bool:
        """Assign a case, if its assignment is still ``known``: of two at once, one does it.

        Returns false if the assignment is another one by now, or the person was erased.
        """
        asked = {"agency": agency, "case": case_id, "member": member, "deputy": deputy, "by": by}
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_PUT), asked | _known(known)).rowcount > 0

    def remove(self, agency: str, known: Assignment) -> bool:
        """Take the assignment of a case back, if it is still ``known``. Returns whether it was."""
        asked = {"agency": agency, "case": known.case_id} | _known(known)
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_REMOVE), asked).rowcount > 0

    def hand_over(self, agency: str, member: UUID, to: UUID, by: UUID | None) -> int:
        """Give all cases of a member to another, and return how many there were."""
        asked = {"agency": agency, "member": member, "to": to, "by": by}
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_HAND_OVER), asked).rowcount

    def forget(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Remove all assignments of a case, within the caller's transaction."""
        connection.execute(
            self._sql("DELETE FROM {schema}.assignments WHERE case_id = %s"), (case_id,)
        )

    def _cases(self, statement: str, asked: Mapping[str, object]) -> Sequence[UUID]:
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(statement), {**asked, "most": MOST}).fetchall()
        return [row["case_id"] for row in rows]

    def _sql(self, statement: str) -> Composed:
        return SQL(statement).format(schema=self._schema)


def _known(known: Assignment | None) -> dict[str, object]:
    return {
        "known_member": known and known.member,
        "known_deputy": known and known.deputy,
        "known_at": known and known.assigned_at,
    }
