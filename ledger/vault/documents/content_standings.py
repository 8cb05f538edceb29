"""The standing of contents that other countries give: expected, coming, refused, or held.

Nothing of a content is opened for it.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime

LONG_TIMES = 10
"""So many times as long as anything from another country may take, a content may take to come."""
_STANDING = """
SELECT d.case_id, d.action_id, d.field, d.received_from, d.size, d.received,
    e.since, e.held_at, e.refused, e.asked, e.asked_at, e.tries, {state} AS state, (
        SELECT p.reason FROM {sent} p WHERE p.about = d.document_id
            AND p.kind = 'content_asked' AND p.reason IS NOT NULL LIMIT 1) AS trouble
FROM {expected} e JOIN {documents} d USING (document_id)
WHERE {condition} ORDER BY e.since, d.document_id LIMIT %(limit)s
"""
_STATE = SQL(
    "CASE WHEN e.held_at IS NOT NULL THEN 'held' WHEN e.refused IS NOT NULL THEN 'refused'"
    " WHEN e.came_at > now() - %(patience)s::interval THEN 'fetching'"
    " WHEN e.since > now() - %(long)s::interval THEN 'expected' ELSE 'missing' END"
)


class ContentState(StrEnum):
    """The state of a content that another country gives."""

    EXPECTED = "expected"
    """The document was named here a short time ago. No chunk has come lately."""
    FETCHING = "fetching"
    """Chunks are coming."""
    MISSING = "missing"
    """It has not come for a long time. The node goes on asking."""
    REFUSED = "refused"
    """It is not given, or was not taken in. The rule is named. The node asks again later."""
    HELD = "held"
    """The whole content is here. Its SHA-256 is the signed one."""


class ContentStanding(LedgerModel):
    """One content that another country gives, or gives back."""

    case_id: UUID
    action: UUID
    """The action that has the document; it is the document's id for readers."""
    field: str
    origin: str | None
    """The country whose agency added the document; ``None`` for this country."""
    size: int
    received: int
    """The bytes that are durable here."""
    state: ContentState
    since: UtcDatetime
    """The time at which the content was expected first; of one that is held, of its arrival."""
    refused: str | None
    asked: str | None
    """The country that was asked last."""
    asked_at: UtcDatetime | None
    tries: int
    """The number of questions since a chunk came."""
    trouble: str | None
    """The reason for which the other country's node did not take in the question."""


class ContentCount(NamedTuple):
    """The number of contents of one country in one state."""

    origin: str | None
    state: ContentState
    refused: str | None
    contents: int


class ContentStandings:
    """The contents of one country's vault that other countries give."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._party = party
        self._role = vault_role(party)
        schema = Identifier(vault_schema(party))
        self._names = {
            "documents": SQL("{}.documents").format(schema),
            "expected": SQL("{}.contents_expected").format(schema),
            "sent": SQL("{}.parcels_sent").format(schema),
        }

    def of_case(self, case_id: UUID, *, patience: timedelta) -> Sequence[ContentStanding]:
        """Return the standing of each content of a case, in the order in which they were named."""
        rows = self._standing_rows(SQL("d.case_id = %(case)s"), {"case": case_id}, patience)
        return [_standing(row) for row in rows]

    def not_held(self, limit: int, *, patience: timedelta) -> Sequence[ContentStanding]:
        """Return contents of all cases that are not held, the one that waits longest first."""
        rows = self._standing_rows(SQL("e.held_at IS NULL"), {"limit": limit}, patience)
        return [_standing(row) for row in rows]

    def counts(self, *, patience: timedelta) -> Sequence[ContentCount]:
        """Count the contents by country of origin, state and rule of refusal."""
        select = self._sql(
            "SELECT origin, state, refused, count(*) AS contents FROM (SELECT"
            " d.received_from AS origin, e.refused, {state} AS state"
            " FROM {expected} e JOIN {documents} d USING (document_id)) AS standing"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            state=_STATE,
        )
        return [
            ContentCount(row["origin"], ContentState(row["state"]), row["refused"], row["contents"])
            for row in self._rows(select, _times(patience))
        ]

    def _standing_rows(
        self, condition: SQL, values: dict[str, Any], patience: timedelta
    ) -> Sequence[DictRow]:
        select = self._sql(_STANDING, state=_STATE, condition=condition)
        return self._rows(select, {"limit": None, **values, **_times(patience)})

    def _rows(self, statement: Composed, values: dict[str, Any]) -> Sequence[DictRow]:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(statement, values).fetchall()

    def _sql(self, statement: LiteralString, **more: SQL) -> Composed:
        return SQL(statement).format(**self._names, **more)


def _times(patience: timedelta) -> dict[str, timedelta]:
    return {"patience": patience, "long": patience * LONG_TIMES}


def _standing(row: DictRow) -> ContentStanding:
    return ContentStanding(
        case_id=row["case_id"],
        action=row["action_id"],
        field=row["field"],
        origin=row["received_from"],
        size=row["size"],
        received=row["received"],
        state=ContentState(row["state"]),
        since=row["held_at"] or row["since"],
        refused=row["refused"],
        asked=row["asked"],
        asked_at=row["asked_at"],
        tries=row["tries"],
        trouble=row["trouble"],
    )
