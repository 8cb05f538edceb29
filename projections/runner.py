"""Keeps views in step with the ledger, through crashes of either side."""

import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.projection import Projection, ProjectionRunner

from ledger.application import Ledger, environment
from ledger.event import ActionRecorded
from ledger.store.recorder import LedgerFactory
from ledger.telemetry import span
from projections.folding import Folder, Step
from projections.view import (
    PROJECTOR_ROLE,
    EventHistory,
    LostStepsError,
    SlotMovedError,
    View,
)
from projections.views import VIEWS

PAGE = 500
"""How many events are written at once, at most."""
_BEHIND = timedelta(seconds=1)
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
_log = structlog.get_logger(__name__)


class FoldIntoView(Projection[View]):
    """Folds events into a view: each as it comes, or a page at once where it is behind."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._history = EventHistory(view.datastore)
        self._folder = Folder(self._history)
        self._stands = 0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if not isinstance(domain_event, ActionRecorded):
            raise TypeError(f"{type(domain_event).__name__} is not an action")
        position = tracking.notification_id
        if position <= self._stands:
            return  # it was on a page
        events: Sequence[ActionRecorded] = [domain_event]
        if _is_old(domain_event):
            events = self._history.page(position - 1, PAGE) or events
        with span("view.write", {"view": self.view.name, "events": len(events)}):
            self._record(self._folder.steps(events))
        self._stands = events[-1].position or position

    def _record(self, steps: Sequence[Step]) -> None:
        while steps:
            try:
                self.view.record(steps)
                return
            except (IntegrityError, LostStepsError):
                # Another process may follow into the same view, and be in the midst of these.
                stands = self.view.position()
                later = [s for s in steps if s.event.position and s.event.position > stands]
                if len(later) == len(steps):
                    raise
                steps = later


def _is_old(event: ActionRecorded) -> bool:
    """Whether an event was recorded so long ago that others are likely to wait behind it."""
    return event.recorded_at is None or datetime.now(UTC) - event.recorded_at > _BEHIND


def projector_environment(conninfo: str) -> dict[str, str]:
    """The ``eventsourcing`` environment of a projection: reads events, writes views."""
    return environment(conninfo, pool_size=4) | {LedgerFactory.ROLE: PROJECTOR_ROLE}


class Follower:
    """One view's runner, started again whenever it stops for an error."""

    def __init__(self, view: type[View], conninfo: str) -> None:
        self.name = view.name
        self._view = view
        self._conninfo = conninfo
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{view.name}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                # A runner opens pools before it first asks: ask first.
                psycopg.connect(self._conninfo, connect_timeout=5).close()
                self._run()
                failures = 0
            except SlotMovedError:
                failures = 0
            except Exception as error:
                _log.warning("projection interrupted", view=self.name, error=type(error).__name__)
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                self._stopping.wait(pause)

    def _run(self) -> None:
        runner = ProjectionRunner(
            application_class=Ledger,
            projection_class=FoldIntoView,
            view_class=self._view,
            env=projector_environment(self._conninfo),
        )
        try:
            with runner:
                while not self._stopping.is_set() and not runner.is_interrupted.is_set():
                    self._stopping.wait(0.2)
        finally:
            runner.view.datastore.close()


class Followers:
    """The runners of every view, as a context manager."""

    def __init__(self, conninfo: str, views: Iterable[type[View]] = tuple(VIEWS.values())) -> None:
        self._followers = [Follower(view, conninfo) for view in views]

    def __enter__(self) -> Self:
        for follower in self._followers:
            follower.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for follower in self._followers:
            follower.stop()
