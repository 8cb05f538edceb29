"""The parts that a vault lacks by the ledger, by the last comparison, and the countries asked."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.required_disclosures import FieldPart, Lack, MissingReason
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime

_ANY = "SELECT FROM {missing} LIMIT 1"
_OF_CASES = "SELECT * FROM {missing} WHERE case_id = ANY(%(cases)s)"
_OF_ACTIONS = "SELECT * FROM {missing} WHERE action_id = ANY(%(actions)s)"
_DROP = "DELETE FROM {missing} WHERE action_id = %(action)s AND part = %(part)s"
_FORGET = """
DELETE FROM {asked} WHERE action_id = ANY(%(actions)s)
AND NOT EXISTS (SELECT FROM {missing} m WHERE m.action_id = asked.action_id)
"""
_KEEP = """
INSERT INTO {missing} (action_id, part, case_id, kind, origin, digests, why, holders, position)
VALUES (%(action)s, %(part)s, %(case)s, %(kind)s, %(origin)s, %(digests)s, %(why)s, %(holders)s,
    %(position)s)
ON CONFLICT (action_id, part) DO UPDATE SET digests = EXCLUDED.digests, why = EXCLUDED.why,
    holders = EXCLUDED.holders,
    lost_at = CASE WHEN missing.holders = EXCLUDED.holders THEN missing.lost_at END
"""
_PAGE = """
SELECT m.*, coalesce((
    SELECT jsonb_agg(jsonb_build_object('country', a.country, 'asked_at', a.asked_at,
        'times', a.times, 'answered_at', a.answered_at) ORDER BY a.country)
    FROM {asked} a WHERE a.action_id = m.action_id), '[]') AS asked
FROM {missing} m
WHERE (m.position, m.action_id, m.part) > (%(position)s, %(action)s, %(part)s)
    AND m.since <= now() - %(patience)s::interval
ORDER BY m.position, m.action_id, m.part LIMIT %(limit)s
"""
_COUNTS = """
SELECT part, origin, lost_at IS NOT NULL AS is_lost, count(*) AS parts FROM {missing}
WHERE since <= now() - %(patience)s::interval GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

# Of another country's action, that country is asked first: the others once it had answered, or had
# ten times as long as anything may take.
_TO_ASK = """
SELECT m.action_id FROM {missing} m
LEFT JOIN {asked} a ON a.action_id = m.action_id AND a.country = %(country)s
LEFT JOIN {asked} o ON o.action_id = m.action_id AND o.country = m.origin
WHERE %(country)s = ANY (m.holders) AND m.lost_at IS NULL AND m.why <> 'key-missing'
    AND (m.part = 'own' OR m.since <= now() - %(patience)s::interval)
    AND a.answered_at IS NULL
    AND (a.asked_at IS NULL OR a.asked_at < now() - least(
        %(patience)s::interval * (2 ^ least(a.times - 1, 12)), interval '6 hours'))
    AND (m.part <> 'case' OR m.origin = %(country)s OR o.answered_at IS NOT NULL
        OR o.asked_at < now() - %(patience)s::interval * 10
        OR m.origin <> ALL (%(reachable)s))
GROUP BY m.action_id ORDER BY min(m.position) LIMIT %(limit)s
"""
_ASKED = """
INSERT INTO {asked} AS a (action_id, country, asks)
SELECT DISTINCT action_id, %(country)s, ARRAY[%(ask)s::uuid] FROM {missing}
WHERE action_id = ANY(%(actions)s)
ON CONFLICT (action_id, country) DO UPDATE SET asked_at = now(), times = a.times + 1,
    answered_at = NULL,
    asks = (a.asks || EXCLUDED.asks)[greatest(1, cardinality(a.asks) + 2 - %(known)s):]
"""
_ANSWERED = """
UPDATE {asked} a SET answered_at = now(), held = %(held)s, statement = %(statement)s
WHERE a.action_id = %(action)s AND a.country = %(country)s AND %(ask)s = ANY (a.asks)
"""
# What was said to be sent and did not come is asked for again.
_NOT_COME = """
UPDATE {asked} a SET answered_at = NULL
WHERE a.answered_at < now() - %(patience)s::interval * 3 AND EXISTS (
    SELECT FROM unnest(a.held) AS given (digest) WHERE NOT EXISTS (
        SELECT FROM {held} h WHERE h.action_id = a.action_id AND h.digest = given.digest))
"""
_LOST = """
UPDATE {missing} m SET lost_at = now()
WHERE m.lost_at IS NULL AND m.why <> 'key-missing' AND m.since <= now() - %(patience)s::interval
    AND NOT EXISTS (
        SELECT FROM unnest(m.holders) AS holder (country)
        WHERE (holder.country = ANY (%(reachable)s) OR holder.country = m.origin) AND NOT EXISTS (
            SELECT FROM {asked} a
            WHERE a.action_id = m.action_id AND a.country = holder.country
                AND a.answered_at <= now() - %(patience)s::interval
                AND NOT EXISTS (
                    SELECT FROM unnest(a.held) AS given (digest) WHERE NOT EXISTS (
                        SELECT FROM {held} h
                        WHERE h.action_id = a.action_id AND h.digest = given.digest))))
RETURNING m.action_id
"""
_QUESTIONS_KNOWN = 16
"""So many questions on one action to one country may still be answered."""
_ASK_AGAIN = "UPDATE {missing} SET lost_at = NULL"
_FORGET_ALL = "DELETE FROM {asked}"


