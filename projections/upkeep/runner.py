"""Keeps views in step with the ledger, through crashes of either side.

One thread and two connections serve all views: each page of events is read and folded once for all
views that stand at the same position. Events that come while a page is written are the next page.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError

from ledger.events.newer_event import NewerEventError
from ledger.store.database import DATABASE_AWAY
from ledger.store.datastore import LedgerDatastore
from ledger.store.event_rows import CHANNEL
from ledger.store.notices import Listener
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker, stop_together
from ledger.system.telemetry import span
from projections.folds.case_folder import Folder, Step
from projections.tables.all_views import VIEWS
from projections.tables.view import (
    PROJECTOR_ROLE,
    EventHistory,
    LostStepsError,
    SlotMovedError,
    View,
)

PAGE = 500
"""How many events are written at once, at most."""
_GATHER_SECONDS = 0.02
"""So long is waited after a page: where events are many, those that come are folded together."""
LEAST_RENEWED = 1_000
_RENEWED_PART = 5
"""The planner looks at a view's rows again after this part of the ledger, or so many events."""
_LOOK_SECONDS = 1.0
"""So often the ledger is looked at without a notice: a notice may be lost with its connection."""
_NEWER_SECONDS = 5.0
"""So long after an event that needs a later program the ledger is read again."""
_BACKOFF = Backoff(0.2, 5.0)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """One view, where it stands, and how often it failed since it was last written."""

    view: View
    stands: int
    failures: int = 0
    again_at: float = 0.0
    written: int = 0
    """Events since the planner looked at the view's rows."""


class PageFolder:
    """Folds the ledger into views, a page at a time."""

    def __init__(self, datastore: LedgerDatastore, views: Iterable[type[View]]) -> None:
        self._datastore = datastore
        self._history = EventHistory(datastore)
        self._followed = [self._begun(view) for view in views]
        self.newer: int | None = None
        """The position of an event that needs a later program: no view goes beyond it."""
        self._folders: dict[frozenset[str], Folder] = {}
        """One for those that stand at the same position, which their cases are folded up to."""

    def step(self) -> bool:
        """Fold one page into each view that is behind, and return whether there was any.

        A view that fails is logged and left out for a while; the others continue. Raises the
        driver's or the library's ``OperationalError`` if the database does not answer.
        """
        now = time.monotonic()
        groups: dict[int, list[_Followed]] = {}
        for one in self._followed:
            if one.again_at <= now:
                groups.setdefault(one.stands, []).append(one)
        moved = [self._fold(after, group) for after, group in groups.items()]
        return any(moved)

    def _fold(self, after: int, group: Sequence[_Followed]) -> bool:
        events = self._history.page(after, PAGE)
        if not events:
            return False
        names = frozenset(one.view.name for one in group)
        folder = self._folders.pop(names, None) or Folder(self._history)
        for other in [one for one in self._folders if one & names]:
            del self._folders[other]  # those stood together once
        try:
            steps = folder.steps(events)
        except NewerEventError as error:
            self._stop_before(error.position, group)
            return False
        for one in group:
            self._write(one, steps)
        if all(one.stands == steps[-1].event.position for one in group):
            self._folders[names] = folder
        return True

    def _write(self, one: _Followed, steps: Sequence[Step]) -> None:
        try:
            with span("view.write", {"view": one.view.name, "events": len(steps)}):
                record_rest(one.view, steps)
        except SlotMovedError:
            again = self._begun(type(one.view))
            one.view, one.stands = again.view, again.stands
        except DATABASE_AWAY:
            raise
        except Exception as error:
            _log.warning("projection interrupted", view=one.view.name, error=type(error).__name__)
            one.stands = one.view.position()
            one.failures += 1
            one.again_at = time.monotonic() + _BACKOFF.seconds(one.failures)
        else:
            one.stands, one.failures = steps[-1].event.position or 0, 0
            one.written += len(steps)
            if one.written >= max(LEAST_RENEWED, one.stands // _RENEWED_PART):
                one.view.renew_statistics()
                one.written = 0

    def _stop_before(self, position: int, group: Iterable[_Followed]) -> None:
        """Note that an event needs a later program, and look at it again only after a while."""
        if self.newer != position:
            _log.warning("views stop: this node must be updated", position=position)
        self.newer = position
        for one in group:
            one.again_at = time.monotonic() + _NEWER_SECONDS

    def _begun(self, view: type[View]) -> _Followed:
        begun = view(self._datastore)
        return _Followed(begun, begun.position())


def record_rest(view: View, steps: Sequence[Step]) -> None:
    """Write the steps that a view does not have yet.

    Raises ``LostStepsError`` if steps before them are missing.
    """
    while steps:
        try:
            view.record(steps)
            return
        except (IntegrityError, LostStepsError):
            # Another process may follow into the same view, and be in the midst of these.
            stands = view.position()
            later = [s for s in steps if s.event.position and s.event.position > stands]
            if len(later) == len(steps):
                raise
            steps = later


class ViewRunner(PeriodicWorker):
    """Follows into views for as long as the block runs."""

    def __init__(self, conninfo: str, views: Iterable[type[View]] = tuple(VIEWS.values())) -> None:
        self._conninfo = conninfo
        self._views = tuple(views)
        self._datastore: LedgerDatastore | None = None
        self._pages: PageFolder | None = None
        self.when_newer: Callable[[int], None] = lambda _: None
        """Called with the position of an event that needs a later program, at which views stop."""
        super().__init__("follow", self._step, every=_LOOK_SECONDS, backoff=_BACKOFF)
        self._listener = Listener(
            conninfo,
            {CHANNEL: lambda _: self.wake()},
            when_listening=self.wake,
            role=PROJECTOR_ROLE,
            name="follow-notices",
        )

    def start(self) -> None:
        self._listener.start()
        super().start()

    def _step(self) -> float | None:
        try:
            if self._pages is None:
                self._pages = self._begin()
            moved = self._pages.step()
            if self._pages.newer is not None:
                self.when_newer(self._pages.newer)
            if not moved:
                return None
        except BaseException:
            self._close_datastore()
            raise
        self.rest(_GATHER_SECONDS)
        return 0.0

    def _begin(self) -> PageFolder:
        # The pool waits where there is no server: a connection of its own fails at once.
        psycopg.connect(self._conninfo, connect_timeout=5).close()
        self._datastore = LedgerDatastore(self._conninfo, pool_size=2, role=PROJECTOR_ROLE)
        return PageFolder(self._datastore, self._views)

    def _close_datastore(self) -> None:
        datastore, self._datastore, self._pages = self._datastore, None, None
        if datastore is not None:
            datastore.close()

    def _asked_to_stop(self) -> None:
        self._listener.ask_to_stop()

    def _let_go(self) -> None:
        if (datastore := self._datastore) is not None:
            datastore.let_go()

    def _close(self) -> None:
        stop_together([self._listener])
        self._close_datastore()
