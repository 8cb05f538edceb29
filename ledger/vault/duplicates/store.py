"""A country's tables of tokens and of what they found. Its keeper's role alone reaches them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4, uuid5

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.duplicates.tokens import THRESHOLD, strength
from ledger.vocabulary.duplicates import Agreement, DuplicateState, Finding

_NAMESPACE = UUID("5b0e4b52-7f0c-5a52-9f4d-3f0a5f6f2f11")
MAX_RECEIVED = 100_000
"""Cases of one other country, withdrawn ones included: it names each by a reference of its own."""


class TooManyReceivedError(Exception):
    """Another country names more cases than are kept of one country."""


@dataclass(frozen=True, slots=True)
class OwnCase:
    """A case of the country's own, as it is known to one other country."""

    other: str
    reference: UUID
    case_id: UUID


@dataclass(frozen=True, slots=True)
class Sendable:
    """The tokens that another country is to have of a case."""

    reference: UUID
    case_id: UUID | None
    """Where the other country is party to the case."""
    computed_with: str
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A case of the country's own and one of another country that agree."""

    other: str
    reference: UUID
    other_reference: UUID
    agrees: tuple[Agreement, ...]

    @property
    def id(self) -> UUID:
        """The same in both countries."""
        return duplicate_id(self.reference, self.other_reference)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A match that was found, and what the two coordinators found out."""

    match: Match
    case_id: UUID
    other_case_id: UUID | None
    """Known where this country is party to the other's case."""
    found_at: datetime
    finding: Finding | None
    assessed_at: datetime | None
    other_finding: Finding | None
    other_assessed_at: datetime | None

    @property
    def strength(self) -> int:
        return strength(self.match.agrees)

    @property
    def state(self) -> DuplicateState:
        findings = {one for one in (self.finding, self.other_finding) if one is not None}
        if len(findings) == 2:
            return DuplicateState.DISPUTED
        return DuplicateState(findings.pop().value) if findings else DuplicateState.OPEN


def duplicate_id(one: UUID, other: UUID) -> UUID:
    """The id of a match, from the references of both cases in any order."""
    first, second = sorted((one, other))
    return uuid5(_NAMESPACE, f"{first} {second}")


