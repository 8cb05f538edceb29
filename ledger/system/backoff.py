"""Pauses after failures: each about twice as long as the one before, up to a longest, with jitter.

Jitter keeps the clients of one server that was away from all asking again in the same moment.
"""

import random
from dataclasses import dataclass

_random = random.SystemRandom()  # processes that were forked share no state of it
_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """The length of the pause after a number of failures in a row."""

    first_seconds: float = 0.2
    longest_seconds: float = 5.0

    def seconds(self, failures: int) -> float:
        """Return the pause after a number of failures in a row, which is at least 1.

        It is random, between half of the bound and the bound.
        """
        doubled: float = self.first_seconds * 2 ** min(failures - 1, _DOUBLINGS)
        return min(self.longest_seconds, doubled) * _random.uniform(0.5, 1.0)


USUAL = Backoff()
