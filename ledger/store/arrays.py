"""Arrays in PostgreSQL's binary form, packed at once.

The driver finds out the type of each list by looking at its elements, every time; for groups of a
few rows that costs more than the rows do.
"""

import struct
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">IIIII")  # dimensions, nulls, element type, length, lower bound
_EMPTY = struct.Struct(">III")
_LENGTH = struct.Struct(">I")
_BIGINT = struct.Struct(">q")


class Uuids(list[UUID]):
    """``uuid[]``."""


class Bigints(list[int]):
    """``bigint[]``."""


class Texts(list[str]):
    """``text[]``."""


class Byteas(list[bytes]):
    """``bytea[]``."""


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element: ClassVar[int]

    def encoded(self, items: Any) -> Iterable[bytes]:
        raise NotImplementedError

    def dump(self, obj: Any) -> Buffer:
        if not obj:
            return _EMPTY.pack(0, 0, self.element)
        parts = [_HEADER.pack(1, 0, self.element, len(obj), 1)]
        for item in self.encoded(obj):
            parts += (_LENGTH.pack(len(item)), item)
        return b"".join(parts)


class _UuidsDumper(_ArrayDumper):
    element, oid = 2950, 2951

    def encoded(self, items: Iterable[UUID]) -> Iterable[bytes]:
        return [item.bytes for item in items]


class _BigintsDumper(_ArrayDumper):
    element, oid = 20, 1016

    def encoded(self, items: Iterable[int]) -> Iterable[bytes]:
        return [_BIGINT.pack(item) for item in items]


class _TextsDumper(_ArrayDumper):
    element, oid = 25, 1009

    def encoded(self, items: Iterable[str]) -> Iterable[bytes]:
        return [item.encode() for item in items]


class _ByteasDumper(_ArrayDumper):
    element, oid = 17, 1001

    def encoded(self, items: Iterable[bytes]) -> Iterable[bytes]:
        return items


for _kind, _dumper in (
    (Uuids, _UuidsDumper),
    (Bigints, _BigintsDumper),
    (Texts, _TextsDumper),
    (Byteas, _ByteasDumper),
):
    psycopg.adapters.register_dumper(_kind, _dumper)
