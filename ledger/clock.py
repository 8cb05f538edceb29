"""The one clock that the program's own decisions are taken by."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time by this machine's clock, in UTC.

    The clock may jump. Where it decides something, call it as ``clock.now()``, so that a test can
    set it. Measure how long something lasts with ``time.monotonic()``, which never jumps.
    """
    return datetime.now(UTC)
