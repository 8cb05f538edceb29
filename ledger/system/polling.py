"""Pauses between two looks at a condition that no notice tells of."""

import time

_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 0.5
_PART = 0.1
"""A pause is this part of the time that was waited: so the wait is at most a tenth too long."""


class Polling:
    """The pauses of one wait. They grow, so a long wait costs few looks.

    A pause is also at least as long as the look before it. So looking takes at most half of a core
    from the processes that bring the condition about.
    """

    def __init__(
        self, shortest: float = _SHORTEST_SECONDS, longest: float = _LONGEST_SECONDS
    ) -> None:
        """Begin a wait; both bounds are in seconds."""
        self._shortest = shortest
        self._longest = longest
        self._began = self._looked_at = time.monotonic()

    @property
    def waited(self) -> float:
        """Return the seconds since the wait began."""
        return time.monotonic() - self._began

    def next_pause(self) -> float:
        """Return the pause after a look that ends now, in seconds."""
        now = time.monotonic()
        pause = max(self._shortest, now - self._looked_at, _PART * (now - self._began))
        return min(pause, max(self._longest, self._shortest))

    def pause(self) -> None:
        """Sleep for :meth:`next_pause`. The next look begins when this returns."""
        time.sleep(self.next_pause())
        self._looked_at = time.monotonic()
