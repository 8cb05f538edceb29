"""The time zones that this machine's time zone database has (IANA)."""

import logging
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_log = logging.getLogger(__name__)
_COMPARED_FROM, _COMPARED_UNTIL = datetime(2025, 1, 1, tzinfo=UTC), datetime(2045, 1, 1, tzinfo=UTC)
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


@lru_cache(maxsize=8)
def offsets_digest(names: tuple[str, ...]) -> str:
    """Return a digest of the offsets from UTC that this machine has for some zones, in 16 digits.

    Two machines with the same digest compute the same local days of these zones from 2025 to 2044.
    Other databases may have other releases all the same: only the offsets count. It takes about
    50 ms for three zones, once for each set of names.
    """
    digest = sha256()
    for name in names:
        zone = find_zone(name)
        digest.update(f"{name}={'' if zone is None else _offsets(zone)};".encode())
    return digest.hexdigest()[:16]


def _offsets(zone: tzinfo) -> str:
    """Return each change of a zone's offset, to a day, with the offset in seconds."""
    told, before = [], None
    for step in range((_COMPARED_UNTIL - _COMPARED_FROM).days):
        moment = _COMPARED_FROM + timedelta(days=step)
        offset = moment.astimezone(zone).utcoffset()
        if offset != before:
            told.append(f"{step}:{0 if offset is None else int(offset.total_seconds())}")
            before = offset
    return ",".join(told)


@lru_cache(maxsize=_MOST)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=_MOST)
def _warn(name: str) -> None:
    """Write one warning for a name."""
    _log.warning("this machine lacks the time zone %s, and takes UTC: update tzdata", name)
