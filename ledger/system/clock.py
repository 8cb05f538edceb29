"""The one clock that the program's own decisions are taken by."""

import time
from datetime import UTC, datetime

# Linux counts on while the machine is suspended; elsewhere there is only the monotonic clock.
_SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    """Return the time by this machine's clock, in UTC.

    The clock may jump. Where it decides something, call it as ``clock.now()``, so that a test can
    set it. Measure how long something lasts with ``time.monotonic()``, which never jumps.
    """
    return datetime.now(UTC)


def count() -> float:
    """Return the seconds since the machine started: they never jump, and go on in suspension."""
    return time.clock_gettime(_SINCE_START)
