"""Pairs of cases with a token in common, and the evidence that is compared of each."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.sql import SQL, Identifier

from ledger.vault.daily_quotas import Quota, QuotaUsedUpError
from ledger.vault.duplicates.matches import Candidate
from ledger.vault.duplicates.matching_tables import MatchingTables

NAMES = "names"
"""The kind of a token of two names."""
MAX_ASKED = 2_000
"""Questions of one other country that wait here until the pair has a token in common."""


@dataclass(frozen=True, slots=True)
class AnsweredEvidence:
    """The other country's answer on a candidate."""

    candidate: Candidate
    points: tuple[bytes, ...]
    """The own evidence, under the own mask."""
    doubled: tuple[bytes, ...]
    """The same, in the same order, under both masks."""
    theirs: tuple[bytes, ...]
    """The other case's evidence, under its country's mask."""


@dataclass(frozen=True, slots=True)
class AskedEvidence:
    """The other country's question on a candidate."""

    candidate: Candidate
    points: tuple[bytes, ...]
    """The other case's evidence, under its country's mask."""


def question_digest(points: Iterable[bytes]) -> str:
    """Return the SHA-256 of the points that a question asks about."""
    return hashlib.sha256(b"".join(points)).hexdigest()


class Candidates(MatchingTables):
    """Finds candidates by equal tokens, and keeps how far each was compared."""

    def candidates(
        self, other: str, *, own: UUID | None = None, received: UUID | None = None
    ) -> Sequence[Candidate]:
        """Return the pairs with a token in common of one own case, or of one case of ``other``.

        ``own`` and ``received`` are the references. A case that both countries are party to is no
        duplicate of itself.
        """
        select = self._sql(
            "SELECT DISTINCT o.reference, r.reference AS other_reference FROM {0}.match_tokens o"
            " JOIN {0}.match_received_tokens r ON r.other = o.other AND r.token = o.token"
            " JOIN {0}.match_cases c ON c.other = o.other AND c.reference = o.reference"
            " JOIN {0}.match_received x ON x.other = r.other AND x.reference = r.reference"
            " WHERE o.other = %(other)s AND (o.reference = %(own)s OR r.reference = %(received)s)"
            " AND c.case_id IS NOT NULL AND x.case_id IS DISTINCT FROM c.case_id"
        )
        values = {"other": other, "own": own, "received": received}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, values).fetchall()
        return [Candidate(other, **row) for row in rows]

    def own_candidates(self, reference: UUID) -> Sequence[Candidate]:
        """Return the pairs with a token in common of one own case with others of the country."""
        select = self._sql(
            "SELECT DISTINCT least(o.reference, r.reference) AS reference,"
            " greatest(o.reference, r.reference) AS other_reference FROM {0}.match_tokens o"
            " JOIN {0}.match_tokens r ON r.other = o.other AND r.token = o.token"
            " AND r.reference <> o.reference WHERE o.other = %s AND o.reference = %s"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (self._party, reference)).fetchall()
        return [Candidate(self._party, **row) for row in rows]

    def add_candidates(self, candidates: Iterable[Candidate]) -> bool:
        """Keep pairs whose evidence is to be compared. Returns whether one is new."""
        insert = self._sql(
            "INSERT INTO {}.match_candidates (other, reference, other_reference, pair)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
        )
        is_new = False
        with self._database.transaction(role=self._role) as connection:
            for one in candidates:
                values = (one.other, one.reference, one.other_reference, one.pair)
                is_new |= connection.execute(insert, values).rowcount > 0
        return is_new

    def to_compare(self, other: str, limit: int, but: Collection[UUID] = ()) -> Sequence[Candidate]:
        """Return candidates on which ``other`` was not asked yet, without own cases in ``but``."""
        select = self._sql(
            "SELECT c.other, c.reference, c.other_reference FROM {0}.match_candidates c"
            " WHERE c.other = %s AND NOT c.done AND c.asked_at IS NULL AND NOT EXISTS"
            " (SELECT FROM {0}.match_cases m WHERE m.other = c.other AND m.case_id = ANY(%s)"
            "  AND m.reference IN (c.reference, c.other_reference))"
            " ORDER BY c.reference, c.other_reference LIMIT %s"
        )
        values = (other, list(but), limit)
        with self._database.transaction(role=self._role) as connection:
            return [Candidate(**row) for row in connection.execute(select, values)]

    def asked(self, candidate: Candidate, points: Sequence[bytes]) -> None:
        """Note which evidence was sent to the other country."""
        self._set(
            "points = %(points)s, asked_at = now(), doubled = NULL, theirs = NULL",
            candidate,
            points=list(points),
        )

    def evidence_due(self, other: str, pair: UUID) -> bool:
        """Mark the question on a pair to be sent again. Returns whether it is open."""
        update = self._sql(
            "UPDATE {}.match_candidates SET asked_at = NULL"
            " WHERE other = %s AND pair = %s AND NOT done AND doubled IS NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, pair)).rowcount > 0

    def take_answer(
        self,
        candidate: Candidate,
        question: str,
        doubled: Sequence[bytes],
        theirs: Sequence[bytes],
    ) -> None:
        """Keep the other country's answer to the question that is open on a candidate.

        ``question`` is the digest of the points that it answers. Other answers change nothing.
        """
        select = self._sql(
            "SELECT points FROM {}.match_candidates WHERE other = %s AND reference = %s"
            " AND other_reference = %s AND NOT done AND asked_at IS NOT NULL AND doubled IS NULL"
            " FOR UPDATE"
        )
        update = self._sql(
            "UPDATE {}.match_candidates SET doubled = %s, theirs = %s"
            " WHERE other = %s AND reference = %s AND other_reference = %s"
        )
        place = (candidate.other, candidate.reference, candidate.other_reference)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, place).fetchone()
            if row is not None and question_digest(map(bytes, row["points"] or ())) == question:
                connection.execute(update, (list(doubled), list(theirs), *place))

    def to_weigh(
        self, other: str, limit: int, but: Collection[UUID] = ()
    ) -> Sequence[AnsweredEvidence]:
        """Return the candidates that ``other`` answered on, without own cases in ``but``."""
        select = self._sql(
            "SELECT c.reference, c.other_reference, c.points, c.doubled, c.theirs"
            " FROM {0}.match_candidates c WHERE c.other = %s AND NOT c.done"
            " AND c.points IS NOT NULL AND c.doubled IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM {0}.match_cases m WHERE m.other = c.other"
            "  AND m.reference = c.reference AND m.case_id = ANY(%s))"
            " ORDER BY c.reference, c.other_reference LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (other, list(but), limit)).fetchall()
        return [
            AnsweredEvidence(
                Candidate(other, row["reference"], row["other_reference"]),
                *(tuple(map(bytes, row[name])) for name in ("points", "doubled", "theirs")),
            )
            for row in rows
        ]

    def compared(self, candidate: Candidate) -> None:
        """Note that a candidate was weighed, and remove its evidence."""
        self._set("done = true, points = NULL, doubled = NULL, theirs = NULL", candidate)

    def compare_again(self, candidate: Candidate) -> None:
        """Ask the other country anew, since the own evidence changed meanwhile."""
        self._set("asked_at = NULL, points = NULL, doubled = NULL, theirs = NULL", candidate)

    def take_question(self, asked: AskedEvidence) -> None:
        """Keep what the other country asks on a candidate, unless a case of it is not here.

        Raises ``QuotaUsedUpError`` if too many of its questions wait, or if it asked too often on
        pairs of which it had asked before.
        """
        known = self._sql(
            "SELECT points FROM {}.match_asked WHERE other = %s AND reference = %s"
            " AND other_reference = %s FOR UPDATE"
        )
        full = self._sql(
            "SELECT FROM {}.match_asked WHERE other = %s AND answer_due OFFSET %s LIMIT 1"
        )
        insert = self._sql(
            "INSERT INTO {0}.match_asked (other, reference, other_reference, pair, points)"
            " SELECT %(other)s, %(reference)s, %(other_reference)s, %(pair)s, %(points)s"
            " WHERE EXISTS (SELECT FROM {0}.match_cases WHERE other = %(other)s"
            "  AND reference = %(reference)s AND case_id IS NOT NULL)"
            " AND EXISTS (SELECT FROM {0}.match_received WHERE other = %(other)s"
            "  AND reference = %(other_reference)s AND NOT withdrawn)"
            " ON CONFLICT (other, reference, other_reference)"
            " DO UPDATE SET points = EXCLUDED.points, answer_due = true"
        )
        one = asked.candidate
        place = (one.other, one.reference, one.other_reference)
        with self._database.transaction(role=self._role) as connection:
            before = connection.execute(known, place).fetchone()
            if before is None:
                if connection.execute(full, (one.other, MAX_ASKED - 1)).fetchone() is not None:
                    raise QuotaUsedUpError
            elif tuple(map(bytes, before["points"])) != asked.points:
                self._quotas.use(one.other, Quota.ASKED_ANEW, connection=connection)
            connection.execute(
                insert,
                {
                    "other": one.other,
                    "reference": one.reference,
                    "other_reference": one.other_reference,
                    "pair": one.pair,
                    "points": list(asked.points),
                },
            )

    def to_answer_evidence(
        self, other: str, limit: int, but: Collection[UUID] = ()
    ) -> Sequence[AskedEvidence]:
        """Return what ``other`` asks on pairs that have a token in common here too.

        Own cases in ``but`` are left out.

        Nothing is answered on other pairs: their evidence would tell more than equality.
        """
        select = self._sql(
            "SELECT a.reference, a.other_reference, a.points FROM {0}.match_asked a"
            " WHERE a.other = %s AND a.answer_due AND EXISTS (SELECT FROM {0}.match_tokens o"
            " JOIN {0}.match_received_tokens r ON r.other = o.other AND r.token = o.token"
            " WHERE o.other = a.other AND o.reference = a.reference"
            " AND r.reference = a.other_reference) AND NOT EXISTS"
            " (SELECT FROM {0}.match_cases m WHERE m.other = a.other"
            "  AND m.reference = a.reference AND m.case_id = ANY(%s)) ORDER BY a.reference LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (other, list(but), limit)).fetchall()
        return [
            AskedEvidence(
                Candidate(other, row["reference"], row["other_reference"]),
                tuple(map(bytes, row["points"])),
            )
            for row in rows
        ]

    def answered_evidence(self, asked: AskedEvidence) -> None:
        """Note that a question was answered."""
        update = self._sql(
            "UPDATE {}.match_asked SET answer_due = false WHERE other = %s AND reference = %s"
            " AND other_reference = %s AND points = %s"
        )
        one = asked.candidate
        with self._database.transaction(role=self._role) as connection:
            values = (one.other, one.reference, one.other_reference, list(asked.points))
            connection.execute(update, values)

    def evidence_answer_due(self, other: str, pair: UUID) -> bool:
        """Mark the answer on a pair to be sent again. Returns whether there is one."""
        update = self._sql(
            "UPDATE {}.match_asked SET answer_due = true WHERE other = %s AND pair = %s"
        )
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, pair)).rowcount > 0

    def with_the_names(self, candidate: Candidate) -> tuple[int, int, int]:
        """Return how many cases have the pair's names, how many there are, and how many of others.

        The first counts the cases of both countries that have the rarest pair of names in common
        with the own case, 0 without one.
        """
        own = candidate.other == self._party
        theirs: LiteralString = "match_tokens" if own else "match_received_tokens"
        select = SQL(
            "SELECT coalesce((SELECT min(n) FROM (SELECT"
            " (SELECT count(DISTINCT m.reference) FROM {tokens} m"
            "  WHERE m.other = %(other)s AND m.token = o.token)"
            " + (SELECT count(DISTINCT m.reference) FROM {theirs} m"
            "  WHERE m.other = %(other)s AND m.token = o.token AND NOT %(own)s) AS n"
            " FROM {tokens} o JOIN {theirs} r ON r.other = o.other AND r.token = o.token"
            " WHERE o.other = %(other)s AND o.kind = %(names)s AND o.reference = %(reference)s"
            " AND r.reference = %(other_reference)s) counted), 0) AS named,"
            " (SELECT count(*) FROM {cases}"
            "  WHERE other = %(other)s AND case_id IS NOT NULL) AS ours,"
            " (SELECT count(*) FROM {received} WHERE other = %(other)s AND NOT withdrawn) AS theirs"
        ).format(
            tokens=Identifier(self._schema, "match_tokens"),
            theirs=Identifier(self._schema, theirs),
            cases=Identifier(self._schema, "match_cases"),
            received=Identifier(self._schema, "match_received"),
        )
        values = {
            "other": candidate.other,
            "own": own,
            "names": NAMES,
            "reference": candidate.reference,
            "other_reference": candidate.other_reference,
        }
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, values).fetchone()
        if row is None:
            return 0, 0, 0
        if own:
            return row["named"], row["ours"], row["ours"]
        return row["named"], row["ours"] + row["theirs"], row["theirs"]

    def case_of(self, other: str, reference: UUID) -> UUID | None:
        """Return the own case of a reference, or ``None`` if its person was erased."""
        select = self._sql("SELECT case_id FROM {}.match_cases WHERE other = %s AND reference = %s")
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (other, reference)).fetchone()
        return row["case_id"] if row else None

    def _set(self, what: LiteralString, candidate: Candidate, **values: Collection[bytes]) -> None:
        update = SQL(
            "UPDATE {}.match_candidates SET {} WHERE other = %(other)s"
            " AND reference = %(reference)s AND other_reference = %(other_reference)s"
        ).format(Identifier(self._schema), SQL(what))
        place = {
            "other": candidate.other,
            "reference": candidate.reference,
            "other_reference": candidate.other_reference,
        }
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, {**place, **values})