class AskedCountry(LedgerModel):
    """The questions to another country's node for the fields of an action, and its answer."""

    country: str
    asked_at: UtcDatetime
    times: int
    answered_at: UtcDatetime | None = None


class MissingPart(LedgerModel):
    """A part of an action's fields that a vault must hold and does not."""

    case_id: UUID
    action: UUID
    kind: str
    part: FieldPart
    """The source of the fields: the country's own, another's ``case`` fields, or released ones."""
    origin: str
    """The country whose agency signed the action."""
    fields: int | None
    """How many are missing; ``None`` where that is not known."""
    why: MissingReason
    holders: tuple[str, ...]
    """The other countries that should have the part."""
    since: UtcDatetime
    """When a comparison first found it missing."""
    lost_at: UtcDatetime | None = None
    """When every one of ``holders`` had answered that it has no more of it."""
    position: int
    asked: tuple[AskedCountry, ...] = ()

    @classmethod
    def of(cls, lack: Lack) -> Self:
        """Return a missing part from a comparison, dated by the action's time of recording."""
        due = lack.due
        return cls(
            case_id=due.case_id,
            action=due.action,
            kind=due.kind,
            part=due.part,
            origin=due.origin,
            fields=len(lack.digests) if lack.digests is not None else None,
            why=lack.why,
            holders=due.holders,
            since=due.recorded_at,
            position=due.position,
        )


class MissingCount(LedgerModel):
    """The number of missing parts of one sort."""

    part: FieldPart
    origin: str
    is_lost: bool
    parts: int


