"""Folds parts of the ledger, whole cases at a time, into the slots that a rebuild fills."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import Connection

from ledger.events.event import ActionRecorded
from ledger.events.newer_event import check_understood
from ledger.procedure.case import Case, after_event
from ledger.store.copy_reader import acceptances, rows_by_case, rows_of
from ledger.store.database import set_role
from ledger.store.datastore import LedgerDatastore
from ledger.store.event_rows import RecordedRow
from projections.folds.case_folder import CaseStep, Step
from projections.folds.joined_cases import JoinedCases
from projections.folds.registry_history import RegistryHistory
from projections.folds.state_json import StateDocuments
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, Row, View

Write = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class Shard:
    """The cases whose ids lie above one and up to another; ``None`` where there is no bound."""

    above: UUID | None = None
    upto: UUID | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The events that a rebuild folds, and the tables that it writes."""

    conninfo: str
    slots: Mapping[str, str]
    """The slot that is filled, by view."""
    ledger_id: UUID
    """Under which the acts on the protocol are recorded."""
    target: int
    """The position up to which all is folded."""


class ShardReader:
    """Reads whole cases out of the ledger's order, each event as a step with its case around it.

    Every part is folded up to the same position. Not for several threads.
    """

    def __init__(
        self,
        connection: Connection[Any],
        ledger_id: UUID,
        target: int,
        history: RegistryHistory | None = None,
        *,
        beside: Connection[Any],
    ) -> None:
        """Fold the acts on the protocol up to ``target``, unless ``history`` has them.

        ``connection`` may read events. Only this reader may use it while a part is read. The cases
        that are joined with one of the part are read by ``beside``.
        """
        self._connection = connection
        self._beside = beside
        rows = acceptances(beside, upto=target)
        self._joined = JoinedCases(row.event().as_act() for row in rows)
        self._ledger_id = ledger_id
        self._target = target
        self._documents = StateDocuments(keep=1)
        self.history = RegistryHistory() if history is None else history
        """The registry at each position, by the acts on the protocol up to the target."""
        if history is None:
            for _ in self.history.fold(self._registry_events()):
                pass

    def cases(self, part: Shard) -> Iterator[tuple[UUID, Iterator[tuple[Step, bool]]]]:
        """Yield each case of a part as its id and its steps.

        Each step comes with whether it is the case's last. Read or give up the steps of a case
        before the next case. The steps raise ``ValueError`` if an event of the case is missing, and
        ``NewerEventError`` at an event that needs a later program.
        """
        rows = rows_by_case(
            self._connection, above=part.above, upto_case=part.upto, upto=self._target
        )
        for case_id, of_case in groupby(rows, attrgetter("originator_id")):
            if case_id != self._ledger_id:
                yield case_id, self._completed(case_id, _with_last(self._steps(of_case)))

    def acts(self) -> Iterator[tuple[Step, bool]]:
        """Yield the acts on the protocol as steps, each with whether it is the last."""
        return _with_last(RegistryHistory().fold(self._registry_events()))

    def _steps(self, rows: Iterable[RecordedRow]) -> Iterator[CaseStep]:
        before: Case | None = None
        for version, row in enumerate(rows, 1):
            if row.version != version:
                raise ValueError(f"case {row.originator_id} has a gap")
            event = row.event()
            check_understood(event)
            registry = self.history.at(row.position)
            after, mark = after_event(before, event, registry.agreement)
            yield CaseStep(event, before, after, registry, self._documents, mark)
            before = after

    def _completed(
        self, case_id: UUID, steps: Iterable[tuple[Step, bool]]
    ) -> Iterator[tuple[Step, bool]]:
        """Yield the same steps, the last one with the joined cases up to the target."""
        others = self._joined.others(case_id)
        for step, is_last in steps:
            if others and is_last and isinstance(step, CaseStep):
                yield replace(step, joined=self._joined_cases(others)), True
            else:
                yield step, is_last

    def _joined_cases(self, case_ids: Iterable[UUID]) -> Mapping[UUID, Case]:
        found: dict[UUID, Case] = {}
        for case_id in case_ids:
            rows = rows_of(self._beside, case_id, upto=self._target)
            project = Case.projector(self.history.at(self._target).agreement)
            if (case := project(None, map(RecordedRow.event, rows))) is not None:
                found[case_id] = case
        return found

    def _registry_events(self) -> Iterator[ActionRecorded]:
        return map(RecordedRow.event, rows_of(self._connection, self._ledger_id, upto=self._target))


