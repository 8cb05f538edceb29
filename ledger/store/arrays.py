"""Arrays as PostgreSQL's binary protocol has them, packed at once: quick for many elements."""

import struct
from collections.abc import Iterable
from typing import Any

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_TEXT, _BYTES, _UUID = 25, 17, 2950  # the types' numbers, which never change


class PackedArray:
    """One parameter of a statement."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content


def texts(values: Iterable[str | None]) -> PackedArray:
    """A ``text[]``."""
    return _packed(_TEXT, [None if value is None else value.encode() for value in values])


def blobs(values: Iterable[bytes]) -> PackedArray:
    """A ``bytea[]``."""
    return _packed(_BYTES, list(values))


def uuids(values: Iterable[bytes]) -> PackedArray:
    """A ``uuid[]``, each of 16 bytes."""
    return _packed(_UUID, list(values))


def register(connection: Connection[Any]) -> None:
    """Let the connection send packed arrays."""
    connection.adapters.register_dumper(PackedArray, _PackedDumper)


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: PackedArray) -> bytes:
        return obj.content


def _packed(element: int, values: list[bytes] | list[bytes | None]) -> PackedArray:
    length = _LENGTH.pack
    parts = [_HEADER.pack(1, int(None in values), element, len(values), 1)]
    for value in values:
        parts.append(_NULL if value is None else length(len(value)) + value)
    return PackedArray(b"".join(parts))
