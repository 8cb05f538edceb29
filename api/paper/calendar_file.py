"""Days as a file for calendar programs: iCalendar (RFC 5545).

https://www.rfc-editor.org/rfc/rfc5545. An entry has a day and a text, and nothing else of a case.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

MEDIA_TYPE = "text/calendar; charset=utf-8"
_LINE_BYTES = 75
"""RFC 5545, section 3.1, without the line break."""
_ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """Something on a day. Its id stays, so that a program that reads it again changes its entry."""

    id: UUID
    day: date
    text: str


def calendar_file(entries: Iterable[CalendarEntry], name: str, now: datetime) -> bytes:
    """Return a calendar with an entry of a whole day for each of ``entries``."""
    return b"".join(line for text in _lines(entries, name, now) for line in _folded(text))


def _lines(entries: Iterable[CalendarEntry], name: str, now: datetime) -> Iterator[str]:
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//case-ledger//calendar 1//EN")
    yield from ("CALSCALE:GREGORIAN", "METHOD:PUBLISH", f"X-WR-CALNAME:{name.translate(_ESCAPED)}")
    for entry in entries:
        yield from (
            "BEGIN:VEVENT",
            f"UID:{entry.id}@case-ledger",
            f"DTSTAMP:{stamp}",
            f"DTSTART;VALUE=DATE:{entry.day:%Y%m%d}",
            f"DTEND;VALUE=DATE:{_following(entry.day):%Y%m%d}",
            f"SUMMARY:{entry.text.translate(_ESCAPED)}",
            "CLASS:CONFIDENTIAL",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        )
    yield "END:VCALENDAR"


def _following(day: date) -> date:
    return day + timedelta(days=1) if day < date.max else day


def _folded(text: str) -> Iterator[bytes]:
    """Yield a line with its breaks, in parts of at most 75 bytes, none within a character."""
    part, room = bytearray(), _LINE_BYTES
    for character in text:
        encoded = character.encode()
        if len(encoded) > room:
            yield bytes(part) + b"\r\n"
            part, room = bytearray(b" "), _LINE_BYTES - 1
        part += encoded
        room -= len(encoded)
    yield bytes(part) + b"\r\n"
