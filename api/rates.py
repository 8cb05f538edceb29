"""How often one may ask, and how much one may keep open: counted in this process alone."""

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from rfc9457 import Problem

from api.problems import problem

STATUS = 429
_TITLE = "Too much at once"


class Rate:
    """At most so many of each key in a minute."""

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._window = FixedWindowRateLimiter(MemoryStorage())

    def count(self, key: str) -> bool:
        """Count one more. Returns whether it is still within the limit."""
        return self._window.hit(self._limit, key)

    def is_met(self, key: str) -> bool:
        """Whether the next one would be too many."""
        return not self._window.test(self._limit, key)

    def seconds(self, key: str) -> int:
        """After how many seconds counting begins anew."""
        resets_at = self._window.get_window_stats(self._limit, key).reset_time
        return max(1, math.ceil(resets_at - time.time()))

    def too_many(self, key: str) -> Problem:
        """The problem to answer with."""
        wait = self.seconds(key)
        return problem(
            STATUS,
            _TITLE,
            "too-many-requests",
            f"Ask again in {wait} seconds, and less often.",
            {"Retry-After": str(wait)},
        )


class Places:
    """What is open at the same time: at most ``total``, and ``each`` of one agency.

    It is used from the event loop alone, so that nothing needs a lock.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, agency: str) -> Iterator[None]:
        """Take a place while the block runs. Raises a problem (429) where none is left."""
        if self._taken[agency] >= self._each or self._taken.total() >= self._total:
            raise problem(
                STATUS,
                _TITLE,
                "too-many-streams",
                "Too many streams or waiting requests are open; end some, and then ask again.",
                {"Retry-After": "5"},
            )
        self._taken[agency] += 1
        try:
            yield
        finally:
            self._taken[agency] -= 1
            if not self._taken[agency]:
                del self._taken[agency]


def network(address: str) -> str:
    """What an address is counted as: a whole /64 of IPv6, which one machine has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
