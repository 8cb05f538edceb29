"""Durations of requests, summed over the request processes of a node, for ``/metrics``."""

import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ledger.system.shared_area import SharedArea

_LABEL_BYTES = 256
_SEPARATOR = "\0"


class Durations(Protocol):
    """Takes the duration of each request."""

    def observe(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count one request."""


class SharedDurations(Collector):
    """A histogram for each method, route and status, in memory that processes share.

    Each process counts in numbers of its own. A process that is started in the place of a killed
    one goes on with its numbers, so that no count goes back.
    """

    def __init__(
        self, name: str, about: str, buckets: Sequence[float], processes: int, most: int = 2048
    ) -> None:
        self._name = name
        self._about = about
        self._buckets = [*buckets, float("inf")]
        self._processes = processes
        self._most = most
        self._each = len(self._buckets) + 1  # and the sum of seconds
        self._area = SharedArea(most * (_LABEL_BYTES + 8 * self._each * processes))
        self._labels = self._area.view[: most * _LABEL_BYTES]
        self._numbers = self._area.view[most * _LABEL_BYTES :].cast("d")
        self._slots: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()
        self._place = 0

    def begin(self, place: int) -> None:
        """Begin to count as the process of this place, from 0."""
        self._place = place
        self._lock = threading.Lock()
        self._area.keep_to_this_process()

    def observe(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count one request. Beyond ``most`` combinations of labels it is not counted."""
        labels = method, route, status
        slot = self._slots.get(labels)
        if slot is None and (slot := self._slot(labels)) is None:
            return
        bucket = next(n for n, most in enumerate(self._buckets) if seconds <= most)
        first = self._first(slot, self._place)
        with self._lock:
            self._numbers[first + bucket] += 1
            self._numbers[first + self._each - 1] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the sums over all processes."""
        family = HistogramMetricFamily(
            self._name, self._about, labels=("method", "route", "status")
        )
        for slot in range(self._most):
            label = self._label(slot)
            if not label:
                break
            sums = [
                sum(self._numbers[self._first(slot, p) + n] for p in range(self._processes))
                for n in range(self._each)
            ]
            names = [_upper(most) for most in self._buckets]
            counted = zip(names, accumulate(sums[:-1]), strict=True)
            family.add_metric(label.split(_SEPARATOR), list(counted), sums[-1])
        yield family

    def _first(self, slot: int, place: int) -> int:
        return (slot * self._processes + place) * self._each

    def _label(self, slot: int) -> str:
        content = bytes(self._labels[slot * _LABEL_BYTES : (slot + 1) * _LABEL_BYTES])
        return content.rstrip(b"\n").decode() if content[0] else ""

    def _slot(self, labels: tuple[str, str, str]) -> int | None:
        """Return the slot of the labels, which is theirs in every process."""
        text = _SEPARATOR.join(labels).encode()
        if len(text) > _LABEL_BYTES:
            return None
        with self._area.locked():
            for slot in range(self._most):
                known = self._label(slot)
                if not known:
                    content = text.ljust(_LABEL_BYTES, b"\n")
                    self._labels[slot * _LABEL_BYTES : (slot + 1) * _LABEL_BYTES] = content
                if not known or known == text.decode():
                    self._slots[labels] = slot
                    return slot
        return None


def _upper(most: float) -> str:
    return "+Inf" if most == float("inf") else str(most)
