"""The time zones that this machine's time zone database has (IANA)."""

from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@cache
def find_zone(name: str) -> ZoneInfo | None:
    """Return a time zone by its IANA name, or ``None`` if this machine does not have it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_known_zone(name: str) -> bool:
    """Return whether this machine has a time zone."""
    return find_zone(name) is not None
