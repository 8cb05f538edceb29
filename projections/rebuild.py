"""Rebuilds a view beside the live one, then swaps it in."""

from collections.abc import Callable

from ledger.store.recorder import LedgerDatastore
from projections.folding import Folder
from projections.runner import VIEWS
from projections.view import PROJECTOR_ROLE, SLOTS, EventHistory, View

PAGE = 500
Progress = Callable[[int, int], None]
"""Told how many events of how many are folded."""


class RebuildError(RuntimeError):
    """The view was not rebuilt; the live one is as it was."""


def rebuild(conninfo: str, name: str, progress: Progress = lambda _done, _of: None) -> int:
    """Fold view ``name`` from the first event and make it live. Returns its position.

    Readers see the old rows until the new ones have caught up. Raises
    ``RebuildError`` for an unknown name, and while another rebuild of it runs.
    """
    if name not in VIEWS:
        raise RebuildError(f"there is no view {name}; there are {', '.join(VIEWS)}")
    datastore = LedgerDatastore(conninfo, pool_size=4, role=PROJECTOR_ROLE)
    try:
        with datastore.get_connection() as connection:
            lock = (f"case-ledger rebuild {name}",)
            held = connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS held", lock
            ).fetchone()
            if held is None or not held["held"]:
                raise RebuildError(f"{name} is being rebuilt already; wait for that to end")
            try:
                return _rebuild(datastore, VIEWS[name], progress)
            finally:
                connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", lock)
    finally:
        datastore.close()


def _rebuild(datastore: LedgerDatastore, view_class: type[View], progress: Progress) -> int:
    live = view_class(datastore)
    beside = view_class(datastore, slot=next(s for s in SLOTS if s != live.slot))
    beside.empty()
    history = EventHistory(datastore)
    folder = Folder(history)
    _catch_up(beside, history, folder, history.head(), progress)
    with datastore.transaction(commit=True) as curs:
        # The live view stands still from here to the swap: catch up with it exactly.
        curs.execute(
            "SELECT FROM views.projections WHERE name = %s FOR NO KEY UPDATE", (view_class.name,)
        )
        _catch_up(beside, history, folder, max(live.position(), beside.position()), progress)
        curs.execute(
            "UPDATE views.projections SET live_slot = %s WHERE name = %s",
            (beside.slot, view_class.name),
        )
    live.empty()
    return beside.position()


def _catch_up(
    view: View, history: EventHistory, folder: Folder, target: int, progress: Progress
) -> None:
    position = view.position()
    while position < target:
        events = history.page(position, min(PAGE, target - position))
        view.record([folder.step(event) for event in events])
        position = view.position()
        progress(position, target)
