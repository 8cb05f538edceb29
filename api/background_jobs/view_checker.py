"""The node's continuous check of its views: at a low rate, and every row within a day."""

import time
from collections.abc import Sequence

import structlog

from api.runtime.trouble import Trouble
from ledger.store.database import Database
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from projections.tables.stored_documents import StoredDocuments
from projections.upkeep.continuous_check import PART_EVENTS, ContinuousCheck, differing_rows

_PASS_SECONDS = 12 * 3600.0
"""A pass through all rows takes no longer: half a day is left for a node that was stopped."""
_SHARE = 0.02
"""The share of one processor that the check takes, where the pass does not need more."""
_SHORTEST_SECONDS = 30.0
_LONGEST_SECONDS = 300.0
_BACKOFF = Backoff(1.0, 30.0)
_REPORTED_SECONDS = 3600.0
"""So long a malformed row is reported after a request met it."""
_log = structlog.get_logger(__name__)


class ViewCheckJob(PeriodicWorker):
    """Takes steps of the check in a thread that nothing else waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._check: ContinuousCheck | None = None
        # What a node does when it starts comes first.
        super().__init__(
            "check_views",
            self._step,
            every=_SHORTEST_SECONDS,
            first_after=_SHORTEST_SECONDS,
            backoff=_BACKOFF,
        )

    def _step(self) -> float:
        """Check one part. Returns how many seconds to wait before the next."""
        try:
            if self._check is None:
                self._check = ContinuousCheck(self._database.conninfo)
            began = time.monotonic()
            checked = self._check.step()
            for view, rows in checked.differing.items():
                _log.error("a view differs from the ledger", view=view, rows=rows)
            return pause(time.monotonic() - began, self._check.head())
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        check, self._check = self._check, None
        if check is not None:
            check.close()


def pause(seconds: float, head: int) -> float:
    """Return the seconds to wait after a step of ``seconds``, in a ledger of ``head`` events."""
    steps = head // PART_EVENTS + 1
    wanted = min(max(seconds / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    return max(0.0, min(wanted, _PASS_SECONDS / steps - seconds))


def malformed_rows(documents: StoredDocuments) -> Sequence[Trouble]:
    """Return the trouble that a request met an unreadable row of a view within the last hour."""
    met = documents.met_within(_REPORTED_SECONDS)
    if not met:
        return ()
    return (
        Trouble(
            rule="view-damaged",
            message=f"Rows of views cannot be read ({', '.join(met)}), and are left out. Run "
            "`case-ledger verify views`, find out who wrote to the database, and run "
            "`case-ledger rebuild`.",
        ),
    )


def view_troubles(database: Database) -> Sequence[Trouble]:
    """Return the trouble that views differ from the ledger, if the check found that."""
    differing = differing_rows(database)
    if not differing:
        return ()
    counts = ", ".join(f"{view}: {rows}" for view, rows in differing.items())
    return (
        Trouble(
            rule="views-differ",
            message=f"Rows of views are not as the ledger says ({counts}). Run `case-ledger verify"
            " views`, find out who wrote to the database, and run `case-ledger rebuild`.",
        ),
    )
