"""Compares the rows of a view with the rows that the ledger folds to, column by column.

PostgreSQL compares: a folded row becomes a row of the table's own types, and only rows that differ
are returned.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composable, Composed, Identifier

from ledger.vocabulary.action import LedgerModel
from projections.tables.view import Row, View

_DESCRIBED_ROWS = 50
"""So many rows of one statement are described; the others are counted."""
_EVERY_VIEWER = """
SELECT array(WITH RECURSIVE found (viewer) AS (
    SELECT min(viewer) FROM views.case_views WHERE slot = %(slot)s
    UNION ALL
    SELECT (SELECT min(v.viewer) FROM views.case_views v
        WHERE v.slot = %(slot)s AND v.viewer > found.viewer)
    FROM found WHERE found.viewer IS NOT NULL
) SELECT viewer FROM found WHERE viewer IS NOT NULL) AS viewers
"""


class DifferenceKind(StrEnum):
    """The kind of difference between a view's row and the fold of the ledger."""

    CHANGED = "changed"
    MISSING = "missing"
    SURPLUS = "surplus"
    UNFOLDED = "unfolded"
    """The case's events could not be folded, so its rows could not be compared."""
    EVENT = "event"
    """The bytes of an event are not those that its leaf hash covers."""
    POSITION = "position"
    """The view stands beyond the ledger's last event, or before it and does not move on."""


class FieldDifference(LedgerModel):
    """One field that a view shows otherwise than the ledger says. Values are JSON texts."""

    field: str
    """A column, or ``document`` with a JSON Pointer (RFC 6901) into it."""
    shown: str | None
    """The value in the view; ``None`` where the view has no such field."""
    folded: str | None
    """The value that the ledger folds to; ``None`` where it has no such field."""


class RowDifference(LedgerModel):
    """One row that is not as the ledger says."""

    view: str
    kind: DifferenceKind
    row: Mapping[str, str]
    """The columns that tell which row it is."""
    fields: tuple[FieldDifference, ...] = ()


class Compared(LedgerModel):
    """The rows of one statement: how many of them differ, and the first of those."""

    differing: int
    described: tuple[RowDifference, ...]


class CaseRange(LedgerModel):
    """The cases whose ids lie above one and up to another; the registry's id is left out."""

    above: UUID | None
    upto: UUID | None
    ledger_id: UUID | None

    def condition(self) -> LiteralString:
        parts: list[LiteralString] = ["true"]
        if self.above is not None:
            parts.append("case_id > %(above)s")
        if self.upto is not None:
            parts.append("case_id <= %(upto)s")
        if self.ledger_id is not None:
            parts.append("case_id <> %(ledger_id)s")
        return " AND ".join(parts)


class RegistryRange(LedgerModel):
    """The rows of the acts on the protocol whose versions lie above one and up to another.

    A view without versions has none of these rows to skip: all of them are in every range.
    """

    above: int | None
    upto: int | None
    ledger_id: UUID

    def condition(self) -> LiteralString:
        parts: list[LiteralString] = ["case_id = %(ledger_id)s"]
        if self.above is not None:
            parts.append("version > %(above)s")
        if self.upto is not None:
            parts.append("version <= %(upto)s")
        return " AND ".join(parts)


def compare(
    connection: Connection[DictRow],
    view: View,
    rows: Sequence[Row],
    within: CaseRange | RegistryRange,
) -> Compared:
    """Compare ``rows`` with the view's rows ``within`` a range.

    ``rows`` are all rows that the ledger folds to in the range. ``connection`` may read the view,
    and must read as of one moment.
    """
    parameters: dict[str, Any] = {"slot": view.slot, **within.model_dump(), **view.values(rows)}
    condition: Composable = SQL(within.condition())
    if "viewer" in view.columns:
        found = connection.execute(_EVERY_VIEWER, {"slot": view.slot}, prepare=True).fetchone()
        parameters["viewers"] = found["viewers"] if found else []
        # So the primary key finds the rows of a range of cases.
        condition += SQL(" AND viewer = ANY(%(viewers)s)")
    statement = _statement(view, condition)
    found_rows = connection.execute(statement, parameters, prepare=True).fetchall()
    return Compared.model_construct(
        differing=found_rows[0]["differing"] if found_rows else 0,
        described=tuple(_described(view, row) for row in found_rows),
    )


def _statement(view: View, condition: Composable) -> Composed:
    *plain, document = view.columns
    names = SQL(", ").join(map(Identifier, view.columns))
    # As text: jsonb takes 1 and 1.0 for the same.
    written = SQL("{}, {}::jsonb::text AS {}").format(
        SQL(", ").join(map(Identifier, plain)), Identifier(document), Identifier(document)
    )
    same_row = SQL(" AND ").join(
        SQL("f.{0} = s.{0}").format(Identifier(name)) for name in (*view.identity, "copy")
    )
    return SQL(
        "WITH folded AS (SELECT {written}, 1::bigint AS copy FROM {source} AS t ({names})),"
        " shown AS (SELECT {written}, row_number() OVER (PARTITION BY {identity}) AS copy"
        " FROM views.{table} WHERE slot = %(slot)s AND {condition})"
        " SELECT to_jsonb(f) AS folded, to_jsonb(s) AS shown, count(*) OVER () AS differing"
        " FROM folded f FULL JOIN shown s ON {same_row} WHERE f IS DISTINCT FROM s LIMIT {limit}"
    ).format(
        written=written,
        source=view.source(),
        names=names,
        identity=SQL(", ").join(map(Identifier, view.identity)),
        table=Identifier(view.table),
        condition=condition,
        same_row=same_row,
        limit=_DESCRIBED_ROWS,
    )


def _described(view: View, row: DictRow) -> RowDifference:
    folded, shown = row["folded"], row["shown"]
    one = shown or folded
    names = {name: str(one[name]) for name in view.identity if name != "slot"}
    if "case_id" in view.columns:
        names["case_id"] = str(one["case_id"])
    kind = DifferenceKind.CHANGED
    if folded is None:
        kind = DifferenceKind.SURPLUS
    elif shown is None:
        kind = DifferenceKind.MISSING
    fields = tuple(_fields(view, folded, shown)) if kind is DifferenceKind.CHANGED else ()
    return RowDifference(view=view.name, kind=kind, row=names, fields=fields)


def _fields(
    view: View, folded: Mapping[str, Any], shown: Mapping[str, Any]
) -> Iterator[FieldDifference]:
    *plain, document = view.columns
    for name in plain:
        yield from json_differences(name, folded[name], shown[name])
    yield from json_differences(document, json.loads(folded[document]), json.loads(shown[document]))


_ABSENT = object()


def json_differences(path: str, folded: Any, shown: Any) -> Iterator[FieldDifference]:
    """Yield each difference of two JSON values, down to single values.

    An absent member is not ``null``.
    """
    if type(folded) is type(shown) is dict:
        for name in dict.fromkeys((*folded, *shown)):
            yield from json_differences(
                f"{path}/{name}", folded.get(name, _ABSENT), shown.get(name, _ABSENT)
            )
    elif type(folded) is type(shown) is list and len(folded) == len(shown):
        for place, (one, other) in enumerate(zip(folded, shown, strict=True)):
            yield from json_differences(f"{path}/{place}", one, other)
    elif type(folded) is not type(shown) or folded != shown:
        yield FieldDifference(field=path, shown=_text(shown), folded=_text(folded))


def _text(value: Any) -> str | None:
    return None if value is _ABSENT else json.dumps(value, ensure_ascii=False)
