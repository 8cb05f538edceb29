"""Holds the ledger node's signed decisions against the events, and keeps those that are false.

A receipt is false where the event at its position is another one. A refusal is false where the
action is among the events that the ledger had by then, or where the rules accept the action on
these events. Anybody who has the events can repeat this, so that a false decision is evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self
from uuid import UUID

from psycopg.rows import DictRow

from ledger.application import Ledger
from ledger.events.event import ActionRecorded
from ledger.log.merkle import Frontier
from ledger.log.signed_decision import (
    DecisionError,
    DecisionFile,
    Recorded,
    Refused,
    SignedDecision,
)
from ledger.procedure.deciding import refusal_by
from ledger.procedure.merged_cases import reads_others
from ledger.procedure.named_checkpoint import among_first
from ledger.procedure.registry import registry_of
from ledger.procedure.subject_ids import ACTION_ID_OF_CASE, CASE_ID_TAKEN, check_ids_apart
from ledger.procedure.text_parts import names_nothing_new
from ledger.refusals import Refusal
from ledger.signing.signed_action import Mark, SignedAction, read_recorded
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from ledger.system import clock

_ID_REUSED = "action-id-reused"


class NotCoveredError(ValueError):
    """There are fewer events than the decision is of: it can be held against them later."""


class EventLookup(Protocol):
    """The events that a decision is held against."""

    @property
    def size(self) -> int:
        """Return the number of events."""

    def at(self, position: int) -> RecordedRow:
        """Return the event at a position that there is."""

    def with_action_id(self, action_id: UUID) -> RecordedRow | None:
        """Return the event with an action's id; it may have another content than the action."""

    def of(self, case_id: UUID | None, size: int, action: SignedAction) -> Iterable[ActionRecorded]:
        """Return the events of the protocol, and of a case, among the first ``size``, in order.

        Those of the other cases that the rules read for ``action`` are among them.
        """

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` if there are fewer."""


class LedgerEvents:
    """The events of a node's own ledger, or of its copy."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.size = ledger.head()

    def at(self, position: int) -> RecordedRow:
        (row,) = self._ledger.rows_at([position])
        return row

    def with_action_id(self, action_id: UUID) -> RecordedRow | None:
        return self._ledger.row_of_action(action_id)

    def of(self, case_id: UUID | None, size: int, action: SignedAction) -> Iterable[ActionRecorded]:
        return self._ledger.events_upto(size, case_id, action)

    def root_at(self, size: int) -> bytes | None:
        return self._ledger.root_at(size)


class RowsOfExport:
    """The events of an export, all in memory."""

    def __init__(self, rows: Iterable[RecordedRow]) -> None:
        self._rows = list(rows)
        self._by_action = {row.action_id: row for row in self._rows}

    @property
    def size(self) -> int:
        return len(self._rows)

    def at(self, position: int) -> RecordedRow:
        return self._rows[position - 1]

    def with_action_id(self, action_id: UUID) -> RecordedRow | None:
        return self._by_action.get(action_id)

    def of(self, case_id: UUID | None, size: int, action: SignedAction) -> Iterable[ActionRecorded]:
        ledger_id = self._rows[0].originator_id
        wanted = {ledger_id, case_id}
        every = reads_others(action.kind)
        return [row.event() for row in self._rows[:size] if every or row.originator_id in wanted]

    def root_at(self, size: int) -> bytes | None:
        if size > len(self._rows):
            return None
        frontier, _ = Frontier().extend(row.leaf_hash for row in self._rows[:size])
        return frontier.root()


@dataclass(frozen=True, slots=True)
class DecisionCheck:
    """The result of holding a decision against the events."""

    untrue: str | None
    """The reason for which the decision is false; ``None`` if the events confirm it."""
    refusal: Refusal | None = None
    """By the same events, why the rules refuse the action."""
    position: int | None = None
    """Where the action is recorded."""
    is_outdated: bool = False
    """Whether the ledger node refused a text of the protocol that needs a later program than its
    own. The refusal is not false, and this node's rules accept the action."""


def held_against(decision: SignedDecision, signed: str, events: EventLookup) -> DecisionCheck:
    """Hold a decision on a signed action, given without disclosures, against the events.

    Raises ``NotCoveredError`` if there are too few events, and ``DecisionError`` if the decision is
    on another action. The signature of the decision is not looked at.
    """
    statement = decision.statement
    if not statement.is_of(signed):
        raise DecisionError("the decision is on another action than the one given")
    if events.size < statement.size:
        raise NotCoveredError(
            f"the decision is of {statement.size} events, and there are {events.size}"
        )
    row = events.with_action_id(statement.action)
    position = row.position if row is not None and _is_of(row, signed) else None
    if isinstance(statement, Recorded):
        return DecisionCheck(_untrue_receipt(statement, signed, events), position=position)
    return _held_refusal(statement, signed, events, row, position)


def _untrue_receipt(statement: Recorded, signed: str, events: EventLookup) -> str | None:
    row = events.at(statement.position)
    if not _is_of(row, signed):
        return f"the event at position {statement.position} is another one than the receipt says"
    if row.recorded_at != statement.recorded_at or not statement.is_consistent(signed):
        return f"the event at position {statement.position} has other bytes than the receipt says"
    return None


def _held_refusal(
    statement: Refused,
    signed: str,
    events: EventLookup,
    row: RecordedRow | None,
    position: int | None,
) -> DecisionCheck:
    size = statement.size
    if position is not None and position <= size:
        what = f"the action is recorded at position {position}, among the first {size} events"
        return DecisionCheck(what, position=position)
    if statement.rule == _ID_REUSED:
        is_reused = row is not None and position is None and row.position <= size
        what = f"no event among the first {size} has this action's id"
        return DecisionCheck(None if is_reused else what, position=position)
    if statement.rule in (CASE_ID_TAKEN, ACTION_ID_OF_CASE):
        refusal = _ids_refusal(statement, read_recorded(signed), events)
        what = f"no case and no action among the first {size} events has the other's id"
        return DecisionCheck(what if refusal is None else None, refusal, position)
    refusal = refusal_by(
        events.of(statement.case, size, read_recorded(signed)),
        signed,
        statement.case,
        statement.acted_on,
        statement.decided_at,
        among_first(size, events.root_at),
    )
    if refusal is None and _may_be_of_older_program(statement, signed, events):
        return DecisionCheck(None, position=position, is_outdated=True)
    what = f"the rules accept the action on the first {size} events"
    return DecisionCheck(what if refusal is None else None, refusal, position)


def _ids_refusal(statement: Refused, action: SignedAction, events: EventLookup) -> Refusal | None:
    """Return the refusal of an action that takes the id of a case, or of another action."""
    size = statement.size

    def is_case(one: UUID) -> bool:
        return any(event.originator_id == one for event in events.of(one, size, action))

    def is_action(one: UUID) -> bool:
        row = events.with_action_id(one)
        return row is not None and row.position <= size

    registry = registry_of(events.of(None, size, action))
    edition = registry.next_protocol(statement.decided_at).edition
    try:
        check_ids_apart(action, edition, registry.ledger_id, is_case, is_action)
    except Refusal as refusal:
        return refusal
    return None


def _may_be_of_older_program(statement: Refused, signed: str, events: EventLookup) -> bool:
    """Return whether an honest node of an older program may have refused the action so.

    Such a node reads every other action that it signs a decision on. It also reads a text that
    names nothing new: its program reads every text that the parties adopted.
    """
    action = read_recorded(signed)
    if statement.rule != Mark.UNKNOWN_VERSION.value or action.kind != "amendment_proposed":
        return False
    agreement = registry_of(events.of(None, statement.size, action)).agreement
    adopted = [version.recorded for version in agreement.versions]
    return not names_nothing_new(action.fields["protocol"], adopted)


def _is_of(row: RecordedRow, signed: str) -> bool:
    return row.event().action.sd_jwt == signed


@dataclass(frozen=True, slots=True)
class FalseDecision:
    """A decision that the log's key signed and that the events contradict."""

    id: int
    found_at: datetime
    action_id: UUID
    sd_jwt: str
    decision: str
    what: str
    settled_at: datetime | None
    settled_why: str | None

    @classmethod
    def of(cls, row: DictRow) -> Self:
        return cls(**row)

    def file(self) -> DecisionFile:
        """Return the file to hand to a third party."""
        return DecisionFile(action=self.sd_jwt, decision=self.decision)


class FalseDecisions:
    """The false decisions that this node found, which it keeps for ever."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, decision: SignedDecision, signed: str, what: str) -> None:
        """Keep a false decision, once."""
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO log.false_decisions (found_at, action_id, sd_jwt, decision, what)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (clock.now(), decision.statement.action, signed, decision.jws, what),
            )

    def all(self) -> list[FalseDecision]:
        """Return every false decision, the first found first."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM log.false_decisions ORDER BY id").fetchall()
        return [FalseDecision.of(row) for row in rows]

    def unsettled(self) -> int:
        """Return how many false decisions no person has settled."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT count(*) AS unsettled FROM log.false_decisions WHERE settled_at IS NULL",
                prepare=True,
            ).fetchone()
        return int(row["unsettled"]) if row is not None else 0

    def settle(self, why: str) -> int:
        """Note that a person looked at them, and the parties' finding; return their number."""
        with self._database.connection() as connection:
            return connection.execute(
                "UPDATE log.false_decisions SET settled_at = now(), settled_why = %s"
                " WHERE settled_at IS NULL",
                (why,),
            ).rowcount
