"""The duplicates whose cases may agree no more, since an identity was stated anew or annulled.

A coordinator's finding that both are the same person keeps a duplicate: a person decided that.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection

from ledger.vault.duplicates.matching_tables import MatchingTables

_QUESTION_OWN: LiteralString = """
UPDATE {0}.duplicates d SET in_question = true
WHERE (d.case_id = %(case)s OR (d.other = %(own)s AND d.other_reference IN (
        SELECT c.reference FROM {0}.match_cases c
        WHERE c.other = %(own)s AND c.case_id = %(case)s)))
    AND d.finding IS DISTINCT FROM 'same_person' AND d.other_finding IS DISTINCT FROM 'same_person'
"""
_QUESTION_RECEIVED: LiteralString = """
UPDATE {0}.duplicates d SET in_question = true
WHERE d.other = %(other)s AND d.other_reference = %(reference)s
    AND d.finding IS DISTINCT FROM 'same_person' AND d.other_finding IS DISTINCT FROM 'same_person'
"""
_DROP_UNFOUNDED: LiteralString = """
DELETE FROM {0}.duplicates d
WHERE d.other = %(other)s AND d.in_question
    AND (d.reference = %(of_own)s
        OR (d.other_reference = %(of_own)s AND d.other = %(own)s)
        OR (d.other_reference = %(received)s AND EXISTS (
            SELECT FROM {0}.match_tokens t
            WHERE t.other = d.other AND t.reference = d.reference)))
    AND d.finding IS DISTINCT FROM 'same_person' AND d.other_finding IS DISTINCT FROM 'same_person'
    AND NOT EXISTS (
        SELECT FROM {0}.match_tokens o
        JOIN {0}.match_received_tokens r ON r.other = o.other AND r.token = o.token
        WHERE o.other = d.other AND o.reference = d.reference
            AND r.reference = d.other_reference)
    AND NOT EXISTS (
        SELECT FROM {0}.match_tokens o
        JOIN {0}.match_tokens r ON r.other = o.other AND r.token = o.token
        WHERE d.other = %(own)s AND o.other = d.other AND o.reference = d.reference
            AND r.reference = d.other_reference)
"""
_WITHDRAW: LiteralString = """
UPDATE {0}.duplicates d SET withdrawn = true, told = false
WHERE d.other = %(other)s AND d.id = %(id)s AND d.in_question
    AND d.finding IS DISTINCT FROM 'same_person' AND d.other_finding IS DISTINCT FROM 'same_person'
"""
_REMOVE: LiteralString = """
DELETE FROM {0}.duplicates d
WHERE d.other = %(other)s AND d.id = %(id)s AND d.in_question
    AND d.finding IS DISTINCT FROM 'same_person' AND d.other_finding IS DISTINCT FROM 'same_person'
"""


class QuestionedDuplicates(MatchingTables):
    """Puts duplicates in question, and takes out those whose cases agree no more."""

    def _question_own(self, connection: Connection[Any], case_id: UUID) -> None:
        """Put the duplicates of an own case in question, until its tokens are made anew."""
        connection.execute(self._sql(_QUESTION_OWN), {"case": case_id, "own": self._party})

    def _question_received(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        """Put the duplicates of a case of ``other`` in question, since its points changed."""
        values = {"other": other, "reference": reference}
        connection.execute(self._sql(_QUESTION_RECEIVED), values)

    def drop_unfounded(
        self, other: str, *, own: UUID | None = None, received: UUID | None = None
    ) -> int:
        """Take out duplicates in question whose cases have no token in common any more.

        ``own`` and ``received`` are the references of the case whose tokens were made anew. A pair
        whose own case has no tokens yet waits for them. Returns how many were taken out.
        """
        values = {"other": other, "own": self._party, "of_own": own, "received": received}
        return self._change(_DROP_UNFOUNDED, values)

    def withdraw_duplicate(self, other: str, duplicate: UUID) -> None:
        """Take out a duplicate in question whose cases were compared again and do not agree.

        The other country is told, unless both cases are the own country's.
        """
        statement = _REMOVE if other == self._party else _WITHDRAW
        self._change(statement, {"other": other, "id": duplicate})

    def take_withdrawn_duplicate(self, other: str, duplicate: UUID) -> None:
        """Take out a duplicate in question that the other country compared again."""
        self._change(_REMOVE, {"other": other, "id": duplicate})

    def withdrawals_to_tell(self, other: str, limit: int) -> Sequence[UUID]:
        """Return the withdrawn duplicates that ``other`` was not told of yet."""
        select = self._sql(
            "SELECT id FROM {0}.duplicates WHERE other = %s AND withdrawn AND NOT told"
            " ORDER BY id LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            return [row["id"] for row in connection.execute(select, (other, limit))]

    def withdrawal_told(self, duplicate: UUID) -> None:
        """Note that the other country was told of a withdrawn duplicate."""
        told: LiteralString = (
            "UPDATE {0}.duplicates SET told = true WHERE id = %(id)s AND withdrawn"
        )
        self._change(told, {"id": duplicate})

    def withdrawal_of_duplicate_due(self, other: str, duplicate: UUID) -> bool:
        """Mark a withdrawal to be sent again. Returns whether the duplicate is withdrawn."""
        due: LiteralString = (
            "UPDATE {0}.duplicates SET told = false"
            " WHERE other = %(other)s AND id = %(id)s AND withdrawn"
        )
        return self._change(due, {"other": other, "id": duplicate}) > 0

    def _change(self, statement: LiteralString, values: Mapping[str, Any]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(statement), values).rowcount
