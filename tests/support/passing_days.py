"""Days that pass on every machine of a test at once: its clocks, counts of seconds and databases.

The nodes run in the test's own process. Each clock that a node compares with another moves by the
same time, as if the days had passed: nothing of the node's watch of its clock is switched off.
"""

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from types import SimpleNamespace

import pytest
import uvicorn.server

from api.client import connection
from api.client.assertion import make_assertion
from ledger.system import clock
from tests.support.jumping import DatabaseClock


class PassingDays:
    """The time of all machines. ``databases`` have the clocks of the nodes' databases."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *databases: DatabaseClock) -> None:
        self._databases = databases
        self._ahead = timedelta()
        monkeypatch.setattr(clock, "now", self.now)
        # The count of seconds since the machine started, which the watch holds its clock against.
        monkeypatch.setattr(clock, "time", SimpleNamespace(clock_gettime=self._counted))
        # The time that a node's answers name, by which other nodes judge their own clocks.
        monkeypatch.setattr(uvicorn.server, "formatdate", self._date)
        monkeypatch.setattr(
            connection,
            "make_assertion",
            lambda agency, key, audience: make_assertion(agency, key, audience, self.now()),
        )

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def go_to(self, moment: datetime) -> None:
        """Let the time pass until a moment. Time does not go back."""
        ahead = moment - datetime.now(UTC)
        assert ahead > self._ahead
        self._ahead = ahead
        for database in self._databases:
            database.set(ahead)

    def _counted(self, which: int) -> float:
        return time.clock_gettime(which) + self._ahead.total_seconds()

    def _date(self, seconds: float, *, usegmt: bool) -> str:
        return formatdate(seconds + self._ahead.total_seconds(), usegmt=usegmt)
