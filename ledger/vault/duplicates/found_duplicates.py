"""The duplicates that were found, the coordinators' assessments, and which country has them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.sql import SQL, Identifier

from ledger.vault.daily_quotas import Quota
from ledger.vault.duplicates.matches import Duplicate, Match
from ledger.vault.duplicates.matching_tables import MatchingTables
from ledger.vocabulary.duplicates import Finding, MatchKind

_EARLIER_STRENGTHS: Mapping[MatchKind, int] = {
    MatchKind.NAMES_AND_BIRTHDATE: 100,
    MatchKind.NAMES_AND_TURNED_BIRTHDATE: 80,
    MatchKind.NAMES_AND_YEAR: 60,
    MatchKind.GIVEN_NAME_BIRTHDATE_CITIZENSHIP: 40,
}


class FoundDuplicates(MatchingTables):
    """Keeps the matches that were found."""

    def found(self, match: Match, at: datetime, *, told: bool) -> bool:
        """Store a match once, with the earlier of the two countries' times.

        A match that was in question is in question no more.

        ``told``: whether the other country has the match. Returns whether the match was new. A
        match is not stored if its case is not here or was withdrawn. Raises ``QuotaUsedUpError`` if
        too many matches of that country came within a day; the match must be given again later.
        """
        own = self._sql(
            "SELECT case_id FROM {}.match_cases"
            " WHERE other = %s AND reference = %s AND case_id IS NOT NULL FOR SHARE"
        )
        theirs = self._sql(
            "SELECT case_id, case_id IS NULL AS withdrawn FROM {}.match_cases"
            " WHERE other = %s AND reference = %s FOR SHARE"
            if match.other == self._party
            else "SELECT case_id, withdrawn FROM {}.match_received"
            " WHERE other = %s AND reference = %s FOR SHARE"
        )
        insert = self._sql(
            "INSERT INTO {}.duplicates AS d (id, other, case_id, reference, other_reference,"
            " agrees, strength, found_at, told) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET found_at = least(d.found_at, EXCLUDED.found_at),"
            " agrees = CASE WHEN d.in_question THEN EXCLUDED.agrees ELSE d.agrees END,"
            " strength = CASE WHEN d.in_question THEN EXCLUDED.strength ELSE d.strength END,"
            " told = CASE WHEN d.in_question THEN EXCLUDED.told ELSE d.told END,"
            " in_question = false, withdrawn = false"
            " RETURNING xmax = 0 AS new"
        )
        with self._database.transaction(role=self._role) as connection:
            case = connection.execute(own, (match.other, match.reference)).fetchone()
            place = (match.other, match.other_reference)
            received = connection.execute(theirs, place).fetchone()
            if case is None or (received is not None and received["withdrawn"]):
                return False
            if received is not None and received["case_id"] == case["case_id"]:
                return False
            row = connection.execute(
                insert,
                (
                    match.id,
                    match.other,
                    case["case_id"],
                    match.reference,
                    match.other_reference,
                    list(match.agrees),
                    match.strength,
                    at,
                    told,
                ),
            ).fetchone()
            is_new = bool(row and row["new"])
            if is_new and match.other != self._party:
                self._quotas.use(match.other, Quota.DUPLICATES, connection=connection)
        return is_new

    def to_tell(self, other: str, limit: int) -> Sequence[Duplicate]:
        """Return the duplicates found here that this country has not sent to ``other`` yet."""
        return self._select(
            "d.other = %(other)s AND NOT d.told AND NOT d.withdrawn", limit, other=other
        )

    def told(self, duplicate: Duplicate) -> None:
        """Note that the other country has a match."""
        update = self._sql("UPDATE {}.duplicates SET told = true WHERE id = %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (duplicate.match.id,))

    def assessments_to_tell(self, other: str, limit: int) -> Sequence[Duplicate]:
        """Return the duplicates whose assessment this country has not sent to ``other`` yet."""
        condition = "d.other = %(other)s AND NOT d.assessment_told AND d.told AND NOT d.withdrawn"
        return self._select(condition, limit, other=other)

    def assessment_told(self, duplicate: Duplicate) -> None:
        """Note that the other country has an assessment, unless a newer assessment replaced it."""
        update = self._sql(
            "UPDATE {}.duplicates SET assessment_told = true WHERE id = %s AND assessed_at = %s"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (duplicate.match.id, duplicate.assessed_at))

    def telling_due(self, other: str, duplicate: UUID) -> bool:
        """Mark a match to be sent to ``other`` again.

        Returns whether the match still exists.
        """
        return self._again("told = false", "NOT withdrawn", other, duplicate)

    def assessment_due(self, other: str, duplicate: UUID) -> bool:
        """Mark the coordinator's assessment to be sent to ``other`` again.

        Returns whether the assessment exists.
        """
        return self._again("assessment_told = false", "finding IS NOT NULL", other, duplicate)

    def _again(
        self, what: LiteralString, condition: LiteralString, other: str, duplicate: UUID
    ) -> bool:
        update = SQL("UPDATE {}.duplicates SET {} WHERE other = %s AND id = %s AND {}").format(
            Identifier(self._schema), SQL(what), SQL(condition)
        )
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, duplicate)).rowcount > 0

    def assess(self, duplicate: UUID, finding: Finding, by: str, at: datetime) -> Duplicate | None:
        """Store this country's coordinator's finding, and return the duplicate.

        Returns ``None`` if the duplicate does not exist.
        """
        update = self._sql(
            "UPDATE {}.duplicates SET finding = %(finding)s, assessed_at = %(at)s,"
            " assessed_by = %(by)s, assessment_told = (other = %(own)s)"
            " WHERE id = %(id)s AND finding IS DISTINCT FROM %(finding)s"
        )
        values = {"finding": finding, "at": at, "by": by, "id": duplicate, "own": self._party}
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, values)
        return self.get(duplicate)

    def take_assessment(self, other: str, duplicate: UUID, finding: Finding, at: datetime) -> None:
        """Store the other country's coordinator's finding, unless a later one is stored."""
        update = self._sql(
            "UPDATE {}.duplicates SET other_finding = %s, other_assessed_at = %s"
            " WHERE id = %s AND other = %s"
            " AND (other_assessed_at IS NULL OR other_assessed_at <= %s)"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (finding, at, duplicate, other, at))

    def get(self, duplicate: UUID) -> Duplicate | None:
        """Return one duplicate, or ``None`` if it does not exist."""
        return next(iter(self._select("d.id = %(id)s AND NOT d.withdrawn", 1, id=duplicate)), None)

    def all(self, limit: int) -> Sequence[Duplicate]:
        """Return the duplicates of the country, the last one found first."""
        return self._select("NOT d.withdrawn", limit)

    def _select(self, condition: LiteralString, limit: int, **values: Any) -> Sequence[Duplicate]:
        select = SQL(
            "SELECT d.*, coalesce(r.case_id, o.case_id) AS other_case_id FROM {0}.duplicates d"
            " LEFT JOIN {0}.match_received r"
            " ON r.other = d.other AND r.reference = d.other_reference"
            " LEFT JOIN {0}.match_cases o ON d.other = %(own)s"
            " AND o.other = d.other AND o.reference = d.other_reference"
            " WHERE {1} ORDER BY d.found_at DESC, d.id LIMIT %(limit)s"
        ).format(Identifier(self._schema), SQL(condition))
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(
                select, {"limit": limit, "own": self._party, **values}
            ).fetchall()
        return [_duplicate(row) for row in rows]


def _strength(row: Mapping[str, Any], agrees: Collection[MatchKind]) -> int:
    if row["strength"] is not None:
        return int(row["strength"])
    return max((_EARLIER_STRENGTHS.get(one, 0) for one in agrees), default=0)


def _duplicate(row: Mapping[str, Any]) -> Duplicate:
    agrees = tuple(map(MatchKind, row["agrees"]))
    return Duplicate(
        match=Match(
            row["other"], row["reference"], row["other_reference"], agrees, _strength(row, agrees)
        ),
        case_id=row["case_id"],
        other_case_id=row["other_case_id"],
        found_at=row["found_at"],
        finding=row["finding"] and Finding(row["finding"]),
        assessed_at=row["assessed_at"],
        other_finding=row["other_finding"] and Finding(row["other_finding"]),
        other_assessed_at=row["other_assessed_at"],
    )
