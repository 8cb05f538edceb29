"""The way back for a country whose coordinator lost every key: the other parties register one.

Nobody in that country can register keys any more. So the coordinator of every other party signs a
key for it. The key counts only ``GRACE`` after the first of them did. In that time the coordinator,
should it have a key after all, ends the attempt by any act on the protocol that it signs. Times are
those that are stored with the events.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ledger.vocabulary.registration import KeyGrant

GRACE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class KeyRecovery:
    """A key for a coordinator that other parties propose. It has no effect yet."""

    grant: KeyGrant
    """As the first of them signed it."""
    since: datetime
    """The recorded time of the first signature."""
    parties: frozenset[str]
    """The parties whose coordinators signed it."""

    def with_word_of(self, party: str) -> "KeyRecovery":
        return replace(self, parties=self.parties | {party})

    def counts(self, others: frozenset[str], recorded_at: datetime) -> bool:
        """Return whether every other party signed, so that an act at this time completes it."""
        return self.parties >= others and recorded_at >= self.since + GRACE