class Duplicates:
    """What one country's vault keeps to find duplicates."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._schema = vault_schema(party)
        self._role = vault_role(party)

    def share_sent(self, other: str) -> str | None:
        """Which share was sent last, and to which key, in the words of :meth:`sent_share`."""
        select = self._sql("SELECT share_sent FROM {}.match_pairs WHERE other = %s")
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (other,)).fetchone()
        return row["share_sent"] if row else None

    def sent_share(self, other: str, what: str | None) -> None:
        """``what`` was sent; ``None``: it must be sent again."""
        update = self._sql(
            "INSERT INTO {}.match_pairs (other, share_sent) VALUES (%s, %s)"
            " ON CONFLICT (other) DO UPDATE SET share_sent = EXCLUDED.share_sent"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (other, what))

    def address(self, other: str, key_id: str) -> None:
        """Parcels to ``other`` go to this country key; with another one, all is sent again."""
        update = self._sql(
            "INSERT INTO {}.match_pairs (other, address) VALUES (%(other)s, %(key)s)"
            " ON CONFLICT (other) DO UPDATE SET address = EXCLUDED.address"
            " WHERE match_pairs.address IS DISTINCT FROM EXCLUDED.address"
        )
        again = (
            "UPDATE {}.match_cases SET due = true WHERE other = %(other)s"
            " AND (computed_with IS NOT NULL OR withdrawn_at IS NOT NULL)",
            "UPDATE {}.duplicates SET told = false, assessment_told = (finding IS NULL)"
            " WHERE other = %(other)s",
        )
        values = {"other": other, "key": key_id}
        with self._database.transaction(role=self._role) as connection:
            if connection.execute(update, values).rowcount:
                for statement in again:
                    connection.execute(self._sql(statement), values)

    def add_case(self, case_id: UUID, others: Iterable[str]) -> None:
        """A case of the country's own is compared from now on, unless its person was erased."""
        insert = self._sql(
            "INSERT INTO {0}.match_cases (other, reference, case_id)"
            " SELECT o, r, %(case)s"
            " FROM unnest(%(others)s::text[], %(references)s::uuid[]) t (o, r)"
            " WHERE NOT EXISTS (SELECT FROM {0}.erased WHERE case_id = %(case)s)"
            " ON CONFLICT (other, case_id) DO NOTHING"
        )
        named = sorted(others)
        values = {"case": case_id, "others": named, "references": [uuid4() for _ in named]}
        with self._database.transaction(role=self._role) as connection:
            _wait_for_erasure(connection, case_id)
            connection.execute(insert, values)

    def joined(self, case_id: UUID, parties: Collection[str]) -> None:
        """These countries are party to the case, so that its id tells them nothing."""
        update = self._sql(
            "UPDATE {}.match_cases SET known = true, due = (computed_with IS NOT NULL)"
            " WHERE case_id = %s AND other = ANY(%s) AND NOT known"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (case_id, list(parties)))

    def without_tokens(
        self, keys: Mapping[str, str], limit: int, but: Collection[UUID] = ()
    ) -> Sequence[OwnCase]:
        """Cases that have no tokens under the keys of now, by the other country's code."""
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

    def put_tokens(
        self, case: OwnCase, key_id: str, tokens: Mapping[bytes, Agreement | None]
    ) -> None:
        """A case's tokens under a key, in place of those before, unless the person was erased."""
        claim = self._sql(
            "UPDATE {}.match_cases SET computed_with = %s, due = true"
            " WHERE other = %s AND reference = %s AND case_id IS NOT NULL"
        )
        delete = self._sql("DELETE FROM {}.match_tokens WHERE other = %s AND reference = %s")
        insert = self._sql(
            "INSERT INTO {}.match_tokens (other, reference, token, kind)"
            " SELECT %s, %s, t, k FROM unnest(%s::bytea[], %s::text[]) n (t, k)"
        )
        place = (case.other, case.reference)
        with self._database.transaction(role=self._role) as connection:
            if connection.execute(claim, (key_id, *place)).rowcount:
                connection.execute(delete, place)
                connection.execute(insert, (*place, list(tokens), list(tokens.values())))

    def to_send(self, other: str, limit: int) -> Sequence[Sendable]:
        """The cases whose tokens ``other`` has not got as they are now."""
        select = self._sql(
            "SELECT c.reference, CASE WHEN c.known THEN c.case_id END AS case_id, c.computed_with,"
            " (SELECT array_agg(t.token ORDER BY t.token) FROM {0}.match_tokens t"
            "  WHERE t.other = c.other AND t.reference = c.reference) AS tokens"
            " FROM {0}.match_cases c WHERE c.other = %s AND c.due AND c.case_id IS NOT NULL"
            " AND c.computed_with IS NOT NULL ORDER BY c.reference LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (other, limit)).fetchall()
        return [Sendable(**{**row, "tokens": tuple(map(bytes, row["tokens"]))}) for row in rows]

    def sent(self, other: str, what: Sendable) -> None:
        """``other`` gets what :meth:`to_send` gave; what changed since is still to be sent."""
        update = self._sql(
            "UPDATE {}.match_cases SET due = false WHERE other = %s AND reference = %s"
            " AND computed_with = %s AND known = %s"
        )
        values = (other, what.reference, what.computed_with, what.case_id is not None)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, values)

    def to_withdraw(self, other: str, limit: int) -> Sequence[UUID]:
        """References of erased persons that ``other`` has not been told of."""
        select = self._sql(
            "SELECT reference FROM {}.match_cases WHERE other = %s AND due"
            " AND withdrawn_at IS NOT NULL ORDER BY reference LIMIT %s"
        )
        with self._database.transaction(role=self._role) as connection:
            return [row["reference"] for row in connection.execute(select, (other, limit))]

    def withdrew(self, other: str, reference: UUID) -> None:
        """``other`` is told that the person was erased."""
        update = self._sql(
            "UPDATE {}.match_cases SET due = false"
            " WHERE other = %s AND reference = %s AND withdrawn_at IS NOT NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (other, reference))

    def tokens_due(self, other: str, reference: UUID) -> bool:
        """Send the tokens of a case again. Returns whether there are any."""
        return self._due("withdrawn_at IS NULL AND computed_with IS NOT NULL", other, reference)

    def withdrawal_due(self, other: str, reference: UUID) -> bool:
        """Tell ``other`` again that a person was erased. Returns whether that is so."""
        return self._due("withdrawn_at IS NOT NULL", other, reference)

    def _due(self, condition: LiteralString, other: str, reference: UUID) -> bool:
        update = SQL(
            "UPDATE {}.match_cases SET due = true WHERE other = %s AND reference = %s AND {}"
        ).format(Identifier(self._schema), SQL(condition))
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, reference)).rowcount > 0

    def telling_due(self, other: str, duplicate: UUID) -> bool:
        """Tell ``other`` again of a match. Returns whether it is still here."""
        return self._again("told = false", "true", other, duplicate)

    def assessment_due(self, other: str, duplicate: UUID) -> bool:
        """Tell ``other`` again what the coordinator found out. Returns whether there is that."""
        return self._again("assessment_told = false", "finding IS NOT NULL", other, duplicate)

    def _again(
        self, what: LiteralString, condition: LiteralString, other: str, duplicate: UUID
    ) -> bool:
        update = SQL("UPDATE {}.duplicates SET {} WHERE other = %s AND id = %s AND {}").format(
            Identifier(self._schema), SQL(what), SQL(condition)
        )
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(update, (other, duplicate)).rowcount > 0

    def take_tokens(
        self, other: str, reference: UUID, case_id: UUID | None, tokens: Collection[bytes]
    ) -> None:
        """What ``other`` sent of a case, in place of what it sent before, unless withdrawn.

        Raises ``TooManyReceivedError``.
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
                _wait_for_erasure(connection, case_id)
                erased = self._sql("SELECT FROM {}.erased WHERE case_id = %s")
                if connection.execute(erased, (case_id,)).fetchone() is not None:
                    return
            self._check_room(connection, *place)
            if connection.execute(upsert, (*place, case_id)).rowcount:
                connection.execute(delete, place)
                connection.execute(insert, (*place, list(tokens)))

    def take_withdrawal(self, other: str, reference: UUID) -> None:
        """The other country erased the person: nothing of its case stays, nor comes in again.

        Raises ``TooManyReceivedError``.
        """
        upsert = self._sql(
            "INSERT INTO {}.match_received (other, reference, withdrawn) VALUES (%s, %s, true)"
            " ON CONFLICT (other, reference) DO UPDATE SET withdrawn = true, case_id = NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            self._check_room(connection, other, reference)
            connection.execute(upsert, (other, reference))
            self._drop_received(connection, other, reference)

    def matches(
        self, other: str, *, own: UUID | None = None, received: UUID | None = None
    ) -> Sequence[Match]:
        """What agrees with one own case, or with one of ``other``'s, by their references.

        A case that both countries are party to is no duplicate of itself.
        """
        select = self._sql(
            "SELECT o.reference, r.reference AS other_reference,"
            " array_agg(DISTINCT o.kind ORDER BY o.kind) AS agrees FROM {0}.match_tokens o"
            " JOIN {0}.match_received_tokens r ON r.other = o.other AND r.token = o.token"
            " JOIN {0}.match_cases c ON c.other = o.other AND c.reference = o.reference"
            " JOIN {0}.match_received x ON x.other = r.other AND x.reference = r.reference"
            " WHERE o.other = %(other)s AND o.kind IS NOT NULL"
            " AND (o.reference = %(own)s OR r.reference = %(received)s)"
            " AND c.case_id IS NOT NULL AND x.case_id IS DISTINCT FROM c.case_id"
            " GROUP BY o.reference, r.reference"
        )
        values = {"other": other, "own": own, "received": received}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, values).fetchall()
        found = (
            Match(other, r["reference"], r["other_reference"], tuple(map(Agreement, r["agrees"])))
            for r in rows
        )
        return [match for match in found if strength(match.agrees) >= THRESHOLD]

    def found(self, match: Match, at: datetime, *, told: bool) -> bool:
        """Keep a match, once, with the earlier time of the two countries'.

        ``told``: the other country has it. Returns whether it was new; what is of no case here,
        or was withdrawn, is not kept.
        """
        own = self._sql(
            "SELECT case_id FROM {}.match_cases"
            " WHERE other = %s AND reference = %s AND case_id IS NOT NULL FOR SHARE"
        )
        theirs = self._sql(
            "SELECT case_id, withdrawn FROM {}.match_received"
            " WHERE other = %s AND reference = %s FOR SHARE"
        )
        insert = self._sql(
            "INSERT INTO {}.duplicates AS d (id, other, case_id, reference, other_reference,"
            " agrees, found_at, told) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET found_at = least(d.found_at, EXCLUDED.found_at)"
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
                    at,
                    told,
                ),
            ).fetchone()
        return bool(row and row["new"])

    def to_tell(self, other: str, limit: int) -> Sequence[Duplicate]:
        """What was found here and ``other`` has not been told."""
        return self._select("d.other = %(other)s AND NOT d.told", limit, other=other)

    def told(self, duplicate: Duplicate) -> None:
        """The other country is told of a match."""
        update = self._sql("UPDATE {}.duplicates SET told = true WHERE id = %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (duplicate.match.id,))

    def assessments_to_tell(self, other: str, limit: int) -> Sequence[Duplicate]:
        """What the coordinator found out and ``other`` has not been told."""
        condition = "d.other = %(other)s AND NOT d.assessment_told AND d.told"
        return self._select(condition, limit, other=other)

    def assessment_told(self, duplicate: Duplicate) -> None:
        """The other country is told of an assessment, unless there is another one by now."""
        update = self._sql(
            "UPDATE {}.duplicates SET assessment_told = true WHERE id = %s AND assessed_at = %s"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (duplicate.match.id, duplicate.assessed_at))

    def assess(self, duplicate: UUID, finding: Finding, by: str, at: datetime) -> Duplicate | None:
        """What this country's coordinator found out; ``None`` where there is no such duplicate."""
        update = self._sql(
            "UPDATE {}.duplicates SET finding = %(finding)s, assessed_at = %(at)s,"
            " assessed_by = %(by)s, assessment_told = false"
            " WHERE id = %(id)s AND finding IS DISTINCT FROM %(finding)s"
        )
        values = {"finding": finding, "at": at, "by": by, "id": duplicate}
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, values)
        return self.get(duplicate)

    def take_assessment(self, other: str, duplicate: UUID, finding: Finding, at: datetime) -> None:
        """What the other country's coordinator found out, unless a later word is here."""
        update = self._sql(
            "UPDATE {}.duplicates SET other_finding = %s, other_assessed_at = %s"
            " WHERE id = %s AND other = %s"
            " AND (other_assessed_at IS NULL OR other_assessed_at <= %s)"
        )
        with self._database.transaction(role=self._role) as connection:
            connection.execute(update, (finding, at, duplicate, other, at))

    def get(self, duplicate: UUID) -> Duplicate | None:
        """One duplicate."""
        return next(iter(self._select("d.id = %(id)s", 1, id=duplicate)), None)

    def all(self, limit: int) -> Sequence[Duplicate]:
        """The duplicates of the country, the last one found first."""
        return self._select("true", limit)

    def forget(self, connection: Connection[Any], case_id: UUID) -> None:
        """As part of an erasure: nothing of the case stays, and who was sent tokens is told."""
        own = (
            "DELETE FROM {0}.duplicates WHERE case_id = %(case)s",
            "DELETE FROM {0}.match_tokens t USING {0}.match_cases c WHERE c.case_id = %(case)s"
            " AND t.other = c.other AND t.reference = c.reference",
            "UPDATE {0}.match_cases SET case_id = NULL, withdrawn_at = now(), due = true"
            " WHERE case_id = %(case)s",
        )
        received = self._sql(
            "UPDATE {}.match_received SET withdrawn = true, case_id = NULL WHERE case_id = %s"
            " RETURNING other, reference"
        )
        lock = self._sql("SELECT FROM {}.match_cases WHERE case_id = %s FOR UPDATE")
        connection.execute(lock, (case_id,))
        for statement in own:
            connection.execute(self._sql(statement), {"case": case_id})
        for row in connection.execute(received, (case_id,)).fetchall():
            self._drop_received(connection, row["other"], row["reference"])

    def _check_room(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        """Raises ``TooManyReceivedError`` for a new reference beyond those that are kept."""
        known = self._sql("SELECT FROM {}.match_received WHERE other = %s AND reference = %s")
        if connection.execute(known, (other, reference)).fetchone() is not None:
            return
        full = self._sql("SELECT FROM {}.match_received WHERE other = %s OFFSET %s LIMIT 1")
        if connection.execute(full, (other, MAX_RECEIVED - 1)).fetchone() is not None:
            raise TooManyReceivedError

    def _drop_received(self, connection: Connection[Any], other: str, reference: UUID) -> None:
        for statement in (
            "DELETE FROM {}.match_received_tokens WHERE other = %s AND reference = %s",
            "DELETE FROM {}.duplicates WHERE other = %s AND other_reference = %s",
        ):
            connection.execute(self._sql(statement), (other, reference))

    def _select(self, condition: LiteralString, limit: int, **values: Any) -> Sequence[Duplicate]:
        select = SQL(
            "SELECT d.*, r.case_id AS other_case_id FROM {0}.duplicates d"
            " LEFT JOIN {0}.match_received r"
            " ON r.other = d.other AND r.reference = d.other_reference"
            " WHERE {1} ORDER BY d.found_at DESC, d.id LIMIT %(limit)s"
        ).format(Identifier(self._schema), SQL(condition))
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, {"limit": limit, **values}).fetchall()
        return [_duplicate(row) for row in rows]

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(Identifier(self._schema))


def _duplicate(row: Mapping[str, Any]) -> Duplicate:
    agrees = tuple(map(Agreement, row["agrees"]))
    return Duplicate(
        match=Match(row["other"], row["reference"], row["other_reference"], agrees),
        case_id=row["case_id"],
        other_case_id=row["other_case_id"],
        found_at=row["found_at"],
        finding=row["finding"] and Finding(row["finding"]),
        assessed_at=row["assessed_at"],
        other_finding=row["other_finding"] and Finding(row["other_finding"]),
        other_assessed_at=row["other_assessed_at"],
    )


def _wait_for_erasure(connection: Connection[Any], case_id: UUID) -> None:
    """Whoever erases waits until this is in, or this sees that it is over."""
    connection.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (str(case_id),)
    )
