"""Brings a node whose copy has a tail back to the ledger that the parties decided on.

The tail goes in one transaction (:mod:`ledger.replication.rejoining`), with the views. The
operator's decision is recorded in the database first and in the mark next, as every decision about
the history is (:mod:`api.continuity.history_guard`). If the command ends between the two, it is run
again, and writes the mark.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from api.continuity.history_guard import mark_file
from api.keys.log_keys import own_parties, trusted_policy, witness_keys
from api.runtime.node_database import NodeDatabase
from api.runtime.settings import Settings
from api.runtime.status import WORK_LOCK
from ledger.application import Ledger
from ledger.events.event import readable
from ledger.publication.witness import Witness
from ledger.replication.divergence import Divergence, find_divergence
from ledger.replication.event_source import MirrorSource
from ledger.replication.history_mark import HistoryMark, OperatorDecision, Reached, with_decision
from ledger.replication.rejoining import MovedError, RolledBack, last_rolled_back, roll_back
from ledger.store.database import Database
from projections.upkeep.emptying import empty_views

_WEBHOOKS_GO_BACK = """
UPDATE notifications.case_hooks SET position = %(size)s WHERE position > %(size)s
"""


class NothingToRejoinError(ValueError):
    """This copy has no events that the ledger does not have."""


@dataclass(frozen=True, slots=True)
class Rejoining:
    """One node's copy, and the ledger that it goes back to."""

    settings: Settings
    store: NodeDatabase
    ledger: Ledger
    database: Database
    source: MirrorSource

    def find(self) -> Divergence:
        """Compare, verify and change nothing.

        Raises ``NothingToRejoinError`` where the copy has no tail, and as
        :func:`ledger.replication.divergence.find_divergence` does.
        """
        trusted = trusted_policy(self.settings)
        found = find_divergence(self.ledger, self.database, self.source, trusted)
        if found is None:
            raise NothingToRejoinError(
                f"nothing has diverged: {self.source.name} has all events of this copy, or is "
                "behind it; start `case-ledger serve`"
            )
        return found

    def finish(self) -> OperatorDecision | None:
        """Write the last decision into the mark, where an earlier run ended before it did."""
        made: list[OperatorDecision] = []

        def change(mark: HistoryMark | None) -> HistoryMark | None:
            with self.database.connection() as connection:
                decision = last_rolled_back(connection)
            if mark is None or decision is None or decision in mark.decisions:
                return None
            made.append(decision)
            return with_decision(mark, decision, Reached.of(self.ledger.tree()))

        mark_file(self.settings).change(change)
        return made[0] if made else None

    def go_back(self, found: Divergence, by: str, why: str) -> RolledBack:
        """Go back to the last common checkpoint. Raises ``MovedError``, and ``psycopg.Error``."""
        done: list[RolledBack] = []

        def change(mark: HistoryMark | None) -> HistoryMark:
            before = mark or HistoryMark(reached=Reached.of(self.ledger.tree()))
            with (
                psycopg.connect(self.store.owner_conninfo, row_factory=dict_row) as connection,
                connection.transaction(),
            ):
                _check_stopped(connection)
                rolled_back = roll_back(
                    connection,
                    self.ledger,
                    found,
                    parties=own_parties(self.settings),
                    witnesses=self._witnesses(),
                    source=self.source.name,
                    by=by,
                    why=why,
                )
                empty_views(connection)
                webhooks_go_back(connection, found.checkpoint)
            done.append(rolled_back)
            decision = rolled_back.decision
            return with_decision(before, decision, decision.goes_on_from)

        mark_file(self.settings).change(change)
        self.ledger.forget()
        return done[0]

    def _witnesses(self) -> list[Witness]:
        """Return the own parties' witnesses, with all keys that they have."""
        made = []
        for party in own_parties(self.settings):
            first, *also = witness_keys(self.settings, party)
            made.append(Witness(self.database, party, first, lambda _: (), also=also))
        return made


def _check_stopped(connection: Connection[DictRow]) -> None:
    """Keep the node's work from running. Raises ``MovedError`` where it runs."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(%s) AS stopped", (WORK_LOCK,)
    ).fetchone()
    if row is None or not row["stopped"]:
        raise MovedError("the node runs; stop `case-ledger serve` first")


@dataclass(frozen=True, slots=True)
class TailEvent:
    """An event that is no longer in this copy."""

    position: int
    kind: str
    agency: str
    action: str
    case: str | None
    recorded_at: datetime
    recorded_again: int | None
    """The position of the same action in the ledger, where it has it."""
    event: str
    """The exact bytes."""


@dataclass(frozen=True, slots=True)
class DiscardedTail:
    """The events of a copy beyond the parties' decision, kept as evidence."""

    decided_at: datetime
    decided_by: str
    why: str
    source: str
    common: int
    goes_on_from: int
    ledger_note: str
    events: tuple[TailEvent, ...]
    records: tuple[dict[str, object], ...]
    """Rows of other tables: what the old log signed, cosignatures, receipts."""


def tails(database: Database) -> list[DiscardedTail]:
    """Return every tail that was moved out of this copy, the oldest first."""
    with database.connection() as connection:
        found = connection.execute(
            "SELECT * FROM log.tails t JOIN log.history_decisions d ON d.id = t.decision"
            " ORDER BY d.id"
        ).fetchall()
        return [_tail(connection, row) for row in found]


def _tail(connection: Connection[DictRow], row: DictRow) -> DiscardedTail:
    events = connection.execute(
        "SELECT t.*, e.notification_id AS again FROM log.tail_events t"
        " LEFT JOIN ledger.events e ON e.action_id = t.action_id"
        " WHERE t.decision = %s ORDER BY t.notification_id",
        (row["decision"],),
    ).fetchall()
    records = connection.execute(
        "SELECT place, content FROM log.tail_records WHERE decision = %s ORDER BY id",
        (row["decision"],),
    ).fetchall()
    return DiscardedTail(
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        why=row["why"],
        source=row["source"],
        common=row["common_size"],
        goes_on_from=row["from_size"],
        ledger_note=row["ledger_note"],
        events=tuple(map(_tail_event, events)),
        records=tuple(dict(record) for record in records),
    )


def _tail_event(row: DictRow) -> TailEvent:
    action, _ = readable(bytes(row["state"]))
    return TailEvent(
        position=row["notification_id"],
        kind=row["topic"],
        agency=action.agency,
        action=str(row["action_id"]),
        case=str(action.case_id) if action.case_id else None,
        recorded_at=row["recorded_at"],
        recorded_again=row["again"],
        event=bytes(row["state"]).decode("ascii", "backslashreplace"),
    )


def webhooks_go_back(connection: Connection[Any], size: int) -> None:
    """Let each webhook for cases go on from a size at most.

    The positions beyond have other events by then, which no webhook has received.
    """
    connection.execute(_WEBHOOKS_GO_BACK, {"size": size})
