"""Ends what is kept for a time that the operator sets, and that nothing else ends.

These are the first entries of access logs, the names of members who left, the changes of members,
links of invitations that are over, keys that browsers made and no coordinator registered, and marks
of what was read. What can never be made again ends only once witnesses have cosigned for days at
later times: this node's own clock decides nothing of that.
``case-ledger privacy retention`` has the whole table.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from api.authentication.members import Manager, Members
from api.runtime.readiness import Check
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.log.cosigned_times import CosignedTimes
from ledger.procedure.protocol import NODE
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vaults

_EVERY_SECONDS = 3600.0
_BEHIND = timedelta(days=14)
"""The time from the end of a period until its data ends for good: witnesses cosigned that end."""
_COSIGNED_FOR = timedelta(days=3)
_END_CHANGES = "DELETE FROM access.member_changes WHERE at < %(before)s"
_END_INVITATIONS = "DELETE FROM access.invitations WHERE expires_at < %(before)s"
_END_KEY_REQUESTS = "DELETE FROM access.key_requests WHERE asked_at < %(before)s"
# What came before the moment counts as read from then on, so that no mark of it is needed.
_READ_UPTO = """
INSERT INTO desk.read_upto AS u (agency, member, position, action_id)
SELECT m.agency, m.member, e.notification_id, e.action_id
FROM (SELECT DISTINCT agency, member FROM desk.read_marks WHERE read_at < %(before)s) m,
    (SELECT notification_id, action_id FROM ledger.events WHERE recorded_at < %(before)s
        ORDER BY notification_id DESC LIMIT 1) e
ON CONFLICT (agency, member) DO UPDATE
SET position = EXCLUDED.position, action_id = EXCLUDED.action_id
WHERE u.position < EXCLUDED.position
"""
_END_READ_MARKS = """
DELETE FROM desk.read_marks m WHERE m.read_at < %(before)s
AND EXISTS (SELECT FROM ledger.events e JOIN desk.read_upto u ON e.notification_id <= u.position
    WHERE e.action_id = m.action_id AND u.agency = m.agency AND u.member = m.member)
"""
_log = structlog.get_logger(__name__)


class Endings(PeriodicWorker):
    """One thread, which looks every hour."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        members: Members,
        database: Database,
        settings: Settings,
        cosigned_times: Callable[[], CosignedTimes],
        troubles: Check = tuple,
    ) -> None:
        """Prepare the job. Nothing ends while ``troubles`` finds a trouble of the clock."""
        self._cosigned_times = cosigned_times
        self._ledger = ledger
        self._vaults = vaults
        self._members = members
        self._database = database
        self._settings = settings
        self._troubles = troubles
        super().__init__("end", self._step, every=_EVERY_SECONDS, backoff=Backoff(1.0, 60.0))

    def _step(self) -> None:
        for what, number in self.end().items():
            if number:
                _log.info("what was kept long enough is ended", what=what, rows=number)

    def end(self) -> Mapping[str, int]:
        """End what is over its time, and return how many of each kind."""
        if self._troubles():
            return {}
        settings, now = self._settings, clock.now()
        return {
            **self._end_for_good(now - _BEHIND),
            "links of invitations": self._run(_END_INVITATIONS, now),
            "asked keys": self._run(_END_KEY_REQUESTS, _before(now, settings.key_request_days)),
            "read marks": self._end_marks(_before(now, settings.read_mark_days)),
        }

    def _end_for_good(self, now: datetime) -> Mapping[str, int]:
        """End what is over its time by ``now``, if the witnesses too have been after ``now``.

        A clock that is years ahead would end everything at once. It has to be wrong for days, and
        those of the witnesses with it.
        """
        if not self._cosigned_times().have_been_after(now, _COSIGNED_FOR):
            return {}
        settings = self._settings
        return {
            "entries of access logs": self._end_readings(_before(now, settings.access_log_days)),
            "names of members": self._end_names(_before(now, settings.member_name_days)),
            "changes of members": self._run(_END_CHANGES, _before(now, settings.access_log_days)),
        }

    def _end_readings(self, before: datetime) -> int:
        """End entries that the ledger has fixed, so that an export can prove what they were."""
        registry = self._ledger.registry()
        fixed = registry.readings if registry is not None else {}
        return sum(
            vault.readings.end(before, fixed[vault.party].entries)
            for vault in self._vaults
            if vault.party in fixed
        )

    def _end_names(self, before: datetime) -> int:
        left = self._members.left_before(before)
        for member in left:
            self._members.erase(member, Manager(self._node_of(member.party), None))
        return len(left)

    def _node_of(self, party: str) -> str:
        """Return the agency that is a country's node, by which the change is noted."""
        registry = self._ledger.registry()
        agencies = registry.directory.agencies if registry is not None else ()
        return next((a.id for a in agencies if (a.party, a.role) == (party, NODE)), NODE)

    def _end_marks(self, before: datetime) -> int:
        with self._database.transaction() as connection:
            connection.execute(_READ_UPTO, {"before": before})
            return connection.execute(_END_READ_MARKS, {"before": before}).rowcount

    def _run(self, statement: str, before: datetime) -> int:
        with self._database.connection() as connection:
            return connection.execute(statement, {"before": before}).rowcount


def _before(now: datetime, days: int) -> datetime:
    return now - timedelta(days=days)
