"""Checks views against a new fold of the ledger's events, a part of the cases at a time.

Nothing of the checked rows is used in the fold. Each part is of one moment: the rows of the views,
and the position that each view stood at.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString, Self
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composable, Identifier

from ledger.application import Ledger
from ledger.store.database import APP_ROLE, set_role
from ledger.store.datastore import LedgerDatastore
from projections.folds.case_folder import Step
from projections.folds.registry_history import RegistryHistory
from projections.tables.all_views import VIEWS
from projections.tables.view import Row, View
from projections.upkeep.rebuild_shards import Shard, ShardReader, read_case_by_case
from projections.upkeep.row_comparison import (
    CaseRange,
    DifferenceKind,
    RegistryRange,
    RowDifference,
    compare,
)

EVENTS = "events"
"""Stands for the ledger's events themselves among the views that differ."""
_ROWS_AT_ONCE = 500
_LOOK_SECONDS = 0.2
_DESCRIBED = 100
"""So many differences of one part are described; the others are counted."""

_STANDS = """
SELECT p.name, p.live_slot, COALESCE(t.notification_id, 0) AS position
FROM views.projections p
LEFT JOIN views.tracking t ON t.projection = p.name AND t.slot = p.live_slot
    AND t.application_name = %(application)s
WHERE p.name = ANY(%(names)s)
"""
_LEDGER = """
SELECT COALESCE((SELECT max(notification_id) FROM ledger.events), 0) AS head,
    (SELECT originator_id FROM ledger.events WHERE notification_id = 1) AS ledger_id
"""
_LAST_ACT = """
SELECT notification_id FROM ledger.events
WHERE originator_id = %(ledger_id)s AND notification_id <= %(target)s
ORDER BY originator_version DESC LIMIT 1
"""
_CHANGED_EVENTS = SQL("""
SELECT notification_id FROM ledger.events
WHERE {within} AND leaf_hash <> sha256('\\x00'::bytea || state) ORDER BY notification_id
""")
# Where a part ends that begins above a case and has about so many events.
_BOUND = SQL("""
SELECT originator_id FROM ledger.events
WHERE {within} ORDER BY originator_id, originator_version OFFSET %(events)s LIMIT 1
""")


@dataclass
class CheckedShard:
    """The findings of the check of one part."""

    events: int = 0
    """Events that were folded."""
    rows: Counter[str] = field(default_factory=Counter)
    """Rows that the ledger folds to, by view."""
    differing: Counter[str] = field(default_factory=Counter)
    """Rows that differ, by view."""
    described: list[RowDifference] = field(default_factory=list)
    """The first of those that differ."""
    slots: Mapping[str, str] = field(default_factory=dict)
    """The slot of each view that was compared."""

    def add(self, view: str, differing: int, described: Iterable[RowDifference]) -> None:
        """Add the differences found in a view."""
        if differing:
            self.differing[view] += differing
            self.described += [*described][: max(0, _DESCRIBED - len(self.described))]

    def merge(self, other: "CheckedShard") -> None:
        """Add the result of the check of another part."""
        self.events += other.events
        self.rows += other.rows
        for view, differing in other.differing.items():
            self.add(view, differing, [d for d in other.described if d.view == view])


