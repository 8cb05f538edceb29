"""A country node's outbox: its agencies' actions until the ledger's decision is known here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from ledger.log.signed_decision import Recorded, SignedDecision
from ledger.procedure.protocol import Agency
from ledger.refusals import Ground, Refusal
from ledger.replication.outcomes import OutboxState
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database

CHANNEL = "outbox_actions"
"""Notified of each action that is put in."""

_PUT = """
INSERT INTO outbox.actions (
    action_id, agency, party, case_id, case_version, sd_jwt, deposit_id, state)
VALUES (
    %(action_id)s, %(agency)s, %(party)s, %(case_id)s, %(case_version)s, %(sd_jwt)s,
    %(deposit_id)s, 'waiting')
ON CONFLICT (action_id) DO UPDATE
SET case_version = EXCLUDED.case_version, deposit_id = EXCLUDED.deposit_id, state = 'waiting',
    answer = NULL, received_at = now(), sent_at = NULL, decided_at = NULL,
    decision = NULL, decision_size = NULL, is_receipt = false, is_checked = false
WHERE actions.state = 'refused' AND actions.sd_jwt = EXCLUDED.sd_jwt
RETURNING action_id, pg_notify(%(channel)s, '')
"""

# What a case's agencies did goes in the order in which it came. What was sent, but is not to
# be seen in the copy of the ledger, goes again: the ledger node records an action once. It goes
# again at once where it was sent after now, by a clock that was ahead.
_DUE = """
SELECT * FROM (
    SELECT DISTINCT ON (case_id) * FROM outbox.actions
    WHERE state = 'waiting'
        OR (state = 'sent' AND sent_at NOT BETWEEN now() - %(again)s::interval AND now())
    ORDER BY case_id, seq
) AS first_of_case WHERE action_id <> ALL(%(later)s::uuid[]) ORDER BY seq LIMIT %(limit)s
"""

# Another content may be recorded under the same id: that is not this action.
_CONFIRM = """
UPDATE outbox.actions AS a SET state = 'recorded', decided_at = now()
FROM ledger.events AS e
WHERE a.state IN ('waiting', 'sent') AND e.action_id = a.action_id
  AND position(convert_to(a.sd_jwt, 'UTF8') IN e.state) > 0
RETURNING a.action_id
"""

# A decision may come after the event: then the state stays, and the decision is checked. A refusal
# that waits to be checked stays until then, whatever later ones say of larger sizes: else a copy
# that lags would never confirm one.
_ANSWERED = """
UPDATE outbox.actions
SET state = CASE state WHEN 'waiting' THEN 'sent' ELSE state END, sent_at = now(),
    decision = CASE WHEN replaces THEN %(decision)s::text ELSE decision END,
    decision_size = CASE WHEN replaces THEN %(size)s::bigint ELSE decision_size END,
    is_receipt = CASE WHEN replaces THEN %(is_receipt)s::boolean ELSE is_receipt END,
    is_checked = is_checked AND NOT replaces
FROM (
    SELECT seq AS replaced, decision IS NULL OR is_checked OR %(is_receipt)s::boolean
        OR (NOT is_receipt AND %(size)s::bigint < decision_size) AS replaces
    FROM outbox.actions WHERE action_id = %(action_id)s
) AS before
WHERE seq = replaced AND state <> 'refused'
  AND (%(is_receipt)s::boolean OR case_version = %(acted_on)s::bigint)
"""

_KEPT = """
SELECT action_id FROM outbox.actions WHERE action_id = ANY(%(ids)s) AND state <> 'refused'
UNION
SELECT action_id FROM log.false_decisions WHERE action_id = ANY(%(ids)s) AND settled_at IS NULL
"""

_MEDIAN = """
SELECT percentile_cont(0.5) WITHIN GROUP (
    ORDER BY EXTRACT(epoch FROM decided_at - received_at)) AS seconds
