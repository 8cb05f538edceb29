"""The points and tokens of a country's own cases, and which of them each other country has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from ledger.vault.duplicates.identity_forms import BLOCKING_FORMS
from ledger.vault.duplicates.matching_tables import wait_for_erasure
from ledger.vault.duplicates.questioned_duplicates import QuestionedDuplicates

_EARLIER = 3
"""Sets of points that are kept of a case after others replaced them."""


@dataclass(frozen=True, slots=True)
class OwnCase:
    """A case of the country's own, as it is known to one other country."""

    other: str
    reference: UUID
    case_id: UUID


@dataclass(frozen=True, slots=True)
class Sendable:
    """The points that another country is to have of a case."""

    reference: UUID
    case_id: UUID | None
    """Where the other country is party to the case."""
    computed_with: str
    points: tuple[bytes, ...]
    kinds: tuple[str | None, ...]
    """Of each point; ``None`` for a random one."""


class OwnTokens(QuestionedDuplicates):
    """Keeps the points and tokens of the country's own cases, and sends and withdraws them."""

    def add_case(self, case_id: UUID, references: Mapping[str, UUID]) -> None:
        """Add a case of the country's own to the comparison, unless its person was erased.

        ``references`` has how each country knows the case.
        """
        insert = self._sql(
            "INSERT INTO {0}.match_cases (other, reference, case_id)"
            " SELECT o, r, %(case)s"
            " FROM unnest(%(others)s::text[], %(references)s::uuid[]) t (o, r)"
            " WHERE NOT EXISTS (SELECT FROM {0}.erased WHERE case_id = %(case)s)"
            " ON CONFLICT DO NOTHING"
        )
        values = {
            "case": case_id,
            "others": list(references),
            "references": list(references.values()),
        }
        with self._database.transaction(role=self._role) as connection:
            wait_for_erasure(connection, case_id)
            connection.execute(insert, values)

    def joined(self, case_id: UUID, parties: Collection[str]) -> None:
        """Note that countries are party to the case, so that its id tells them nothing new."""
        update = self._sql(
            "UPDATE {}.match_cases SET known = true, due = (computed_with IS NOT NULL)"
            " WHERE case_id = %s AND other = ANY(%s) AND NOT known"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (case_id, list(parties)))

    def stated_anew(self, case_id: UUID) -> None:
        """Note that another identity may count, so that the case's tokens are made anew.

        The earlier tokens stay until the new ones replace them, here and in the other countries.
        The duplicates that were found by them are in question.
        """
        update = self._sql(
            "UPDATE {}.match_cases SET computed_with = NULL WHERE case_id = %s"
            " AND computed_with IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (case_id,))
            self._question_own(connection, case_id)

    def without_tokens(
        self, keys: Mapping[str, str], limit: int, but: Collection[UUID] = ()
    ) -> Sequence[OwnCase]:
        """Return cases that have no tokens under the current keys.

        ``keys`` has the key ids by the other country's code. ``but`` names cases to leave out.
        """
        select = self._sql(
            "SELECT c.other, c.reference, c.case_id FROM {}.match_cases c"
            " JOIN unnest(%s::text[], %s::text[]) k (other, id) ON c.other = k.other"
            " WHERE c.case_id IS NOT NULL AND c.computed_with IS DISTINCT FROM k.id"
            " AND c.case_id <> ALL(%s::uuid[]) ORDER BY c.case_id, c.other LIMIT %s"
        )
        values = (list(keys), list(keys.values()), list(but), limit)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, values).fetchall()
        return [OwnCase(**row) for row in rows]

    def put_points(
        self, case: OwnCase, mask: str, points: Sequence[bytes], kinds: Sequence[str | None]
    ) -> None:
        """Replace a case's points by points under a mask, unless the person was erased.

        The case's tokens go until the other country answered. The replaced points are kept for a
        while, to know an answer to them that was on its way.
        """
        claim = (
            "UPDATE {}.match_cases SET computed_with = %(mask)s, points = %(points)s,"
            " kinds = %(kinds)s, due = true, earlier = CASE WHEN points = %(points)s THEN earlier"
            " ELSE (points || earlier)[1:%(kept)s] END"
            " WHERE other = %(other)s AND reference = %(reference)s AND case_id IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            values = {
                "mask": mask,
                "points": list(points),
                "kinds": list(kinds),
                "kept": _EARLIER * BLOCKING_FORMS,
                "other": case.other,
                "reference": case.reference,
            }
            if connection.execute(self._sql(claim), values).rowcount:
                self._drop_tokens(connection, case)

    def put_own_tokens(self, case: OwnCase, key: str, tokens: Mapping[bytes, str]) -> None:
        """Replace the tokens by which the country's cases are compared with each other."""
        claim = (
            "UPDATE {}.match_cases SET computed_with = %s, due = false"
            " WHERE other = %s AND reference = %s AND case_id IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            values = (key, case.other, case.reference)
            if connection.execute(self._sql(claim), values).rowcount:
                self._drop_tokens(connection, case)
                self._put_tokens(connection, case.other, case.reference, tokens)

    def earlier_points(self, other: str, reference: UUID) -> Sequence[Sequence[bytes]]:
        """Return the sets of points that a case had before those of now, the last one first."""
        select = self._sql("SELECT earlier FROM {}.match_cases WHERE other = %s AND reference = %s")
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (other, reference)).fetchone()
        every = [*map(bytes, (row["earlier"] or ()) if row is not None else ())]
        return [every[at : at + BLOCKING_FORMS] for at in range(0, len(every), BLOCKING_FORMS)]

    def take_tokens_of(
        self,
        other: str,
        reference: UUID,
        mask: str,
        points: Sequence[bytes],
        tokens: Mapping[bytes, str],
    ) -> bool:
        """Store the tokens that an answer of ``other`` gave for points under ``mask``.

        Returns whether the points of the case are still those.
        """
        current = self._sql(
            "SELECT FROM {}.match_cases WHERE other = %s AND reference = %s AND computed_with = %s"
            " AND points = %s AND case_id IS NOT NULL FOR UPDATE"
        )
        with self._database.transaction(role=self._role) as connection:
            values = (other, reference, mask, list(points))
            if connection.execute(current, values).fetchone() is None:
                return False
            delete = self._sql("DELETE FROM {}.match_tokens WHERE other = %s AND reference = %s")
            connection.execute(delete, (other, reference))
            self._put_tokens(connection, other, reference, tokens)
        return True

    def _drop_tokens(self, connection: Connection[Any], case: OwnCase) -> None:
        """Remove a case's tokens and the closer looks that they led to."""
        for table in ("match_tokens", "match_candidates"):
            delete = SQL("DELETE FROM {} WHERE other = %s AND reference = %s").format(
                Identifier(self._schema, table)
            )
            connection.execute(delete, (case.other, case.reference))
        if case.other == self._party:  # in a pair of own cases it may be either of the two
            delete = self._sql(
                "DELETE FROM {}.match_candidates WHERE other = %s AND other_reference = %s"
            )
            connection.execute(delete, (case.other, case.reference))
        # What was asked stays known, so that the next question on the pair counts as another one.
        asked = self._sql(
            "UPDATE {}.match_asked SET answer_due = false WHERE other = %s AND reference = %s"
        )
        connection.execute(asked, (case.other, case.reference))

    def _put_tokens(
        self, connection: Connection[Any], other: str, reference: UUID, tokens: Mapping[bytes, str]
    ) -> None:
        insert = self._sql(
            "INSERT INTO {}.match_tokens (other, reference, token, kind)"
            " SELECT %s, %s, t, k FROM unnest(%s::bytea[], %s::text[]) n (t, k)"
            " ON CONFLICT DO NOTHING"
        )
        connection.execute(insert, (other, reference, list(tokens), list(tokens.values())))

    def to_send(self, other: str, mask: str, limit: int) -> Sequence[Sendable]:
        """Return the cases whose points under a mask ``other`` does not have yet."""
        return self._points("c.due AND c.computed_with = %(mask)s", other, limit, mask=mask)

    def points(self, other: str, reference: UUID) -> Sendable | None:
        """Return the points of one case that are current for ``other``."""
        found = self._points("c.reference = %(reference)s", other, 1, reference=reference)
        return next(iter(found), None)

    def _points(
        self, condition: LiteralString, other: str, limit: int, **values: object
    ) -> Sequence[Sendable]:
        select = SQL(
            "SELECT c.reference, CASE WHEN c.known THEN c.case_id END AS case_id, c.computed_with,"
            " c.points, c.kinds FROM {}.match_cases c WHERE c.other = %(other)s AND {}"
            " AND c.case_id IS NOT NULL AND c.points IS NOT NULL AND c.computed_with IS NOT NULL"
            " ORDER BY c.reference LIMIT %(limit)s"
        ).format(Identifier(self._schema), SQL(condition))
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, {"other": other, "limit": limit, **values}).fetchall()
        return [
            Sendable(
                **{**row, "points": tuple(map(bytes, row["points"])), "kinds": tuple(row["kinds"])}
            )
            for row in rows
        ]

    def sent(self, other: str, what: Sendable) -> None:
        """Note that ``other`` has the points that :meth:`to_send` returned.

        A case that changed since is still to be sent.
        """
        update = self._sql(
            "UPDATE {}.match_cases SET due = false WHERE other = %s AND reference = %s"
            " AND computed_with = %s AND known = %s"
        )
        values = (other, what.reference, what.computed_with, what.case_id is not None)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, values)

    def to_withdraw(self, other: str, limit: int) -> Sequence[UUID]:
        """Return references of erased persons whose withdrawal ``other`` does not have yet."""
        select = self._sql(
            "SELECT reference FROM {}.match_cases WHERE other = %s AND due"
            " AND withdrawn_at IS NOT NULL ORDER BY reference LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            return [row["reference"] for row in connection.execute(select, (other, limit))]

    def withdrew(self, other: str, reference: UUID) -> None:
        """Note that ``other`` has the withdrawal of an erased person's tokens."""
        update = self._sql(
            "UPDATE {}.match_cases SET due = false"
            " WHERE other = %s AND reference = %s AND withdrawn_at IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (other, reference))

    def tokens_due(self, other: str, reference: UUID) -> bool:
        """Mark the tokens of a case to be sent again.

        Returns whether the case has tokens.
        """
        return self._due("withdrawn_at IS NULL AND computed_with IS NOT NULL", other, reference)

    def withdrawal_due(self, other: str, reference: UUID) -> bool:
        """Mark the withdrawal of a case's tokens to be sent to ``other`` again.

        Returns whether the person was erased.
        """
        return self._due("withdrawn_at IS NOT NULL", other, reference)

    def _due(self, condition: LiteralString, other: str, reference: UUID) -> bool:
        update = SQL(
            "UPDATE {}.match_cases SET due = true WHERE other = %s AND reference = %s AND {}"
        ).format(Identifier(self._schema), SQL(condition))
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, reference)).rowcount > 0
