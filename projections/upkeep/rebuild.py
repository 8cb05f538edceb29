"""Rebuilds views beside the live ones, then swaps them in.

The ledger is read case by case, by processes that take a part of the cases each; every event is
decoded once for all views. Events recorded in the meantime follow in the ledger's order.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector
from uuid import UUID

from ledger.events.newer_event import NewerEventError
from ledger.refusals import OperatorError
from ledger.store.datastore import LedgerDatastore
from projections.folds.case_folder import Folder
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, SLOTS, EventHistory, View
from projections.upkeep.rebuild_shards import Plan, RebuildRunsError, Shard, ShardFolder, lock_alone
from projections.upkeep.rebuild_worker import plan_line, read_answer, shard_line
from projections.upkeep.runner import PAGE

Progress = Callable[[int, int], None]
"""Told how many events of how many are folded."""

_PART = 5_000
"""About so many events are folded at once."""
_PARTS = 4_096
_ALONE = 20_000
"""Up to so many events, starting processes costs more than it gains."""
_MOST = 8
"""Processes, at most: each takes some 60 MB and a connection for each view and one more."""

# Cases' ids may be of any kind: a sample of them tells where the parts' bounds must be.
_BOUNDS = """
SELECT percentile_disc(%(fractions)s::float8[]) WITHIN GROUP (ORDER BY originator_id) AS bounds
FROM ledger.events TABLESAMPLE SYSTEM (%(percent)s)
"""


class RebuildError(OperatorError):
    """The views were not rebuilt; the live ones are as they were."""


def rebuild(
    conninfo: str,
    name: str,
    progress: Progress = lambda _done, _of: None,
    *,
    processes: int | None = None,
) -> int:
    """Fold view ``name`` from the first event and make it live; see :func:`rebuild_views`."""
    return rebuild_views(conninfo, [name], progress, processes=processes)[name]


def rebuild_views(
    conninfo: str,
    names: Sequence[str] = tuple(VIEWS),
    progress: Progress = lambda _done, _of: None,
    *,
    processes: int | None = None,
    when_newer: Callable[[int], None] = lambda _: None,
) -> Mapping[str, int]:
    """Fold views from the first event in one pass, make them live, and return their positions.

    The views end before the first event that needs a later program; ``when_newer`` is then called
    with its position.

    Readers see the old rows until the new ones have caught up. ``processes`` is how many processes
    fold (0: this process alone); the default is the number of cores, if the ledger is large enough.
    Raises ``RebuildError`` if a name is unknown, if another rebuild of these views runs, or if a
    process fails.
    """
    for name in names:
        if name not in VIEWS:
            raise RebuildError(f"there is no view {name}; there are {', '.join(VIEWS)}")
    datastore = LedgerDatastore(conninfo, pool_size=4, role=PROJECTOR_ROLE)
    try:
        with datastore.get_connection() as connection:
            try:
                lock_alone(connection, names)
                return _rebuild(conninfo, datastore, names, progress, processes, when_newer)
            except (RebuildRunsError, ChildProcessError) as error:
                raise RebuildError(str(error)) from error
            finally:
                connection.execute("SELECT pg_advisory_unlock_all()")
    finally:
        datastore.close()


def _rebuild(
    conninfo: str,
    datastore: LedgerDatastore,
    names: Sequence[str],
    progress: Progress,
    processes: int | None,
    when_newer: Callable[[int], None],
) -> Mapping[str, int]:
    live = [VIEWS[name](datastore) for name in names]
    beside = [
        VIEWS[view.name](datastore, slot=next(s for s in SLOTS if s != view.slot)) for view in live
    ]
    history = EventHistory(datastore)
    for view in beside:
        view.empty()
    target, ledger_id = history.head(), history.ledger_id()
    newer: int | None = None
    if ledger_id is not None and target:
        slots = {view.name: view.slot for view in beside}
        while target:
            plan = Plan(conninfo, slots, ledger_id, target)
            try:
                _fold_all(plan, _parts(datastore, target), progress, processes)
                break
            except NewerEventError as error:
                # Parts are folded out of order: there may be an earlier such event.
                newer, target = error.position, error.position - 1
                for view in beside:
                    view.empty()
        for view in beside:
            view.begin_at(target)
            view.renew_statistics()
    folder = Folder(history)

    def head() -> int:
        """Return the position up to which this program can fold."""
        return history.head() if newer is None else newer - 1

    while (ahead := head()) - target > PAGE:
        _catch_up(beside, history, folder, ahead, progress)
        target = ahead
    with datastore.transaction(commit=True) as curs:
        # The live views stand still from here to the swap: catch up with them exactly.
        for view in sorted(live, key=lambda view: view.name):
            curs.execute(
                "SELECT FROM views.projections WHERE name = %s FOR NO KEY UPDATE", (view.name,)
            )
        # No further than the ledger goes, whatever a changed position says.
        last = min(max(view.position() for view in (*live, *beside)), head())
        _catch_up(beside, history, folder, last, progress)
        for view in beside:
            curs.execute(
                "UPDATE views.projections SET live_slot = %s WHERE name = %s",
                (view.slot, view.name),
            )
            # What a check found of the old rows is over.
            curs.execute("DELETE FROM views.differences WHERE view = %s", (view.name,))
    for view in live:
        view.empty()
    if newer is not None:
        when_newer(newer)
    return {view.name: view.position() for view in beside}


def _catch_up(
    views: Sequence[View],
    history: EventHistory,
    folder: Folder,
    target: int,
    progress: Progress,
) -> None:
    """Bring views that stand at one position to ``target``, each page decoded once for all."""
    position = views[0].position()
    while position < target:
        steps = folder.steps(history.page(position, min(PAGE, target - position)))
        for view in views:
            view.record(steps)
        position = views[0].position()
        progress(position, target)


def _parts(datastore: LedgerDatastore, target: int) -> list[Shard]:
    """Return parts of the cases that have about the same number of events each."""
    count = min(-(-target // _PART), _PARTS)
    bounds: list[UUID] = []
    if count > 1:
        sample = {
            "fractions": [number / count for number in range(1, count)],
            "percent": min(100.0, 100 * 50 * count / target),
        }
        with datastore.get_connection() as connection:
            row = connection.execute(_BOUNDS, sample).fetchone()
        bounds = sorted(set(row["bounds"] or ())) if row else []
    return [
        Shard(above, upto) for above, upto in zip([None, *bounds], [*bounds, None], strict=True)
    ]


def _fold_all(
    plan: Plan, parts: Sequence[Shard], progress: Progress, processes: int | None
) -> None:
    if processes is None:
        processes = min(os.cpu_count() or 1, _MOST) if plan.target > _ALONE else 0
    answers = _by_processes(plan, parts, processes) if processes else _alone(plan, parts)
    folded = 0
    for count in answers:
        folded += count
        progress(folded, plan.target)
    if folded != plan.target:
        raise RebuildError(f"{plan.target} events are recorded, and {folded} could be folded")


def _alone(plan: Plan, parts: Sequence[Shard]) -> Iterator[int]:
    with ShardFolder(plan) as folder:
        yield folder.fold_registry()
        for part in parts:
            yield folder.fold(part)


def _by_processes(plan: Plan, parts: Sequence[Shard], processes: int) -> Iterator[int]:
    """Yield each part's number of events when a process has folded the part.

    Raises ``ChildProcessError`` if a process fails.
    """
    waiting: list[Shard | None] = [*reversed(parts), None]
    with _started(processes) as workers, DefaultSelector() as selector:
        for worker in workers:
            _tell(worker, plan_line(plan))
            selector.register(worker.stdout, EVENT_READ, worker)  # type: ignore[arg-type]
        busy = len(workers)
        while busy:
            for key, _ in selector.select():
                worker = key.data
                yield read_answer(worker.stdout.readline())
                if waiting:
                    _tell(worker, shard_line(waiting.pop()))
                else:
                    selector.unregister(worker.stdout)
                    busy -= 1


@contextmanager
def _started(processes: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start processes, and stop them when the block ends.

    The processes are new programs instead of forks, because this process may have threads.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    workers = []
    try:
        for _ in range(processes):
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "projections.upkeep.rebuild_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    env=environment,
                )
            )
        yield workers
    finally:
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.terminate()
        for worker in workers:
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()


def _tell(worker: "subprocess.Popen[bytes]", line: str) -> None:
    if worker.stdin is None:
        raise ChildProcessError("a process of the rebuild cannot be told what to do")
    try:
        worker.stdin.write(line.encode())
    except BrokenPipeError as error:
        raise ChildProcessError("a process of the rebuild ended") from error
