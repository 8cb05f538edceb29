"""The time zones that this machine's time zone database has (IANA)."""

import logging
import re
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_log = logging.getLogger(__name__)
_MOST = 256
"""So many zones are kept in memory. All texts of a ledger together name fewer."""
_AREA_NAME = re.compile(
    r"UTC|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)"
    r"(/[A-Za-z0-9_+-]+){1,2}"
)


def is_area_name(name: str) -> bool:
    """Return whether a name is ``UTC`` or the name of a place, such as ``Europe/Podgorica``.

    Other names mean different times on different machines: ``localtime`` is the machine's own, and
    only some databases have ``right/…`` and ``posix/…``.
    """
    return _AREA_NAME.fullmatch(name) is not None


def find_zone(name: str) -> ZoneInfo | None:
    """Return a time zone by its IANA name, or ``None`` if this machine does not have it.

    A name without a zone is not kept: anyone can send such names.
    """
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_or_utc(name: str) -> tzinfo:
    """Return a time zone by its IANA name. If this machine lacks it: UTC, with one warning."""
    zone = find_zone(name)
    if zone is None:
        _warn(name)
        return UTC
    return zone


def is_known_zone(name: str) -> bool:
    """Return whether this machine has a time zone."""
    return find_zone(name) is not None


@lru_cache(maxsize=_MOST)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=_MOST)
def _warn(name: str) -> None:
    """Write one warning for a name."""
    _log.warning("this machine lacks the time zone %s, and takes UTC: update tzdata", name)
