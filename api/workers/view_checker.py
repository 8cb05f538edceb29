"""The node's continuous check of its views: at a low rate, and every row within a day."""

import time
from collections.abc import Sequence

import structlog

from api.runtime.background import Background
from api.runtime.trouble import Trouble
from ledger.store.database import Database
from projections.tables.stored_documents import StoredDocuments
from projections.upkeep.continuous_check import PART_EVENTS, ContinuousCheck, differing_rows

_PASS_SECONDS = 12 * 3600.0
"""A pass through all rows takes no longer: half a day is left for a node that was stopped."""
_SHARE = 0.02
"""The share of one processor that the check takes, where the pass does not need more."""
_SHORTEST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0
_AGAIN_SECONDS = 30.0
_REPORTED_SECONDS = 3600.0
"""So long a malformed row is reported after a request met it."""
_log = structlog.get_logger(__name__)


class ViewChecking(Background):
    """Takes steps of the check in a thread that nothing else waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        super().__init__(check_views=self._run)

    def _run(self) -> None:
        # What a node does when it starts comes first.
        self._stopping.wait(_SHORTEST_SECONDS)
        while not self._stopping.is_set():
            try:
                with ContinuousCheck(self._database.conninfo) as check:
                    while not self._stopping.is_set():
                        self._stopping.wait(self._step(check))
            except Exception as error:
                _log.warning("the check of views was interrupted", error=type(error).__name__)
                self._stopping.wait(_AGAIN_SECONDS)

    def _step(self, check: ContinuousCheck) -> float:
        """Check one part. Returns how many seconds to wait before the next."""
        began = time.monotonic()
        checked = check.step()
        for view, rows in checked.differing.items():
            _log.error("a view differs from the ledger", view=view, rows=rows)
        return pause(time.monotonic() - began, check.head())


def pause(seconds: float, head: int) -> float:
    """How long to wait after a step that took ``seconds``, in a ledger of ``head`` events."""
    steps = head // PART_EVENTS + 1
    wanted = min(max(seconds / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    return max(0.0, min(wanted, _PASS_SECONDS / steps - seconds))


def malformed_rows(documents: StoredDocuments) -> Sequence[Trouble]:
    """That a request met a row of a view that cannot be read, within the last hour."""
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
    """That views differ from the ledger, where the check found that."""
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
