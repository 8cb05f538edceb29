"""The rows of one country's vault for finding duplicates. Its keeper's role alone reads them."""

from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.vault.duplicates.candidates import Candidates
from ledger.vault.duplicates.found_duplicates import FoundDuplicates
from ledger.vault.duplicates.own_tokens import OwnTokens
from ledger.vault.duplicates.received_tokens import ReceivedTokens


class Duplicates(OwnTokens, ReceivedTokens, Candidates, FoundDuplicates):
    """The tables of duplicate matching in one country's vault."""

    def address(self, other: str, key_id: str) -> None:
        """Note the country key to which parcels to ``other`` are sealed.

        If it is another key than before, everything is marked to be sent to ``other`` again.
        """
        update = self._sql(
            "INSERT INTO {}.match_pairs (other, address) VALUES (%(other)s, %(key)s)"
            " ON CONFLICT (other) DO UPDATE SET address = EXCLUDED.address"
            " WHERE match_pairs.address IS DISTINCT FROM EXCLUDED.address"
        )
        again = (
            "UPDATE {}.match_cases SET due = true WHERE other = %(other)s"
            " AND (computed_with IS NOT NULL OR withdrawn_at IS NOT NULL)",
            "UPDATE {}.match_received SET answer_due = true WHERE other = %(other)s"
            " AND points IS NOT NULL AND NOT withdrawn",
            "UPDATE {}.match_candidates SET asked_at = NULL WHERE other = %(other)s AND NOT done"
            " AND doubled IS NULL",
            "UPDATE {}.duplicates SET told = false, assessment_told = (finding IS NULL)"
            " WHERE other = %(other)s",
        )
        values = {"other": other, "key": key_id}
        with self._database.transaction(role=self._role) as connection:
            if connection.execute(update, values).rowcount:
                for statement in again:
                    connection.execute(self._sql(statement), values)

    def has_work(self, other: str, mask: str) -> bool:
        """Return whether anything is to be sent to ``other``, answered or compared with it."""
        select = self._sql(
            "SELECT EXISTS (SELECT FROM {0}.match_cases WHERE other = %(other)s AND due)"
            " OR EXISTS (SELECT FROM {0}.match_received WHERE other = %(other)s AND answer_due)"
            " OR EXISTS (SELECT FROM {0}.match_received WHERE other = %(other)s AND NOT withdrawn"
            "  AND points IS NOT NULL AND doubled_with IS DISTINCT FROM %(mask)s)"
            " OR EXISTS (SELECT FROM {0}.match_candidates WHERE other = %(other)s AND NOT done)"
            " OR EXISTS (SELECT FROM {0}.match_asked WHERE other = %(other)s AND answer_due)"
            " OR EXISTS (SELECT FROM {0}.duplicates WHERE other = %(other)s"
            "  AND NOT (told AND assessment_told)) AS has_work"
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, {"other": other, "mask": mask}).fetchone()
        return bool(row and row["has_work"])

    def forget(self, connection: Connection[Any], case_id: UUID) -> None:
        """Remove all of a case as part of an erasure.

        The withdrawal is marked to be sent to each country that was sent tokens of the case.
        """
        own = (
            "DELETE FROM {0}.duplicates WHERE case_id = %(case)s",
            "DELETE FROM {0}.match_tokens t USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND t.other = c.other AND t.reference = c.reference",
            "DELETE FROM {0}.match_asked t USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND t.other = c.other AND t.reference = c.reference",
            "DELETE FROM {0}.match_candidates t USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND t.other = c.other AND t.reference = c.reference",
            "DELETE FROM {0}.match_candidates t USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND t.other = c.other AND t.other_reference = c.reference",
            "DELETE FROM {0}.duplicates d USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND d.other = c.other AND d.other_reference = c.reference",
            "UPDATE {0}.match_cases SET case_id = NULL, withdrawn_at = now(), points = NULL,"
            " earlier = NULL, kinds = NULL, due = (other <> %(party)s) WHERE case_id = %(case)s",
        )
        received = self._sql(
            "UPDATE {}.match_received SET withdrawn = true, case_id = NULL WHERE case_id = %s"
            " RETURNING other, reference"
        )
        lock = self._sql("SELECT FROM {}.match_cases WHERE case_id = %s FOR UPDATE")
        connection.execute(lock, (case_id,))
        for statement in own:
            connection.execute(self._sql(statement), {"case": case_id, "party": self._party})
        for row in connection.execute(received, (case_id,)).fetchall():
            self.drop_received(connection, row["other"], row["reference"])