class MissingParts:
    """One vault's table of what is missing."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        schema = Identifier(vault_schema(party))
        self._names = {
            "missing": SQL("{}.missing").format(schema),
            "asked": SQL("{}.asked").format(schema),
            "held": SQL("{}.held").format(schema),
        }

    def of_actions(self, action_ids: Collection[UUID]) -> Sequence[DictRow]:
        """Return the rows of actions."""
        return self._rows(_OF_ACTIONS, {"actions": list(action_ids)})

    def is_empty(self) -> bool:
        """Return whether nothing is missing."""
        return not self._rows(_ANY, {})

    def keep(self, case_ids: Collection[UUID], lacks: Iterable[Lack]) -> None:
        """Store all parts that are missing of some cases.

        A part that was missing before and is not missing now is removed.
        """
        found = {(lack.due.action, lack.due.part.value): _columns(lack) for lack in lacks}
        before = {
            (row["action_id"], row["part"]): row
            for row in self._rows(_OF_CASES, {"cases": list(case_ids)})
        }
        gone = before.keys() - found.keys()
        new = [
            row
            for key, row in found.items()
            if key not in before or any(before[key][n] != row[n] for n in _COMPARED)
        ]
        if not gone and not new:
            return
        with self._database.transaction(role=self._role) as connection:
            for action, part in gone:
                connection.execute(self._named(_DROP), {"action": action, "part": part})
            for row in new:
                connection.execute(self._named(_KEEP), row)
            if gone:
                actions = [action for action, _ in gone]
                connection.execute(self._named(_FORGET), {"actions": actions})

    def page(
        self,
        limit: int,
        *,
        after: MissingPart | None = None,
        patience: timedelta = timedelta(),
    ) -> Sequence[MissingPart]:
        """Return the parts that are missing for longer than ``patience``, by ledger position."""
        place: dict[str, Any] = {"position": 0, "action": UUID(int=0), "part": ""}
        if after is not None:
            place = {"position": after.position, "action": after.action, "part": after.part.value}
        rows = self._rows(_PAGE, {**place, "limit": limit, "patience": patience})
        return [_part(row) for row in rows]

    def counts(self, *, patience: timedelta = timedelta()) -> Sequence[MissingCount]:
        """Count the parts that are missing for longer than ``patience``."""
        rows = self._rows(_COUNTS, {"patience": patience})
        return [MissingCount.model_validate(row) for row in rows]

    def to_ask(
        self, country: str, limit: int, *, patience: timedelta, reachable: Collection[str]
    ) -> Sequence[UUID]:
        """Return the actions for which to ask another country now.

        A question without an answer is repeated after ``patience``, then after twice as long each
        time, six hours at most. ``reachable`` are the countries that can be asked at all.
        """
        named = {"country": country, "limit": limit, "patience": patience}
        rows = self._rows(_TO_ASK, {**named, "reachable": list(reachable)})
        return [row["action_id"] for row in rows]

    def asked(self, country: str, action_ids: Collection[UUID], ask: UUID) -> None:
        """Note that a country is asked for actions. The answer repeats the random id ``ask``."""
        named = {"country": country, "actions": list(action_ids), "ask": ask}
        self._change(_ASKED, {**named, "known": _QUESTIONS_KNOWN})

    def answered(
        self, country: str, ask: UUID, held: Mapping[UUID, Collection[str]], statement: str
    ) -> int:
        """Store a country's answer, and return for how many actions the answer was stored.

        ``held`` has the digests that the country sends of each action; no digest means no field. An
        answer that belongs to none of the last questions changes nothing.
        """
        kept = 0
        with self._database.transaction(role=self._role) as connection:
            for action, digests in held.items():
                named = {"action": action, "country": country, "ask": ask, "held": sorted(digests)}
                kept += connection.execute(
                    self._named(_ANSWERED), {**named, "statement": statement}
                ).rowcount
        return kept

    def settle(self, *, patience: timedelta, reachable: Collection[str]) -> int:
        """Note as lost the actions for which every holder's answer did not help.

        An answer counts once all that it announced has arrived and ``patience`` has passed. A
        country outside ``reachable`` cannot have received anything, so it holds no fields of
        others. Returns how many actions are lost.
        """
        named = {"patience": patience, "reachable": list(reachable)}
        self._change(_NOT_COME, named)
        return self._change(_LOST, named)

    def ask_again(self) -> int:
        """Remove all answers, so that lost parts are asked for again, and return their number."""
        self._change(_FORGET_ALL, {})
        return self._change(_ASK_AGAIN, {})

    def _change(self, statement: str, parameters: Mapping[str, Any]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._named(statement), parameters).rowcount

    def _rows(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[DictRow]:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._named(statement), parameters).fetchall()

    def _named(self, statement: str) -> Composed:
        return SQL(statement).format(**self._names)


_COMPARED = ("digests", "why", "holders")


def _columns(lack: Lack) -> dict[str, Any]:
    due = lack.due
    return {
        "action": due.action,
        "part": due.part.value,
        "case": due.case_id,
        "kind": due.kind,
        "origin": due.origin,
        "digests": sorted(lack.digests) if lack.digests is not None else None,
        "why": lack.why.value,
        "holders": list(due.holders),
        "position": due.position,
    }


def _part(row: DictRow) -> MissingPart:
    return MissingPart(
        case_id=row["case_id"],
        action=row["action_id"],
        kind=row["kind"],
        part=FieldPart(row["part"]),
        origin=row["origin"],
        fields=len(row["digests"]) if row["digests"] is not None else None,
        why=MissingReason(row["why"]),
        holders=tuple(row["holders"]),
        since=row["since"],
        lost_at=row["lost_at"],
        position=row["position"],
        asked=tuple(AskedCountry.model_validate(one) for one in row["asked"]),
    )
