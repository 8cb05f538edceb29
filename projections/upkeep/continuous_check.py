"""Checks every row of every view again and again, a small part at a time.

A pass goes through the cases in the order of their ids, and ends with the acts on the protocol. The
database keeps how far the pass has come, so that a new process goes on there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from ledger.store.database import Database, set_role
from projections.tables.view import PROJECTOR_ROLE
from projections.upkeep.rebuild_shards import Shard
from projections.upkeep.view_check import CheckedShard, ViewChecker

PART_EVENTS = 1_000
"""About so many events are folded and compared in one step."""

_STANDS = "SELECT above, begun_at, finished_at, passes FROM views.checking"
_MOVE = """
UPDATE views.checking SET above = %(upto)s, begun_at = COALESCE(begun_at, now())
WHERE above IS NOT DISTINCT FROM %(above)s AND passes = %(passes)s RETURNING 1 AS moved
"""
_FINISH = """
UPDATE views.checking SET above = NULL, begun_at = NULL, finished_at = now(), passes = passes + 1
WHERE above IS NOT DISTINCT FROM %(above)s AND passes = %(passes)s RETURNING 1 AS moved
"""
_FOUND = """
INSERT INTO views.differences (view, this_pass, found_at) VALUES (%(view)s, %(rows)s, now())
ON CONFLICT (view) DO UPDATE
SET this_pass = differences.this_pass + EXCLUDED.this_pass, found_at = EXCLUDED.found_at
"""
_BEGIN_ANEW = """
WITH over AS (DELETE FROM views.differences WHERE this_pass = 0)
UPDATE views.differences SET last_pass = this_pass, this_pass = 0 WHERE this_pass > 0
"""
# A swap waits until this transaction ends.
_LIVE = "SELECT name, live_slot FROM views.projections WHERE name = ANY(%(names)s) FOR SHARE"
_DIFFERENCES = """
SELECT view, greatest(this_pass, last_pass) AS rows FROM views.differences ORDER BY view
"""


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """The progress of the check."""

    above: UUID | None
    """The next part begins above this case; ``None`` where a pass begins."""
    begun_at: datetime | None
    finished_at: datetime | None
    """When the last complete pass ended."""
    passes: int


class ContinuousCheck:
    """Takes one step after another. Not for several threads."""

    def __init__(self, conninfo: str) -> None:
        self._checker = ViewChecker(conninfo)
        try:
            self._connection: Connection[DictRow] = psycopg.connect(
                conninfo, autocommit=True, row_factory=dict_row
            )
            set_role(self._connection, PROJECTOR_ROLE)
        except BaseException:
            self._checker.close()
            raise

    def step(self, events: int = PART_EVENTS) -> CheckedShard:
        """Check the next part, and after a pass's last part the acts on the protocol."""
        stands = self.standing()
        part = self._checker.part_above(stands.above, events)
        checked = self._checker.check(part)
        if checked.differing:
            # Once more: what is reported was there twice.
            checked = self._checker.check(part)
        if part.upto is None:
            checked.merge(self._checker.check_acts())
        self._record(stands, part, checked)
        return checked

    def standing(self) -> CheckProgress:
        """Return how far the check has come."""
        return CheckProgress(**_row(self._connection, _STANDS))

    def head(self) -> int:
        """Return the position of the last event."""
        return self._checker.head()

    def _record(self, stands: CheckProgress, part: Shard, checked: CheckedShard) -> None:
        place = {"above": stands.above, "upto": part.upto, "passes": stands.passes}
        with self._connection.transaction():
            names = {"names": list(checked.slots)}
            live = {
                row["name"]: row["live_slot"]
                for row in self._connection.execute(_LIVE, names).fetchall()
            }
            statement = _MOVE if part.upto is not None else _FINISH
            if self._connection.execute(statement, place).fetchone() is None:
                return  # another process took this step
            for view, rows in checked.differing.items():
                # A slot that was swapped out meanwhile is not shown any more.
                if checked.slots.get(view) == live.get(view):
                    self._connection.execute(_FOUND, {"view": view, "rows": rows})
            if part.upto is None:
                self._connection.execute(_BEGIN_ANEW)

    def close(self) -> None:
        self._connection.close()
        self._checker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def differing_rows(database: Database) -> Mapping[str, int]:
    """Return how many rows the check last found to differ from the ledger, by view."""
    with database.connection() as connection:
        rows = connection.execute(_DIFFERENCES, prepare=True).fetchall()
    return {row["view"]: int(row["rows"]) for row in rows}


def check_standing(database: Database) -> CheckProgress:
    """Return how far the check has come."""
    with database.connection() as connection:
        return CheckProgress(**_row(connection, _STANDS))


def _row(connection: Connection[DictRow], statement: str) -> DictRow:
    row = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise RuntimeError("the continuous check has lost its row; run the migrations")
    return row