def _with_last(steps: Iterable[Step]) -> Iterator[tuple[Step, bool]]:
    last: Step | None = None
    for step in steps:
        if last is not None:
            yield last, False
        last = step
    if last is not None:
        yield last, True


def read_case_by_case(connection: Connection[Any]) -> None:
    """Prepare a connection to read whole cases."""
    # A case's events lie apart: what is best by the planner's numbers may be to read all.
    connection.execute("SET enable_seqscan = off; SET jit = off; SET work_mem = '16MB'")


class ShardFolder:
    """Folds one part after another. Not for several threads.

    Holds every view's lock, shared, so that no other rebuild begins while one is at work.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open = ExitStack()
        datastore = LedgerDatastore(plan.conninfo, pool_size=1, role=PROJECTOR_ROLE)  # unused
        self._views = [VIEWS[name](datastore, slot=slot) for name, slot in plan.slots.items()]
        try:
            reading = self._connect()
            lock_shared(reading, plan.slots)
            read_case_by_case(reading)
            self._writing = [(view, self._connect()) for view in self._views]
            for _, connection in self._writing:
                # What is lost with power is folded again.
                connection.execute("SET synchronous_commit = off")
            self._cases = ShardReader(reading, plan.ledger_id, plan.target, beside=self._connect())
        except BaseException:
            self._open.close()
            raise

    def fold(self, part: Shard) -> int:
        """Fold the cases of a part, write their rows, and return the number of events."""
        with ExitStack() as copies:
            writing = self._begin(copies)
            return sum(self._write(steps, writing) for _, steps in self._cases.cases(part))

    def fold_registry(self) -> int:
        """Fold the acts on the protocol, write their rows, and return the number of acts."""
        with ExitStack() as copies:
            return self._write(self._cases.acts(), self._begin(copies))

    def _write(self, steps: Iterable[tuple[Step, bool]], writing: list[tuple[View, Write]]) -> int:
        folded = 0
        for step, is_last in steps:
            folded += 1
            for view, write in writing:
                for row in view.lasting(step, self._cases.history, is_last=is_last):
                    write(row)
        return folded

    def _begin(self, copies: ExitStack) -> list[tuple[View, Write]]:
        return [
            (view, copies.enter_context(view.copying(connection)))
            for view, connection in self._writing
        ]

    def _connect(self) -> Connection[Any]:
        connection = psycopg.connect(self._plan.conninfo, autocommit=True)
        self._open.callback(connection.close)
        set_role(connection, PROJECTOR_ROLE)
        return connection

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RebuildRunsError(RuntimeError):
    """A view is being rebuilt already."""


def lock_shared(connection: Connection[Any], names: Iterable[str]) -> None:
    """Keep other rebuilds of these views from beginning, while the connection lasts.

    Raises ``RebuildRunsError`` if a rebuild has begun.
    """
    for name in names:
        _lock(connection, "pg_try_advisory_lock_shared", name)


def lock_alone(connection: Connection[Any], names: Iterable[str]) -> None:
    """Keep other rebuilds out, if neither a rebuild nor a process of one is at work.

    The locks are left shared. Raises ``RebuildRunsError`` if a rebuild is at work.
    """
    for name in names:
        _lock(connection, "pg_try_advisory_lock", name)
        _lock(connection, "pg_try_advisory_lock_shared", name)
        _lock(connection, "pg_advisory_unlock", name)


def _lock(connection: Connection[Any], function: str, name: str) -> None:
    row = connection.execute(
        f"SELECT {function}(hashtextextended(%s, 0))",
        (f"case-ledger rebuild {name}",),
    ).fetchone()
    if row is None or True not in (row.values() if isinstance(row, dict) else row):
        raise RebuildRunsError(f"{name} is being rebuilt already; wait for that to end")
