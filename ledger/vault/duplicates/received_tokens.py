"""The tokens that other countries sent of their cases."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from ledger.vault.daily_quotas import Quota
from ledger.vault.duplicates.matching_tables import wait_for_erasure
from ledger.vault.duplicates.questioned_duplicates import QuestionedDuplicates

MAX_RECEIVED = 100_000
"""Cases of one other country, withdrawn ones included: it names each by a reference of its own."""


MORE_THAN_OPENED = 20
"""A country may name so many cases before this node's copy has their openings."""


@dataclass(frozen=True, slots=True)
class ReceivedPoints:
    """The points that another country sent of one of its cases."""

    reference: UUID
    case_id: UUID | None
    """The case, if this country is party to it."""
    points: tuple[bytes, ...]
    mask: str
    """The sender's, under which the points are."""
    doubled_with: str
    """The own mask of the tokens that are kept of them."""


class TooManyReceivedError(Exception):
    """Another country names more cases than are kept of one country."""


class ReceivedTokens(QuestionedDuplicates):
    """Takes in what other countries send of their cases."""

    def take_points(self, other: str, points: ReceivedPoints, tokens: Collection[bytes]) -> None:
        """Replace what ``other`` sent of a case before, unless the case is withdrawn.

        ``tokens`` are those of the points under both masks. Raises ``TooManyReceivedError`` if
        ``other`` names more cases than the vault keeps, and ``QuotaUsedUpError`` if it names more
        cases than it opened, or changed too many within a day.
        """
        known = self._sql(
            "SELECT points, doubled_with FROM {}.match_received WHERE other = %s AND reference = %s"
        )
        upsert = self._sql(
            "INSERT INTO {}.match_received AS r"
            " (other, reference, case_id, points, mask, doubled_with, answer_due)"
            " VALUES (%s, %s, %s, %s, %s, %s, true)"
            " ON CONFLICT (other, reference) DO UPDATE"
            " SET case_id = coalesce(EXCLUDED.case_id, r.case_id), points = EXCLUDED.points,"
            " mask = EXCLUDED.mask, answer_due = true,"
            " doubled_with = EXCLUDED.doubled_with WHERE NOT r.withdrawn"
        )
        place, case_id = (other, points.reference), points.case_id
        with self._database.transaction(role=self._role) as connection:
            if case_id is not None:
                wait_for_erasure(connection, case_id)
                erased = self._sql("SELECT FROM {}.erased WHERE case_id = %s")
                if connection.execute(erased, (case_id,)).fetchone() is not None:
                    return
            self._check_room(connection, *place)
            before = connection.execute(known, place).fetchone()
            is_known = before is not None and points.points == tuple(
                map(bytes, before["points"] or ())
            )
            if before is None:
                self._check_opened(connection, other)
            elif before["points"] is not None and not is_known:
                self._quotas.use(other, Quota.CHANGED_CASES, connection=connection)
            values = (
                *place,
                case_id,
                list(points.points),
                points.mask,
                points.doubled_with,
            )
            has_tokens = (
                before is not None and is_known and before["doubled_with"] == points.doubled_with
            )
            if connection.execute(upsert, values).rowcount and not has_tokens:
                self._drop_tokens_of(connection, *place)
                self._put_received(connection, *place, tokens)
                if not is_known:
                    self._question_received(connection, *place)

    def to_double(self, other: str, mask: str, limit: int) -> Sequence[ReceivedPoints]:
        """Return cases of ``other`` whose tokens are not of the own mask of now."""
        return self._received("doubled_with IS DISTINCT FROM %(mask)s", other, mask, limit)

    def double(self, other: str, points: ReceivedPoints, tokens: Collection[bytes]) -> None:
        """Replace the tokens of a case of ``other`` by those under a new own mask."""
        update = self._sql(
            "UPDATE {}.match_received SET doubled_with = %s, answer_due = true"
            " WHERE other = %s AND reference = %s AND NOT withdrawn AND points = %s"
        )
        place = (other, points.reference)
        with self._database.transaction(role=self._role) as connection:
            values = (points.doubled_with, *place, list(points.points))
            if connection.execute(update, values).rowcount:
                self._drop_tokens_of(connection, *place)
                self._put_received(connection, *place, tokens)

    def to_answer(self, other: str, mask: str, limit: int) -> Sequence[ReceivedPoints]:
        """Return cases of ``other`` whose points it does not have back under the own mask yet."""
        return self._received("answer_due AND doubled_with = %(mask)s", other, mask, limit)

    def answered(self, other: str, points: ReceivedPoints) -> None:
        """Note that ``other`` has the answer to the points of a case."""
        update = self._sql(
            "UPDATE {}.match_received SET answer_due = false WHERE other = %s AND reference = %s"
            " AND points = %s AND doubled_with = %s"
        )
        values = (other, points.reference, list(points.points), points.doubled_with)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, values)

    def answer_due(self, other: str, reference: UUID) -> bool:
        """Mark the answer to the points of a case to be sent again. Returns whether it holds."""
        update = self._sql(
            "UPDATE {}.match_received SET answer_due = true WHERE other = %s AND reference = %s"
            " AND points IS NOT NULL AND NOT withdrawn"
        )
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, reference)).rowcount > 0

    def note_opened(self, opened: Mapping[UUID, str]) -> None:
        """Note which other country opened each of some cases."""
        insert = self._sql(
            "INSERT INTO {}.match_foreign_cases (case_id, other)"
            " SELECT c, o FROM unnest(%s::uuid[], %s::text[]) n (c, o) ON CONFLICT DO NOTHING"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(insert, (list(opened), list(opened.values())))

    def _received(
        self, condition: LiteralString, other: str, mask: str, limit: int
    ) -> Sequence[ReceivedPoints]:
        select = SQL(
            "SELECT reference, case_id, points, mask, doubled_with FROM {}.match_received"
            " WHERE other = %(other)s AND NOT withdrawn AND points IS NOT NULL AND {}"
            " ORDER BY reference LIMIT %(limit)s"
        ).format(Identifier(self._schema), SQL(condition))
        values = {"other": other, "mask": mask, "limit": limit}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, values).fetchall()
        return [
            ReceivedPoints(**{**row, "points": tuple(map(bytes, row["points"]))}) for row in rows
        ]

    def _check_opened(self, connection: Connection[Any], other: str) -> None:
        """Check that ``other`` names no more cases than it opened, but for a quota of each day.

        Each case that it names lets it test a guess of a person. A country that lost its database
        names its cases anew. Raises ``QuotaUsedUpError``.
        """
        count = self._sql(
            "SELECT (SELECT count(*) FROM {0}.match_received WHERE other = %(other)s) AS named,"
            " (SELECT count(*) FROM {0}.match_foreign_cases WHERE other = %(other)s) AS opened"
        )
        row = connection.execute(count, {"other": other}).fetchone()
        if row is not None and row["named"] >= row["opened"] + MORE_THAN_OPENED:
            self._quotas.use(other, Quota.CHANGED_CASES, connection=connection)

    def _drop_tokens_of(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        """Remove the tokens of a case of ``other``, and the closer looks that they led to."""
        for table, column in (
            ("match_received_tokens", "reference"),
            ("match_candidates", "other_reference"),
        ):
            delete = SQL("DELETE FROM {} WHERE other = %s AND {} = %s").format(
                Identifier(self._schema, table), Identifier(column)
            )
            connection.execute(delete, (other, reference))
        # What was asked stays known, so that the next question on the pair counts as another one.
        asked = self._sql(
            "UPDATE {}.match_asked SET answer_due = false WHERE other = %s AND other_reference = %s"
        )
        connection.execute(asked, (other, reference))

    def _put_received(
        self, connection: Connection[Any], other: str, reference: UUID, tokens: Collection[bytes]
    ) -> None:
        insert = self._sql(
            "INSERT INTO {}.match_received_tokens (other, reference, token)"
            " SELECT %s, %s, t FROM unnest(%s::bytea[]) n (t) ON CONFLICT DO NOTHING"
        )
        connection.execute(insert, (other, reference, list(tokens)))

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
        """Remove all that came of a case of ``other``, but that it was withdrawn."""
        self._drop_tokens_of(connection, other, reference)
        for statement in (
            "UPDATE {}.match_received SET points = NULL, answer_due = false"
            " WHERE other = %s AND reference = %s",
            "DELETE FROM {}.duplicates WHERE other = %s AND other_reference = %s",
        ):
            connection.execute(self._sql(statement), (other, reference))
