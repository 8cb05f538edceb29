"""Arrays in PostgreSQL's binary form, packed at once.

The driver finds out the type of each list by looking at its elements, every time; for groups of a
few rows that costs more than the rows do.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")  # dimensions, nulls, element type, length, lower bound
_EMPTY = struct.Struct(">iiI")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_BIGINT = struct.Struct(">q")


class Uuids(list[UUID]):
    """``uuid[]``."""


class Bigints(list[int]):
    """``bigint[]``."""


class Texts(list[str | None]):
    """``text[]``, in which ``None`` is NULL."""


class Byteas(list[bytes]):
    """``bytea[]``."""


class Booleans(list[bool]):
    """``boolean[]``."""


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element: ClassVar[int]

    def encoded(self, items: Any) -> Sequence[bytes | None]:
        raise NotImplementedError

    def dump(self, obj: Any) -> Buffer:
        if not obj:
            return _EMPTY.pack(0, 0, self.element)
        encoded = self.encoded(obj)
        parts = [_HEADER.pack(1, int(None in encoded), self.element, len(encoded), 1)]
        for item in encoded:
            if item is None:
                parts.append(_NULL)
            else:
                parts += (_LENGTH.pack(len(item)), item)
        return b"".join(parts)


class _UuidsDumper(_ArrayDumper):
    element, oid = 2950, 2951

    def encoded(self, items: Iterable[UUID]) -> Sequence[bytes]:
        return [item.bytes for item in items]


class _BigintsDumper(_ArrayDumper):
    element, oid = 20, 1016

    def encoded(self, items: Iterable[int]) -> Sequence[bytes]:
        return [_BIGINT.pack(item) for item in items]


class _TextsDumper(_ArrayDumper):
    element, oid = 25, 1009

    def encoded(self, items: Iterable[str | None]) -> Sequence[bytes | None]:
        return [None if item is None else item.encode() for item in items]


class _ByteasDumper(_ArrayDumper):
    element, oid = 17, 1001

    def encoded(self, items: Sequence[bytes]) -> Sequence[bytes]:
        return items


class _BooleansDumper(_ArrayDumper):
    element, oid = 16, 1000

    def encoded(self, items: Iterable[bool]) -> Sequence[bytes]:
        return [b"\x01" if item else b"\x00" for item in items]


for _kind, _dumper in (
    (Uuids, _UuidsDumper),
    (Bigints, _BigintsDumper),
    (Texts, _TextsDumper),
    (Byteas, _ByteasDumper),
    (Booleans, _BooleansDumper),
):
    psycopg.adapters.register_dumper(_kind, _dumper)
