"""Recorded rows as Arrow tables, one for each kind of action, many rows at once.

What agencies signed is JSON, and nearly all of it is written as the models write it. So each
row's payload is cut out of its bytes, and Arrow reads all payloads of a kind in one pass. Where
that finds anything written in another way that the models take too, the rows of that kind are
read one by one, through the model. Both ways give the same table.
"""

from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pyarrow import json as arrow_json
from pydantic_core import from_json

from ledger import entry
from ledger.event import recorded
from ledger.protocol import Protocol
from ledger.store.recorder import RecordedRow
from ledger.upcasting import upcasters
from ledger.vocabulary import ALL_ACTIONS, REGISTRY_ACTIONS
from ledger.vocabulary.action import ledger_part
from projections.columnar.shapes import (
    MOMENT,
    Form,
    NotCanonicalError,
    Shape,
    from_wire,
    shapes,
    to_arrow,
)

COMMON = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("recorded_at", MOMENT, nullable=False),
        pa.field("acted_at", MOMENT, nullable=False),
        pa.field("signed_at", MOMENT, nullable=False),
        pa.field("action_id", pa.string(), nullable=False),
        pa.field("case_id", pa.string()),
        pa.field("case_version", pa.int64(), nullable=False),
        pa.field("agency", pa.string(), nullable=False),
        pa.field("party", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("signing_key", pa.string(), nullable=False),
        pa.field("schema_version", pa.int16(), nullable=False),
    ]
)
"""What every event has. ``case_id`` is null for acts on the protocol itself."""

_NOBODY = ("", "")
_MOMENT_SHAPE = Shape(Form.MOMENT, MOMENT)


@cache
def schema_of(kind: str) -> Any:
    """The columns of one kind: those that all events have, then its own ``ledger`` fields."""
    own = [pa.field(name, of.type) for name, of in shapes(ALL_ACTIONS[kind]).items()]
    return pa.schema([*COMMON, *own])


@cache
def _wire_schema(kind: str) -> Any:
    act = [("acted_at", pa.string())]
    act += [(name, of.wire) for name, of in shapes(ALL_ACTIONS[kind]).items()]
    return pa.schema(
        [
            ("iss", pa.string()),
            ("iat", pa.int64()),
            ("kind", pa.string()),
            ("version", pa.int64()),
            ("act", pa.struct(act)),
        ]
    )


@dataclass
class _Rows:
    """Rows of one kind, with the parts of their bytes."""

    rows: list[RecordedRow] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


class Decoder:
    """Decodes the events of one protocol's ledger."""

    def __init__(self, protocol: Protocol) -> None:
        self._agencies = {agency.id: (agency.party, agency.role) for agency in protocol.agencies}

    def tables(self, rows: Iterable[RecordedRow]) -> Mapping[str, Any]:
        """The rows as a table for each kind among them, each by position.

        Raises ``ValueError`` for bytes that are not an event's.
        """
        return {kind: self._table(kind, of) for kind, of in _by_kind(rows).items()}

    def _table(self, kind: str, of: _Rows) -> Any:
        if kind not in ALL_ACTIONS:
            raise ValueError(f"position {of.rows[0].position}: there is no action {kind}")
        try:
            claims, own = _read_at_once(kind, of.payloads)
        except (pa.ArrowInvalid, NotCanonicalError):
            claims, own = _read_one_by_one(kind, of.rows)
        return pa.table([*self._common(kind, of, claims), *own], schema=schema_of(kind))

    def _common(self, kind: str, of: _Rows, claims: "_Claims") -> list[Any]:
        rows, count = of.rows, len(of.rows)
        is_act = kind in REGISTRY_ACTIONS
        agencies = claims.agency.dictionary_encode()
        known = [self._agencies.get(a, _NOBODY) for a in agencies.dictionary.to_pylist()]
        return [
            pa.array([row.position for row in rows], pa.int64()),
            pa.array([row.recorded_at for row in rows], MOMENT),
            claims.acted_at,
            claims.signed_at,
            pa.array([str(row.action_id) for row in rows], pa.string()),
            pa.array([None if is_act else str(row.originator_id) for row in rows], pa.string()),
            pa.array([row.version for row in rows], pa.int64()),
            claims.agency,
            pa.array([party for party, _ in known], pa.string()).take(agencies.indices),
            pa.array([role for _, role in known], pa.string()).take(agencies.indices),
            pa.repeat(pa.scalar(kind, pa.string()), count),
            pa.repeat(pa.scalar(ALL_ACTIONS[kind].stage.value, pa.string()), count),
            pa.array(of.keys, pa.string()),
            claims.version,
        ]


