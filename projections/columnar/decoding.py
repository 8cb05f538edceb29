"""Recorded rows as Arrow tables, one for each kind of action, many rows at once.

Each event is read by the one definition that every reader uses, ``ledger.event``. Its fields are
canonical JSON values, which Arrow turns into columns, all rows of a kind in one pass. Kinds with
values that need the model are read through it, row by row. Both ways give the same table.

Events that are not understood have a table of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from ledger.events.newer_event import check_understood
from ledger.procedure.agreement import Agreement
from ledger.signing.signed_action import Mark, SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import ALL_ACTIONS, NOT_UNDERSTOOD
from ledger.vocabulary.action import ledger_part
from projections.columnar.column_shapes import (
    MOMENT,
    ColumnEncoding,
    ColumnShape,
    NotCanonicalError,
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
"""The columns of every event. ``case_id`` is null for acts on the protocol itself."""

_NOBODY = ("", "")
_MOMENT_SHAPE = ColumnShape(ColumnEncoding.MOMENT, MOMENT)


KINDS = (*ALL_ACTIONS, NOT_UNDERSTOOD)
"""Every kind of event that has a table."""


def shapes_of(kind: str) -> Mapping[str, ColumnShape]:
    """Return the shape of each column that events of a kind add to the common columns."""
    return {column_of(name): of for name, of in _field_shapes(kind).items()}


def column_of(field_name: str) -> str:
    """Return a field's column: its name, after ``act_`` if a common column has that name."""
    return f"act_{field_name}" if field_name in COMMON.names else field_name


def _field_shapes(kind: str) -> Mapping[str, ColumnShape]:
    """Return the shape of each ``ledger`` field of a kind."""
    if kind == NOT_UNDERSTOOD:
        return {
            "mark": ColumnShape(
                ColumnEncoding.PLAIN, pa.string(), values=tuple(mark.value for mark in Mark)
            )
        }
    return shapes(ALL_ACTIONS[kind])


@cache
def schema_of(kind: str) -> Any:
    """Return the columns of one kind: the common columns, then its own ``ledger`` fields."""
    own = [pa.field(name, of.type) for name, of in shapes_of(kind).items()]
    return pa.schema([*COMMON, *own])


@dataclass
class _Rows:
    """Rows of one kind, and their actions as read back."""

    rows: list[RecordedRow] = field(default_factory=list)
    actions: list[SignedAction] = field(default_factory=list)


class Decoder:
    """Decodes the events of one protocol's ledger."""

    def __init__(self, agreement: Agreement) -> None:
        self._ledger_id = agreement.ledger_id
        self._agreement = agreement

    def tables(self, rows: Iterable[RecordedRow]) -> Mapping[str, Any]:
        """Return the rows as one table for each kind among them, each sorted by position.

        Raises ``NewerEventError`` at an event that needs a later program.
        """
        return {kind: self._table(kind, of) for kind, of in _by_kind(rows).items()}

    def _table(self, kind: str, of: _Rows) -> Any:
        try:
            acted_at, own = _read_at_once(kind, of.actions)
        except (pa.ArrowInvalid, NotCanonicalError):
            acted_at, own = _read_one_by_one(kind, of.actions)
        return pa.table([*self._common(kind, of, acted_at), *own], schema=schema_of(kind))

    def _common(self, kind: str, of: _Rows, acted_at: Any) -> list[Any]:
        rows, actions = of.rows, of.actions
        stage = "" if kind == NOT_UNDERSTOOD else ALL_ACTIONS[kind].stage.value
        known = [self._who(row, action) for row, action in zip(rows, actions, strict=True)]
        return [
            pa.array([row.position for row in rows], pa.int64()),
            pa.array([row.recorded_at for row in rows], MOMENT),
            acted_at,
            pa.array([action.signed_at for action in actions], MOMENT),
            pa.array([str(row.action_id) for row in rows], pa.string()),
            pa.array([self._case(row) for row in rows], pa.string()),
            pa.array([row.version for row in rows], pa.int64()),
            pa.array([action.agency for action in actions], pa.string()),
            pa.array([party for party, _ in known], pa.string()),
            pa.array([role for _, role in known], pa.string()),
            pa.repeat(pa.scalar(kind, pa.string()), len(rows)),
            pa.repeat(pa.scalar(stage, pa.string()), len(rows)),
            pa.array([action.key_id for action in actions], pa.string()),
            pa.array([action.version for action in actions], pa.int16()),
        ]

    def _who(self, row: RecordedRow, action: SignedAction) -> tuple[str, str]:
        """Return the party and the role of the acting agency, by the version in force then."""
        protocol = self._agreement.at(row.position, row.recorded_at)
        agency = protocol.agencies_by_id.get(action.agency)
        return _NOBODY if agency is None else (agency.party, agency.role)

    def _case(self, row: RecordedRow) -> str | None:
        return None if row.originator_id == self._ledger_id else str(row.originator_id)


def _by_kind(rows: Iterable[RecordedRow]) -> dict[str, _Rows]:
    found: dict[str, _Rows] = {}
    for row in rows:
        event = row.event()
        check_understood(event)
        action = event.action
        of = found.get(action.kind)
        if of is None:
            of = found[action.kind] = _Rows()
        of.rows.append(row)
        of.actions.append(action)
    return found


def _read_at_once(kind: str, actions: Sequence[SignedAction]) -> tuple[Any, list[Any]]:
    """Convert the times of acting and the own fields of actions by whole columns.

    Raises ``NotCanonicalError`` or ``ArrowInvalid`` if the actions must be read one by one.
    """
    own_shapes = _field_shapes(kind)
    if not all(of.is_readable_at_once for of in own_shapes.values()):
        raise NotCanonicalError(f"{kind} is read row by row")
    if kind == NOT_UNDERSTOOD:
        fields: Sequence[Mapping[str, Any]] = [{"mark": action.mark} for action in actions]
    else:
        fields = [action.fields for action in actions]
    acted_at = pa.array([action.fields["acted_at"] for action in actions], pa.string())
    own = [
        from_wire(pa.array([of_one.get(name) for of_one in fields], of.wire), of)
        for name, of in own_shapes.items()
    ]
    return from_wire(acted_at, _MOMENT_SHAPE), own


def _read_one_by_one(kind: str, actions: Sequence[SignedAction]) -> tuple[Any, list[Any]]:
    """Convert the times of acting and the own fields of actions through today's model."""
    model = ledger_part(ALL_ACTIONS[kind])
    values = [model.model_validate(action.fields) for action in actions]
    own = [
        pa.array([to_arrow(getattr(value, name), of) for value in values], of.type)
        for name, of in _field_shapes(kind).items()
    ]
    return pa.array([getattr(value, "acted_at") for value in values], MOMENT), own  # noqa: B009
