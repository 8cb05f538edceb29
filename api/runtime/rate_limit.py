"""Bounds of requests and of open connections, of all request processes of a node together."""

import ipaddress
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

from rfc9457 import Problem

from api.runtime.counts import counts
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
        self._counts = counts()

    def count(self, key: str) -> bool:
        """Count one more. Returns whether it is still within the limit."""
        counted, until = self._counts.add(self._key(key), _WINDOW_SECONDS)
        self._note(counted, until - time.monotonic())
        return counted <= self._most

    def _key(self, key: str) -> str:
        return f"{self._name} {key}"

    def _note(self, counted: int, seconds: float) -> None:
        remaining, resets = max(0, self._most - counted), max(1, math.ceil(seconds))
        note(Standing(self._name, self._most, int(_WINDOW_SECONDS), remaining, resets))

    def is_met(self, key: str) -> bool:
        """Return whether the next request would be too many."""
        return self._counts.look(self._key(key))[0] >= self._most

    def seconds(self, key: str) -> int:
        """Return the seconds until counting begins anew."""
        return max(1, math.ceil(self._counts.look(self._key(key))[1] - time.monotonic()))

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


class OpenPlaces:
    """Open places of each key; ``most`` is the bound of a key."""

    def __init__(self, most: int, name: str) -> None:
        """Prepare the limit. ``name`` tells its keys from those of other limits."""
        self._most = most
        self._name = name
        self._counts = counts()

    def enter(self, key: str) -> bool:
        """Take a place. Returns whether there is one; else none is taken."""
        counted, _ = self._counts.add(f"{self._name} {key}")
        if counted > self._most:
            self.leave(key)
            return False
        return True

    def leave(self, key: str) -> None:
        """Give a place back."""
        self._counts.remove(f"{self._name} {key}")


class Places:
    """Open places: at most ``total``, and ``each`` of one agency.

    The last ``reserve`` places, half of all at most, are for oversight bodies and nodes alone: no
    number of other agencies keeps these from following the ledger.
    """

    def __init__(self, total: int, each: int, name: str, reserve: int = 0) -> None:
        """Prepare the limit. ``name`` tells its keys from those of other limits."""
        self._all = OpenPlaces(total, name)
        self._each = OpenPlaces(each, f"{name} of")
        self._others = OpenPlaces(total - min(reserve, total // 2), f"{name} of others")

    @contextmanager
    def taken(self, agency: Agency) -> Iterator[None]:
        """Take a place while the block runs. Raises a problem (429) where none is left."""
        needed = [(self._each, agency.id), (self._all, "")]
        if agency.role not in (OVERSIGHT, NODE):
            needed.append((self._others, ""))
        with ExitStack() as stack:
            for places, key in needed:
                if not places.enter(key):
                    raise problem(
                        STATUS,
                        TITLE,
                        "too-many-streams",
                        "Too many streams or waiting requests are open; end some, and then ask "
                        "again.",
                        {"Retry-After": "5"},
                    )
                stack.callback(places.leave, key)
            yield


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
