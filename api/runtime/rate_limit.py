"""Bounds of requests and of open connections, counted in this process alone."""

import ipaddress
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from rfc9457 import Problem

from api.runtime.problem import problem
from api.runtime.rate_limit_fields import Standing, note
from ledger.procedure.protocol import NODE, OVERSIGHT, Agency

STATUS = 429
_WINDOW_SECONDS = 60.0
TITLE = "Too much at once"


class Rate:
    """At most so many of each key in a minute, which begins with the first."""

    def __init__(self, per_minute: int, name: str) -> None:
        """Prepare the limit. ``name`` is its name in the answers' fields ``RateLimit``."""
        self._most = per_minute
        self._name = name
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._over_at: dict[str, float] = {}
        self._look_again = 0.0

    def count(self, key: str) -> bool:
        """Count one more. Returns whether it is still within the limit."""
        now = time.monotonic()
        with self._lock:
            if now >= self._over_at.get(key, 0.0):
                self._forget(now)
                self._over_at[key] = now + _WINDOW_SECONDS
                self._counts[key] = 0
            self._counts[key] += 1
            counted, over_at = self._counts[key], self._over_at[key]
        self._note(counted, over_at - now)
        return counted <= self._most

    def _note(self, counted: int, seconds: float) -> None:
        remaining, resets = max(0, self._most - counted), max(1, math.ceil(seconds))
        note(Standing(self._name, self._most, int(_WINDOW_SECONDS), remaining, resets))

    def is_met(self, key: str) -> bool:
        """Return whether the next request would be too many."""
        with self._lock:
            if time.monotonic() >= self._over_at.get(key, 0.0):
                return False
            return self._counts[key] >= self._most

    def seconds(self, key: str) -> int:
        """Return the seconds until counting begins anew."""
        with self._lock:
            return max(1, math.ceil(self._over_at.get(key, 0.0) - time.monotonic()))

    def _forget(self, now: float) -> None:
        """Forget, once a minute, the addresses that did not ask again, to free their memory."""
        if now < self._look_again:
            return
        self._look_again = now + _WINDOW_SECONDS
        for key in [key for key, over_at in self._over_at.items() if over_at <= now]:
            del self._over_at[key], self._counts[key]

    def check(self, key: str) -> None:
        """Count one more. Raises a problem (429) where it is past the limit."""
        if not self.count(key):
            raise self.too_many(key)

    def too_many(self, key: str) -> Problem:
        """Return the problem that answers too many requests."""
        wait = self.seconds(key)
        self._note(self._most, wait)
        return problem(
            STATUS,
            TITLE,
            "too-many-requests",
            f"Ask again in {wait} seconds, and less often.",
            {"Retry-After": str(wait)},
        )


class Places:
    """Open places: at most ``total``, and ``each`` of one agency.

    The last ``reserve`` places, half of all at most, are for oversight bodies and nodes alone: no
    number of other agencies keeps these from following the ledger.
    It is used from the event loop alone, so that nothing needs a lock.
    """

    def __init__(self, total: int, each: int, reserve: int = 0) -> None:
        self._total = total
        self._each = each
        self._reserve = min(reserve, total // 2)
        self._taken: Counter[str] = Counter()
        self._taken_by_others = 0

    @contextmanager
    def taken(self, agency: Agency) -> Iterator[None]:
        """Take a place while the block runs. Raises a problem (429) where none is left."""
        is_other = agency.role not in (OVERSIGHT, NODE)
        if (
            self._taken[agency.id] >= self._each
            or self._taken.total() >= self._total
            or (is_other and self._taken_by_others >= self._total - self._reserve)
        ):
            raise problem(
                STATUS,
                TITLE,
                "too-many-streams",
                "Too many streams or waiting requests are open; end some, and then ask again.",
                {"Retry-After": "5"},
            )
        self._taken[agency.id] += 1
        self._taken_by_others += is_other
        try:
            yield
        finally:
            self._taken_by_others -= is_other
            self._taken[agency.id] -= 1
            if not self._taken[agency.id]:
                del self._taken[agency.id]


def asking_network(scope: Mapping[str, Any]) -> str:
    """Return the network that an ASGI request comes from, as :func:`network` names it."""
    client = scope.get("client")
    return network(client[0] if client else "")


@lru_cache(maxsize=1024)
def network(address: str) -> str:
    """Return the network that an address is counted as.

    It is a whole /64 of IPv6, which one machine has to itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
