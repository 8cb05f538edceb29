"""Which parties that left still have duties here, and so are still served by the ledger node."""

import threading
import time
from datetime import datetime
from uuid import UUID

from ledger.application import Ledger
from ledger.procedure.held_parts import PLACING_KIND, is_settling, regular_end
from ledger.procedure.protocol import Protocol

_KEPT_SECONDS = 5.0
"""For so long an answer counts: many requests of one node ask for it."""


class Settling:
    """Says whether a party that left has time to end its part in the cases."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._looked_upto = 0
        """Up to which position the cases with a hold were looked for."""
        self._held: set[UUID] = set()
        """The cases in which a hold was ever placed."""
        self._answers: dict[str, tuple[float, bool]] = {}
        """What was found for a party, and when, by ``time.monotonic()`` in seconds."""

    def has_time(self, party: str, protocol: Protocol, at: datetime) -> bool:
        """Return whether a party that left has time at the moment ``at`` to settle its duties.

        It has the protocol's days after its last day. It has more in a case with a legal hold, and
        so many days after the hold is lifted.
        """
        if at < regular_end(protocol.left_parties[party], protocol):
            return True
        with self._lock:
            known = self._answers.get(party)
            if known is None or time.monotonic() - known[0] > _KEPT_SECONDS:
                known = time.monotonic(), self._is_kept_by_hold(party, protocol, at)
                self._answers[party] = known
        return known[1]

    def _is_kept_by_hold(self, party: str, protocol: Protocol, at: datetime) -> bool:
        upto = self._ledger.head()
        if upto < self._looked_upto:  # an older copy of the database was put here
            self._looked_upto, self._held = 0, set()
        self._held |= set(
            self._ledger.subjects_of_kinds((PLACING_KIND,), after=self._looked_upto, upto=upto)
        )
        self._looked_upto = upto
        cases = self._ledger.cases(self._held, keep=False)
        return any(
            is_settling(case.state, case.history.values(), party, protocol, at)
            for case in cases.values()
        )
