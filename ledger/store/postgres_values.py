"""Single values in PostgreSQL's binary form: written for statements, and read from rows."""

import struct
from datetime import UTC, datetime, timedelta

_BIGINT = struct.Struct(">q")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def bigint(number: int) -> bytes:
    """Return ``bigint`` in binary form."""
    return _BIGINT.pack(number)


def boolean(holds: bool) -> bytes:
    """Return ``boolean`` in binary form."""
    return b"\x01" if holds else b"\x00"


def moment(time: datetime) -> bytes:
    """Return ``timestamptz`` in binary form."""
    return _BIGINT.pack((time - _EPOCH) // _MICROSECOND)


def read_bigint(value: bytes | None) -> int:
    """Return the number that a column of type ``bigint`` has."""
    found: int = _BIGINT.unpack(value or b"")[0]
    return found


def read_boolean(value: bytes | None) -> bool:
    """Return whether a column of type ``boolean`` is true."""
    return value == b"\x01"


def read_moment(value: bytes | None) -> datetime:
    """Return the time that a column of type ``timestamptz`` has."""
    return _EPOCH + timedelta(microseconds=read_bigint(value))
