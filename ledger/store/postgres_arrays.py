"""Arrays in PostgreSQL's binary form, packed at once.

The driver finds out the type of each list by looking at its elements, every time; for groups of a
few rows that costs more than the rows do.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from ledger.store.postgres_values import bigint, boolean, moment

_HEADER = struct.Struct(">iiIii")  # dimensions, nulls, element type, length, lower bound
_EMPTY = struct.Struct(">iiI")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_SMALLINT = struct.Struct(">h")
_BOOL, _BYTEA, _INT8, _INT2, _TEXT, _TIMESTAMPTZ, _UUID = 16, 17, 20, 21, 25, 1184, 2950
"""The object ids of the elements' types; they are the same in every PostgreSQL."""


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


def uuid_array(items: Iterable[UUID]) -> bytes:
    """Return ``uuid[]`` in binary form."""
    return _packed(_UUID, 16, [item.bytes for item in items])


def bigint_array(items: Iterable[int]) -> bytes:
    """Return ``bigint[]`` in binary form."""
    return _packed(_INT8, 8, [bigint(item) for item in items])


def smallint_array(items: Iterable[int]) -> bytes:
    """Return ``smallint[]`` in binary form."""
    return _packed(_INT2, 2, [_SMALLINT.pack(item) for item in items])


def text_array(items: Iterable[str | None]) -> bytes:
    """Return ``text[]`` in binary form, in which ``None`` is NULL."""
    return _joined(_TEXT, [None if item is None else item.encode() for item in items])


def bytea_array(items: Iterable[bytes]) -> bytes:
    """Return ``bytea[]`` in binary form."""
    return _joined(_BYTEA, list(items))


def boolean_array(items: Iterable[bool]) -> bytes:
    """Return ``boolean[]`` in binary form."""
    return _packed(_BOOL, 1, [boolean(item) for item in items])


def timestamptz_array(items: Iterable[datetime]) -> bytes:
    """Return ``timestamptz[]`` in binary form."""
    return _packed(_TIMESTAMPTZ, 8, [moment(item) for item in items])


def _packed(element: int, size: int, encoded: Sequence[bytes]) -> bytes:
    """Return an array of elements of one size in bytes, of which none is NULL."""
    if not encoded:
        return _EMPTY.pack(0, 0, element)
    length = _LENGTH.pack(size)
    header = _HEADER.pack(1, 0, element, len(encoded), 1)
    return b"".join((header, length, length.join(encoded)))


def _joined(element: int, encoded: Sequence[bytes | None]) -> bytes:
    """Return an array of elements of the type with this object id."""
    if not encoded:
        return _EMPTY.pack(0, 0, element)
    parts = [_HEADER.pack(1, int(None in encoded), element, len(encoded), 1)]
    for item in encoded:
        if item is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


class _ArrayDumper(Dumper):
    format = Format.BINARY
    packed: ClassVar[Callable[[Any], bytes]]

    def dump(self, obj: Any) -> Buffer:
        return type(self).packed(obj)


class _UuidsDumper(_ArrayDumper):
    oid, packed = 2951, uuid_array


class _BigintsDumper(_ArrayDumper):
    oid, packed = 1016, bigint_array


class _TextsDumper(_ArrayDumper):
    oid, packed = 1009, text_array


class _ByteasDumper(_ArrayDumper):
    oid, packed = 1001, bytea_array


class _BooleansDumper(_ArrayDumper):
    oid, packed = 1000, boolean_array


for _kind, _dumper in (
    (Uuids, _UuidsDumper),
    (Bigints, _BigintsDumper),
    (Texts, _TextsDumper),
    (Byteas, _ByteasDumper),
    (Booleans, _BooleansDumper),
):
    psycopg.adapters.register_dumper(_kind, _dumper)
