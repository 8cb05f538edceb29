"""The parties that left and still have duties here, which the ledger node still serves."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger.application import Ledger
from ledger.events.act import Act
from ledger.procedure.held_parts import PLACING_KIND, hold_acts, is_settling, regular_end
from ledger.procedure.protocol import Protocol

_KEPT_SECONDS = 5.0
"""For so long an answer counts: many requests of one node ask for it."""

_AT_ONCE = 200
"""So many cases are folded together."""


@dataclass(frozen=True, slots=True)
class _HeldCase:
    """A case with a hold, as far as the time of a party that left goes."""

    parties: tuple[str, ...]
    acts: tuple[Act, ...]
    """The placing and the lifting of its holds."""


class Settling:
    """Says whether a party that left has time to end its part in the cases."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._looked_upto = 0
        """The position up to which :attr:`_held` has what was recorded."""
        self._held: dict[UUID, _HeldCase] = {}
        """The cases in which a hold was ever placed."""
        self._answers: dict[str, tuple[float, bool]] = {}
        """The finding for a party, and its time, by ``time.monotonic()`` in seconds."""

    def has_time(self, party: str, protocol: Protocol, at: datetime) -> bool:
        """Return whether a party that left has time at the moment ``at`` to settle its duties.

        It has the protocol's days after its last day. It has more in a case with a legal hold, and
        so many days after the hold is lifted. A hold that is placed when its time is over gives it
        none again.
        """
        if at < regular_end(party, protocol):
            return True
        with self._lock:
            known = self._answers.get(party)
            if known is None or time.monotonic() - known[0] > _KEPT_SECONDS:
                known = time.monotonic(), self._is_kept_by_hold(party, protocol, at)
                self._answers[party] = known
        return known[1]

    def _is_kept_by_hold(self, party: str, protocol: Protocol, at: datetime) -> bool:
        self._read_new()
        return any(
            is_settling(case, case.acts, party, protocol, at) for case in self._held.values()
        )

    def _read_new(self) -> None:
        """Read the cases with a hold that are new here or changed since the last look.

        Every other case is as it was found, so a look costs what was recorded since.
        """
        upto = self._ledger.head()
        if upto < self._looked_upto:  # an older copy of the database was put here
            self._looked_upto, self._held = 0, {}
        after = self._looked_upto
        wanted = set(self._ledger.subjects_of_kinds((PLACING_KIND,), after=after, upto=upto))
        if self._held:
            wanted |= self._held.keys() & set(self._ledger.subjects_changed(after, upto))
        ids = sorted(wanted)
        for first in range(0, len(ids), _AT_ONCE):
            found = self._ledger.cases(ids[first : first + _AT_ONCE], keep=False)
            for case_id, case in found.items():
                acts = hold_acts(case.history.values(), case.annulled)
                self._held[case_id] = _HeldCase(case.state.parties, acts)
        self._looked_upto = upto
