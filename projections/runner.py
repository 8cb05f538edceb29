"""Keeps views in step with the ledger, through crashes of either side."""

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.projection import Projection, ProjectionRunner

from ledger.application import Ledger, environment
from ledger.event import ActionRecorded
from ledger.store.recorder import LedgerFactory
from projections.audit_trails import AuditTrails
from projections.case_views import CaseViews
from projections.folding import Folder
from projections.view import PROJECTOR_ROLE, EventHistory, SlotMovedError, View

VIEWS: Mapping[str, type[View]] = {view.name: view for view in (CaseViews, AuditTrails)}
"""Every view by name."""

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
_log = structlog.get_logger(__name__)


class FoldIntoView(Projection[View]):
    """Folds each event into a view."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._folder = Folder(EventHistory(view.datastore))

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if not isinstance(domain_event, ActionRecorded):
            raise TypeError(f"{type(domain_event).__name__} is not an action")
        step = self._folder.step(domain_event)
        try:
            self.view.record([step])
        except IntegrityError:
            # Another process follows into the same view and was first.
            if not self.view.has_tracking_id(tracking.application_name, tracking.notification_id):
                raise


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