class ViewChecker:
    """Checks one part after another, with the right to read alone. Not for several threads."""

    def __init__(
        self, conninfo: str, names: Sequence[str] = tuple(VIEWS), *, role: str = APP_ROLE
    ) -> None:
        self._conninfo = conninfo
        self._names = sorted(names)
        self._role = role
        self._open = ExitStack()
        self._views: dict[tuple[str, str], View] = {}
        self._positions: dict[str, int] = {}
        self._histories: dict[int, RegistryHistory] = {}
        # A view needs one to be made; nothing is read through it.
        self._datastore = LedgerDatastore(conninfo, pool_size=1, role=role)
        self._open.callback(self._datastore.close)
        try:
            self._reading = self._connect()
            read_case_by_case(self._reading)
            self._comparing = self._connect()
            read_case_by_case(self._comparing)
        except BaseException:
            self._open.close()
            raise

    def head(self) -> int:
        """Return the position of the last event."""
        return int(self._row(_LEDGER)["head"])

    def behind(self, target: int, *, seconds: float) -> CheckedShard:
        """Wait until every view reaches ``target``, and report each view that does not.

        The wait lasts ``seconds`` at most. No process writes the views that are reported.
        """
        until = time.monotonic() + seconds
        while True:
            checked = CheckedShard()
            with self._one_moment(checked):
                late = {name: at for name, at in self._positions.items() if at < target}
            if not late or time.monotonic() > until:
                for name, position in late.items():
                    checked.add(name, 1, [_misplaced(name, position, target)])
                return checked
            time.sleep(_LOOK_SECONDS)

    def part_above(self, above: UUID | None, events: int) -> Shard:
        """Return the part that begins above a case and has about ``events`` events.

        The last part has no end.
        """
        statement = _BOUND.format(within=_within(Shard(above)))
        row = self._comparing.execute(statement, {"above": above, "events": events}).fetchone()
        return Shard(above, row["originator_id"] if row is not None else None)

    def parts(self, events: int) -> Iterator[Shard]:
        """Yield all parts, each of about ``events`` events, each computed when it is asked for."""
        part = self.part_above(None, events)
        yield part
        while part.upto is not None:
            part = self.part_above(part.upto, events)
            yield part

    def check(self, part: Shard) -> CheckedShard:
        """Compare every row of the cases of a part with the rows that their events fold to."""
        checked = CheckedShard()
        with self._one_moment(checked) as (ledger_id, groups):
            for target, views in groups.items():
                comparisons = [
                    _CaseComparison(self._comparing, view, part, ledger_id) for view in views
                ]
                if ledger_id is not None:
                    reader = self._reader(ledger_id, target)
                    for case_id, steps in reader.cases(part):
                        rows = self._folded(steps, reader, comparisons, checked, case_id)
                        for comparison in comparisons:
                            comparison.add(case_id, rows[comparison.view.name], checked)
                for comparison in comparisons:
                    comparison.finish(checked)
            self._check_events(part, checked)
        return checked

    def check_acts(self) -> CheckedShard:
        """Compare every row of the acts on the protocol, and the positions of the views."""
        checked = CheckedShard()
        with self._one_moment(checked) as (ledger_id, groups):
            head = self.head()
            for target, views in groups.items():
                if ledger_id is None:
                    continue
                comparisons = [_ActComparison(self._comparing, view, ledger_id) for view in views]
                reader = self._reader(ledger_id, target)
                for step, is_last in reader.acts():
                    checked.events += 1
                    for comparison in comparisons:
                        rows = comparison.view.lasting(step, reader.history, is_last=is_last)
                        comparison.add(step.event.originator_version, rows, checked)
                for comparison in comparisons:
                    comparison.finish(checked)
            for name, position in self._positions.items():
                if position > head:
                    checked.add(name, 1, [_misplaced(name, position, head)])
        return checked

    def _folded(
        self,
        steps: Iterator[tuple[Step, bool]],
        reader: ShardReader,
        comparisons: Sequence["_CaseComparison"],
        checked: CheckedShard,
        case_id: UUID,
    ) -> Mapping[str, list[Row]]:
        """Return the rows of one case, by view.

        A case that cannot be folded is reported as a difference of its own.
        """
        rows: dict[str, list[Row]] = {comparison.view.name: [] for comparison in comparisons}
        try:
            for step, is_last in steps:
                checked.events += 1
                for comparison in comparisons:
                    view = comparison.view
                    rows[view.name] += view.lasting(step, reader.history, is_last=is_last)
        except (ValueError, KeyError, TypeError, AttributeError):
            row = {"case_id": str(case_id)}
            unfolded = RowDifference(view=EVENTS, kind=DifferenceKind.UNFOLDED, row=row)
            checked.add(EVENTS, 1, [unfolded])
        return rows

    def _check_events(self, part: Shard, checked: CheckedShard) -> None:
        bounds = {"above": part.above, "upto": part.upto}
        statement = _CHANGED_EVENTS.format(within=_within(part))
        changed = self._comparing.execute(statement, bounds).fetchall()
        checked.add(
            EVENTS,
            len(changed),
            (
                RowDifference(
                    view=EVENTS,
                    kind=DifferenceKind.EVENT,
                    row={"position": str(row["notification_id"])},
                )
                for row in changed
            ),
        )

    @contextmanager
    def _one_moment(
        self, checked: CheckedShard
    ) -> Iterator[tuple[UUID | None, Mapping[int, Sequence[View]]]]:
        """Yield the ledger's id, and the views by the position to which they are folded.

        All that is read in the block is of one moment.
        """
        with self._comparing.transaction():
            self._comparing.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Before the moment begins: a rebuild empties a slot for every moment at once.
            tables = SQL(", ").join(
                SQL("views.{}").format(Identifier(VIEWS[name].table)) for name in self._names
            )
            self._comparing.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables))
            ledger = self._row(_LEDGER)
            stands = self._comparing.execute(
                _STANDS, {"names": self._names, "application": Ledger.name}
            ).fetchall()
            self._positions = {row["name"]: row["position"] for row in stands}
            checked.slots = {row["name"]: row["live_slot"] for row in stands}
            groups: dict[int, list[View]] = {}
            for row in stands:
                target = min(row["position"], ledger["head"])
                groups.setdefault(target, []).append(self._view(row["name"], row["live_slot"]))
            yield ledger["ledger_id"], groups

    def _reader(self, ledger_id: UUID, target: int) -> ShardReader:
        asked = {"ledger_id": ledger_id, "target": target}
        last = self._comparing.execute(_LAST_ACT, asked).fetchone()
        key = last["notification_id"] if last else 0
        reader = ShardReader(
            self._reading, ledger_id, target, self._histories.get(key), beside=self._comparing
        )
        # Views that stand at different positions need one each; older ones are not needed again.
        self._histories = dict([*self._histories.items(), (key, reader.history)][-len(VIEWS) :])
        return reader

    def _view(self, name: str, slot: str) -> View:
        if (name, slot) not in self._views:
            self._views[name, slot] = VIEWS[name](self._datastore, slot=slot)
        return self._views[name, slot]

    def _row(self, statement: LiteralString) -> DictRow:
        row = self._comparing.execute(statement).fetchone()
        if row is None:
            raise RuntimeError("the database gave no row")
        return row

    def _connect(self) -> Connection[DictRow]:
        connection = psycopg.connect(self._conninfo, autocommit=True, row_factory=dict_row)
        self._open.callback(connection.close)
        set_role(connection, self._role)
        return connection

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _misplaced(name: str, position: int, head: int) -> RowDifference:
    row = {"position": str(position), "head": str(head)}
    return RowDifference(view=name, kind=DifferenceKind.POSITION, row=row)