FROM outbox.actions WHERE state = 'recorded' AND decided_at > now() - interval '1 day'
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One action in the outbox."""

    seq: int
    action_id: UUID
    agency: str
    party: str
    case_id: UUID | None
    """``None`` for an act on the protocol itself."""
    case_version: int
    sd_jwt: str
    deposit_id: UUID | None
    state: OutboxState
    answer: Mapping[str, Any] | None
    """The problem details of a refusal."""
    decision: str | None
    """The last decision of the ledger node, signed (:mod:`ledger.log.signed_decision`)."""
    received_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, row: DictRow) -> Self:
        names = cls.__dataclass_fields__
        return cls(**{name: row[name] for name in names} | {"state": OutboxState(row["state"])})


class Outbox:
    """The durable outbox: an action stays until the ledger's decision is known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, action: SignedAction) -> Outgoing | None:
        """Return the action as it was put in before, if it was.

        Raises ``Refusal`` (``action-id-reused``) if another content was handed in under its id.
        """
        found = self.get(action.id)
        if found is not None and found.sd_jwt != action.sd_jwt:
            raise Refusal(
                Ground.CONFLICT,
                "action-id-reused",
                "Another content was handed in under this action id; use a new id.",
                "jti",
            )
        return found

    def get(self, action_id: UUID) -> Outgoing | None:
        """Return an action by its id, if the outbox has it."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT * FROM outbox.actions WHERE action_id = %s", (action_id,), prepare=True
            ).fetchone()
        return None if row is None else Outgoing.of(row)

    def put(
        self,
        action: SignedAction,
        agency: Agency,
        case_id: UUID | None,
        case_version: int,
        deposit_id: UUID | None,
    ) -> bool:
        """Put an action in, durably, and return whether it was put in.

        An action that is in already is not put in. An action that was refused before goes again.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                _PUT,
                {
                    "action_id": action.id,
                    "agency": agency.id,
                    "party": agency.party,
                    "case_id": case_id,
                    "case_version": case_version,
                    "sd_jwt": action.sd_jwt,
                    "deposit_id": deposit_id,
                    "channel": CHANNEL,
                },
                prepare=True,
            ).fetchone()
        return row is not None

    def due(
        self, limit: int, again_after: timedelta, later: Collection[UUID] = ()
    ) -> list[Outgoing]:
        """Return the actions to send now, at most one of each case, and none of ``later``.

        An action waits behind an earlier one of its case, even if the earlier one is sent later.
        """
        wanted = {"limit": limit, "again": again_after, "later": list(later)}
        with self._database.connection() as connection:
            rows = connection.execute(_DUE, wanted, prepare=True).fetchall()
        return [Outgoing.of(row) for row in rows]

    def last_seq(self) -> int:
        """Return the number of the action that was put in last; 0 if there is none."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT max(seq) AS last FROM outbox.actions").fetchone()
        return (row["last"] or 0) if row is not None else 0

    def mark_answered(self, action_id: UUID, decision: SignedDecision) -> None:
        """Keep the decision that the ledger node signed, until this node's copy confirms it."""
        statement = decision.statement
        wanted = {
            "action_id": action_id,
            "decision": decision.jws,
            "size": statement.size,
            "is_receipt": isinstance(statement, Recorded),
            "acted_on": None if isinstance(statement, Recorded) else statement.acted_on,
        }
        with self._database.connection() as connection:
            connection.execute(_ANSWERED, wanted, prepare=True)

    def unchecked(self, size: int) -> list[Outgoing]:
        """Return the actions whose decision can be held against a copy of ``size`` events now."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM outbox.actions WHERE decision IS NOT NULL AND NOT is_checked"
                " AND decision_size <= %s ORDER BY seq",
                (size,),
                prepare=True,
            ).fetchall()
        return [Outgoing.of(row) for row in rows]

    def mark_checked(self, action_id: UUID, decision: str) -> None:
        """Note that a decision was held against this node's own copy of the ledger."""
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE outbox.actions SET is_checked = true"
                " WHERE action_id = %s AND decision = %s",
                (action_id, decision),
                prepare=True,
            )

    def kept(self, action_ids: Collection[UUID]) -> set[UUID]:
        """Return the actions among these whose disclosures must stay, recorded or not.

        An action in the outbox is kept unless it was refused. A refused action is kept while a
        false decision on it is not settled.
        """
        with self._database.connection() as connection:
            rows = connection.execute(_KEPT, {"ids": list(action_ids)}).fetchall()
        return {row["action_id"] for row in rows}

    def mark_refused(self, action_id: UUID, problem: Mapping[str, Any]) -> None:
        """Mark an action as refused by the ledger node.

        This node's own copy of the ledger must not have the action.
        """
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE outbox.actions SET state = 'refused', answer = %s, decided_at = now(),"
                " is_checked = true WHERE action_id = %s AND state IN ('waiting', 'sent')",
                (Jsonb(dict(problem)), action_id),
                prepare=True,
            )

    def confirm(self) -> int:
        """Mark the actions that this node's own copy of the ledger has, and return how many."""
        with self._database.connection() as connection:
            return len(connection.execute(_CONFIRM, prepare=True).fetchall())

    def of_agency(self, agency: str, *, limit: int) -> list[Outgoing]:
        """Return an agency's actions, the last put in first."""
        return self._list("agency", agency, limit)

    def of_party(self, party: str, *, limit: int) -> list[Outgoing]:
        """Return a country's actions, the last put in first."""
        return self._list("party", party, limit)

    def waiting_of(self, agency: str, case_id: UUID) -> list[Outgoing]:
        """Return an agency's actions on a case whose outcome is not known yet."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM outbox.actions WHERE agency = %s AND case_id = %s"
                " AND state IN ('waiting', 'sent') ORDER BY seq",
                (agency, case_id),
            ).fetchall()
        return [Outgoing.of(row) for row in rows]

    def undecided(self, action_ids: Collection[UUID] | None = None) -> set[UUID]:
        """Return the actions, of these or of all, whose outcome is not known yet."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT action_id FROM outbox.actions WHERE state IN ('waiting', 'sent')"
                " AND (%(ids)s::uuid[] IS NULL OR action_id = ANY(%(ids)s))",
                {"ids": None if action_ids is None else list(action_ids)},
            ).fetchall()
        return {row["action_id"] for row in rows}

    def standing(self) -> tuple[int, datetime | None]:
        """Return how many actions have no outcome, and when the first of them was put in."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT count(*) AS actions, min(received_at) AS oldest_at FROM outbox.actions"
                " WHERE state IN ('waiting', 'sent')",
                prepare=True,
            ).fetchone()
        return (row["actions"], row["oldest_at"]) if row is not None else (0, None)

    def median_seconds(self) -> float | None:
        """Return how long actions of the last day took until this node's copy had them."""
        with self._database.connection() as connection:
            row = connection.execute(_MEDIAN).fetchone()
        return row["seconds"] if row is not None else None

    def waiting_since(self, moment: datetime, limit: int) -> list[Outgoing]:
        """Return actions without an outcome that were put in before ``moment``, oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM outbox.actions WHERE state IN ('waiting', 'sent')"
                " AND received_at < %s ORDER BY received_at LIMIT %s",
                (moment, limit),
            ).fetchall()
        return [Outgoing.of(row) for row in rows]

    def forget(self, age: timedelta) -> int:
        """Remove the actions that were decided longer ago than ``age``, and return how many."""
        with self._database.connection() as connection:
            return connection.execute(
                "DELETE FROM outbox.actions WHERE decided_at < now() - %s::interval", (age,)
            ).rowcount

    def _list(self, column: str, value: str, limit: int) -> list[Outgoing]:
        statements = {
            "agency": "SELECT * FROM outbox.actions WHERE agency = %s ORDER BY seq DESC LIMIT %s",
            "party": "SELECT * FROM outbox.actions WHERE party = %s ORDER BY seq DESC LIMIT %s",
        }
        with self._database.connection() as connection:
            rows: Sequence[DictRow] = connection.execute(
                statements[column], (value, limit)
            ).fetchall()
        return [Outgoing.of(row) for row in rows]
