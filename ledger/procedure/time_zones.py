"""A party's local time, and the deadlines that count by it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ledger.procedure.protocol import Protocol
from ledger.system.zones import offsets_digest, zone_or_utc

_DEFAULTS: Mapping[str, str] = {
    "AL": "Europe/Tirane",
    "ME": "Europe/Podgorica",
    "XK": "Europe/Belgrade",
}
"""For ledgers whose parties adopted a text before texts named time zones.

The database has no zone of Kosovo; it keeps the time of this one."""


AGREED_DAYS_SINCE = 2
"""From this edition on, days of the agreement begin at the parties' local midnight."""


def zone_of(protocol: Protocol | None, party: str | None) -> tzinfo:
    """Return the time zone of a party; UTC for a party without one, and without a party.

    It is UTC too if this machine's database lacks the recorded zone; the log then has a warning.
    """
    name = None if protocol is None or party is None else zone_name(protocol, party)
    return UTC if name is None else zone_or_utc(name)


def zone_name(protocol: Protocol, party: str) -> str | None:
    """Return the name of a party's time zone; ``None`` for a party without one."""
    for one in protocol.parties:
        if one.code == party:
            return one.time_zone or _DEFAULTS.get(party)
    return None


def zones_digest(protocol: Protocol) -> str:
    """Return a digest of this machine's rules of all zones that a protocol has."""
    names = {zone_name(protocol, party) for party in protocol.every_party_code}
    return offsets_digest(tuple(sorted(name for name in names if name is not None)))


def zone_of_days(protocol: Protocol | None, party: str | None) -> tzinfo:
    """Return the zone by which a party's days count: UTC unless the protocol counts local days."""
    counts_local = protocol is not None and protocol.counts_local_days
    return zone_of(protocol, party if counts_local else None)


def offset(local: datetime) -> str:
    """Return the offset of a local time from UTC, e.g. ``UTC+1``, ``UTC+5:45`` or ``UTC``."""
    seconds = int((local.utcoffset() or timedelta()).total_seconds())
    if seconds == 0:
        return "UTC"
    sign, minutes = "+" if seconds > 0 else "-", abs(seconds) // 60
    rest = f":{minutes % 60:02}" if minutes % 60 else ""
    return f"UTC{sign}{minutes // 60}{rest}"


def beginning_of_day(moment: datetime, zone: tzinfo) -> datetime:
    """Return when the local day of a moment began, in UTC."""
    return datetime.combine(moment.astimezone(zone).date(), time(), zone).astimezone(UTC)


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """Return the last second of a day at local time, in UTC.

    Where clocks change around midnight, 23:59:59 may come twice on that day, or not at all: the
    result is the second before the next day begins for good.
    """
    if day == date.max:
        return datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC)
    next_day = datetime.combine(day + timedelta(days=1), time(), zone)
    before = [next_day.replace(fold=fold).astimezone(UTC) - timedelta(seconds=1) for fold in (0, 1)]
    # A midnight that comes twice counts only where the second before it is of the day that ends.
    of_the_day = (moment for moment in before if moment.astimezone(zone).date() == day)
    return max(of_the_day, default=before[0])


def day_begins(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins at local time, in UTC."""
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:  # east of UTC the first day of all begins in the year before it
        return datetime.min.replace(tzinfo=UTC)


def agreed_day_begins(day: date, protocol: Protocol, parties: Iterable[str]) -> datetime:
    """Return when a day of the agreement begins for some of its parties, in UTC.

    It begins once it has begun at the local time of each of them. The zones are data of the text,
    so that every node computes the same time. By edition 1 of the rules it begins at midnight UTC.
    """
    zones: set[tzinfo] = {UTC}
    if protocol.edition >= AGREED_DAYS_SINCE:
        zones = {zone_of(protocol, party) for party in parties}
    return max(day_begins(day, zone) for zone in zones)


def left_since(protocol: Protocol, party: str) -> datetime:
    """Return since when a party that left is none any more. Raises ``KeyError`` for another."""
    return agreed_day_begins(protocol.left_parties[party], protocol, (party,))


def end_of_local_day(since: datetime, days: int, zones: Iterable[tzinfo]) -> datetime:
    """Return the end of the local day that is ``days`` days after ``since``, in UTC.

    Of several zones, the one whose day ends last counts. Raises ``OverflowError`` beyond the last
    possible day.
    """
    return max(
        end_of_day(since.astimezone(zone).date() + timedelta(days=days), zone) for zone in zones
    )
