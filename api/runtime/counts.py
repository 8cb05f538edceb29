"""Counts of requests and of open places, by key: in one process, or of all request processes.

The request processes of a node are forked from one process, so they share memory. A limit holds for
all of them together, whichever of them a client's connection comes to.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from ledger.system.shared_area import SharedArea

FOREVER = float("inf")
_FORGET_SECONDS = 60.0


class Counts(Protocol):
    """Counts by key. A count has an end, after which it is zero again; that of places has none."""

    def add(self, key: str, seconds: float = FOREVER) -> tuple[int, float]:
        """Count one more; return the count and its end by the monotonic clock.

        A count that was zero ends after so many ``seconds``.
        """

    def remove(self, key: str) -> None:
        """Count one less: a place that this process took is free again."""

    def look(self, key: str) -> tuple[int, float]:
        """Return the count and its end."""


class LocalCounts:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}
        self._look_again = 0.0

    def add(self, key: str, seconds: float = FOREVER) -> tuple[int, float]:
        """Count as :meth:`Counts.add` does."""
        now = time.monotonic()
        with self._lock:
            found = self._counts.get(key)
            if found is None or now >= found[1]:
                self._forget(now)
                found = 0, now + seconds
            counted = self._counts[key] = found[0] + 1, found[1]
            return counted

    def remove(self, key: str) -> None:
        """Count one less."""
        with self._lock:
            count, until = self._counts[key]
            if count > 1:
                self._counts[key] = count - 1, until
            else:
                del self._counts[key]

    def look(self, key: str) -> tuple[int, float]:
        """Return the count and its end."""
        with self._lock:
            found = self._counts.get(key)
        return (0, 0.0) if found is None or time.monotonic() >= found[1] else found

    def _forget(self, now: float) -> None:
        """Forget, once a minute, the keys that did not ask again, to free their memory."""
        if now < self._look_again:
            return
        self._look_again = now + _FORGET_SECONDS
        for key in [key for key, (_, until) in self._counts.items() if until <= now]:
            del self._counts[key]


_KEY_BYTES = 16
_PROBES = 32
"""So many neighbouring slots can hold a key."""


class SharedCounts:
    """Counts of all request processes of a node, in memory that they share.

    A slot has the digest of a key, the count's end, and a number for each process. A process that
    is killed leaves its numbers; the process that is started in its place clears those without an
    end. The digest is keyed, so that no client can choose keys that fall into the same slots.
    """

    def __init__(self, processes: int, *, slots: int = 1 << 15) -> None:
        self._processes = processes
        self._slots = slots
        self._secret = secrets.token_bytes(_KEY_BYTES)
        self._area = SharedArea(slots * (_KEY_BYTES + 8 + 4 * processes))
        view = self._area.view
        keys, ends = slots * _KEY_BYTES, slots * (_KEY_BYTES + 8)
        self._keys = view[:keys]
        self._ends = view[keys:ends].cast("d")
        self._numbers = view[ends:].cast("I")
        self._place = 0

    def begin(self, place: int) -> None:
        """Begin to count as the process of this place, from 0; nothing of it is open yet."""
        self._place = place
        self._area.keep_to_this_process()
        with self._area.locked():
            for slot in range(self._slots):
                if self._ends[slot] == FOREVER:
                    self._numbers[slot * self._processes + place] = 0

    def add(self, key: str, seconds: float = FOREVER) -> tuple[int, float]:
        """Count as :meth:`Counts.add` does."""
        digest, now = self._digest(key), time.monotonic()
        with self._area.locked():
            slot = self._find(digest)
            if slot is None:
                slot = self._free(digest, now)
                self._begin_slot(slot, digest, now + seconds)
            elif now >= self._ends[slot] or (seconds == FOREVER and not self._total(slot)):
                self._begin_slot(slot, digest, now + seconds)
            self._numbers[slot * self._processes + self._place] += 1
            return self._total(slot), self._ends[slot]

    def remove(self, key: str) -> None:
        """Count one less."""
        digest = self._digest(key)
        with self._area.locked():
            slot = self._find(digest)
            own = None if slot is None else slot * self._processes + self._place
            if own is not None and self._numbers[own]:
                self._numbers[own] -= 1

    def look(self, key: str) -> tuple[int, float]:
        """Return the count and its end."""
        digest, now = self._digest(key), time.monotonic()
        with self._area.locked():
            slot = self._find(digest)
            if slot is None or now >= self._ends[slot]:
                return 0, 0.0
            return self._total(slot), self._ends[slot]

    def _digest(self, key: str) -> bytes:
        return blake2b(key.encode(), digest_size=_KEY_BYTES, key=self._secret).digest()

    def _near(self, digest: bytes) -> range:
        start = int.from_bytes(digest[:4]) % (self._slots - _PROBES)
        return range(start, start + _PROBES)

    def _find(self, digest: bytes) -> int | None:
        start = self._near(digest).start
        near = bytes(self._keys[start * _KEY_BYTES : (start + _PROBES) * _KEY_BYTES])
        at = near.find(digest)
        while at >= 0 and at % _KEY_BYTES:
            at = near.find(digest, at + 1)
        return None if at < 0 else start + at // _KEY_BYTES

    def _free(self, digest: bytes, now: float) -> int:
        """Return a slot for a new key: a free one, or else the one with the smallest count.

        A place that is open keeps its slot, unless all slots near it are such.
        """
        best, least = self._near(digest).start, FOREVER
        for slot in self._near(digest):
            total, end = self._total(slot), self._ends[slot]
            if not total or now >= end:
                return slot
            if end != FOREVER and total < least:
                best, least = slot, total
        return best

    def _begin_slot(self, slot: int, digest: bytes, end: float) -> None:
        first = slot * self._processes
        for number in range(first, first + self._processes):
            self._numbers[number] = 0
        self._ends[slot] = end
        self._keys[slot * _KEY_BYTES : (slot + 1) * _KEY_BYTES] = digest

    def _total(self, slot: int) -> int:
        first = slot * self._processes
        return sum(self._numbers[first : first + self._processes])


@dataclass(slots=True)
class _Counting:
    """The counts that this process uses: its own, or those that it shares."""

    make: Callable[[], Counts] = field(default=LocalCounts)
    processes: int = 1


_counting = _Counting()


def counts() -> Counts:
    """Return the counts that limits of this process use; keys name their limit too."""
    return _counting.make()


def processes() -> int:
    """Return the number of request processes that share their limits with this one."""
    return _counting.processes


def share(shared: SharedCounts, number: int) -> None:
    """Use shared counts for all limits that are made in this process from now on."""
    _counting.make, _counting.processes = (lambda: shared), number