def _within(part: Shard) -> Composable:
    """Return the SQL condition that an event belongs to a part.

    The condition has no alternatives, so that an index serves it.
    """
    bounds = [SQL("true")]
    if part.above is not None:
        bounds.append(SQL("originator_id > %(above)s"))
    if part.upto is not None:
        bounds.append(SQL("originator_id <= %(upto)s"))
    return SQL(" AND ").join(bounds)


class _CaseComparison:
    """Compares one view over the cases of a part, whole cases and some hundred rows at once."""

    def __init__(
        self, connection: Connection[Any], view: View, part: Shard, ledger_id: UUID | None
    ) -> None:
        self.view = view
        self._connection = connection
        self._above, self._upto = part.above, part.upto
        self._ledger_id = ledger_id
        self._rows: list[Row] = []

    def add(self, case_id: UUID, rows: Sequence[Row], checked: CheckedShard) -> None:
        """Add all rows of the next case, and compare once enough rows are collected."""
        self._rows += rows
        if len(self._rows) >= _ROWS_AT_ONCE and case_id != self._upto:
            self._compare(case_id, checked)
            self._above = case_id

    def finish(self, checked: CheckedShard) -> None:
        """Compare the remaining rows, up to the part's end."""
        self._compare(self._upto, checked)

    def _compare(self, upto: UUID | None, checked: CheckedShard) -> None:
        within = CaseRange(above=self._above, upto=upto, ledger_id=self._ledger_id)
        found = compare(self._connection, self.view, self._rows, within)
        checked.rows[self.view.name] += len(self._rows)
        checked.add(self.view.name, found.differing, found.described)
        self._rows = []


class _ActComparison:
    """Compares one view over the acts on the protocol."""

    def __init__(self, connection: Connection[Any], view: View, ledger_id: UUID) -> None:
        self.view = view
        self._connection = connection
        self._ledger_id = ledger_id
        self._above: int | None = None
        self._rows: list[Row] = []

    def add(self, version: int, rows: Iterable[Row], checked: CheckedShard) -> None:
        """Add the rows of the next act, and compare once enough rows are collected."""
        self._rows += rows
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._compare(version, checked)
            self._above = version

    def finish(self, checked: CheckedShard) -> None:
        """Compare the remaining rows."""
        self._compare(None, checked)

    def _compare(self, upto: int | None, checked: CheckedShard) -> None:
        within = RegistryRange(above=self._above, upto=upto, ledger_id=self._ledger_id)
        found = compare(self._connection, self.view, self._rows, within)
        checked.rows[self.view.name] += len(self._rows)
        checked.add(self.view.name, found.differing, found.described)
        self._rows = []