@dataclass(frozen=True, slots=True)
class _Claims:
    """What all actions claim, as arrays."""

    agency: Any
    acted_at: Any
    signed_at: Any
    version: Any


def _by_kind(rows: Iterable[RecordedRow]) -> dict[str, _Rows]:
    found: dict[str, _Rows] = {}
    for row in rows:
        sd_jwt, _ = entry.unseal(row.state)
        header, encoded, _ = sd_jwt.split(".", 2)
        of = found.get(row.kind)
        if of is None:
            of = found[row.kind] = _Rows()
        of.rows.append(row)
        of.payloads.append(urlsafe_b64decode(encoded + "=="))
        of.keys.append(_key_id(header))
    return found


@lru_cache(maxsize=4096)
def _key_id(header: str) -> str:
    return str(from_json(urlsafe_b64decode(header + "=="))["kid"])


def _read_at_once(kind: str, payloads: Sequence[bytes]) -> tuple[_Claims, list[Any]]:
    """Raises ``NotCanonicalError`` or ``ArrowInvalid`` where rows must be read one by one."""
    own_shapes, todays = shapes(ALL_ACTIONS[kind]), upcasters().version(kind)
    if not all(of.is_readable_at_once for of in own_shapes.values()):
        raise NotCanonicalError(f"{kind} is read row by row")
    content = b"\n".join((*payloads, b""))
    table = arrow_json.read_json(
        pa.BufferReader(content),
        read_options=arrow_json.ReadOptions(block_size=len(content) + 1, use_threads=False),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=_wire_schema(kind), unexpected_field_behavior="ignore"
        ),
    ).combine_chunks()
    columns = {name: _whole(table[name]) for name in table.column_names}
    act = columns["act"]
    versions = columns["version"]
    if (
        table.num_rows != len(payloads)
        or not _all_of_version(versions, todays)
        or act.null_count
        or pc.all(pc.equal(columns["kind"], kind)).as_py() is not True
    ):
        raise NotCanonicalError("what is signed is not of this kind's version of today")
    claims = _Claims(
        agency=columns["iss"],
        acted_at=from_wire(act.field("acted_at"), _MOMENT_SHAPE),
        signed_at=pc.cast(pc.cast(columns["iat"], pa.timestamp("s", "UTC")), MOMENT),
        version=pa.repeat(pa.scalar(todays, pa.int16()), len(payloads)),
    )
    if claims.agency.null_count or claims.acted_at.null_count or claims.signed_at.null_count:
        raise NotCanonicalError("a claim that every action has is missing")
    return claims, [from_wire(act.field(name), of) for name, of in own_shapes.items()]


def _all_of_version(versions: Any, todays: int) -> bool:
    """Whether every action follows today's version; an action of the first does not name it."""
    if todays == 1:
        return bool(versions.null_count == len(versions))
    is_todays = pc.all(pc.equal(versions, todays)).as_py()
    return versions.null_count == 0 and is_todays is True


def _whole(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _read_one_by_one(kind: str, rows: Sequence[RecordedRow]) -> tuple[_Claims, list[Any]]:
    """Each row through today's model, whatever way its values are written in."""
    own_shapes, model = shapes(ALL_ACTIONS[kind]), ledger_part(ALL_ACTIONS[kind])
    actions = [recorded(r.state, r.originator_id, r.version, r.position).action for r in rows]
    for row, action in zip(rows, actions, strict=True):
        if action.kind != kind:
            raise ValueError(f"position {row.position}: its bytes are of {action.kind}")
    values = [model.model_validate(action.fields) for action in actions]
    claims = _Claims(
        agency=pa.array([action.agency for action in actions], pa.string()),
        acted_at=pa.array([getattr(value, "acted_at") for value in values], MOMENT),  # noqa: B009
        signed_at=pa.array([action.signed_at for action in actions], MOMENT),
        version=pa.array([action.version for action in actions], pa.int16()),
    )
    own = [
        pa.array([to_arrow(getattr(value, name), of) for value in values], of.type)
        for name, of in own_shapes.items()
    ]
    return claims, own
