"""The table of obligations: one row for each that there ever was in a case.

The rows are those of the fold that the views of a node use (:mod:`projections.folds.obligations`).
The fold reads the exported events of the cases that a run touches, sorted by case, so that the
ledger is not read a second time and one case is in memory at a time. Of each case, the rows of the
highest ``position`` count.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
from duckdb import DuckDBPyConnection

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.vocabulary import CASE_ACTIONS, NOT_UNDERSTOOD
from projections.columnar.column_shapes import MOMENT, ColumnEncoding, ColumnShape, shapes
from projections.columnar.decoding import column_of
from projections.columnar.duckdb_tables import connect
from projections.columnar.manifest import SPILL, FileEntry
from projections.columnar.parquet_writer import TableWriter
from projections.folds.joined_cases import ACCEPTANCE, JoinedCases
from projections.folds.obligation_terms import ENDING_WITH_THEIR_DAY
from projections.folds.obligations import Obligation, obligations

TABLE: Final = "obligations"
_TEXTS = pa.list_(pa.string())
SCHEMA: Final = pa.schema(
    [
        pa.field("case_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("obligation_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        ("roles", _TEXTS),
        ("debtor", pa.string()),
        ("debtor_agency", pa.string()),
        ("creditors", _TEXTS),
        ("creditor_agency", pa.string()),
        ("concerning", pa.string()),
        pa.field("opened_position", pa.int64(), nullable=False),
        pa.field("opened_at", MOMENT, nullable=False),
        ("due", MOMENT),
        ("expected_by", MOMENT),
        ("standing", pa.string()),
        pa.field("state", pa.string(), nullable=False),
        ("outcome", pa.string()),
        ("closed_position", pa.int64()),
        ("closed_at", MOMENT),
        ("late", pa.bool_()),
        pa.field("ends_with_its_day", pa.bool_(), nullable=False),
    ]
)
_ROWS_AT_ONCE: Final = 20_000
_IN_JSON: Final = "strftime(make_timestamp(epoch_us({})), '%Y-%m-%dT%H:%M:%S.%fZ')"
_COLUMNS: Final = "case_id, position, case_version, action_id, agency, kind, signing_key"
_ACTS: Final = f"""
SELECT {_COLUMNS}, epoch_us(acted_at) AS acted_at, epoch_us(recorded_at) AS recorded_at,
    {{fields}} AS fields
FROM {{table}} WHERE case_id IN (SELECT case_id FROM touched)
"""  # noqa: S608
_MICROSECONDS: Final = 1_000_000

_Row = dict[str, Any]


def write_obligations(
    directory: Path,
    events: Sequence[FileEntry],
    made: Sequence[FileEntry],
    agreement: Agreement,
    first: int,
    last: int,
) -> list[FileEntry]:
    """Write the obligations, as of ``last``, of the cases that the files ``made`` have events of.

    The cases that a merge ever joined with one of them are written too.
    """
    if not _of_cases(made):
        return []
    with (
        TemporaryDirectory(prefix=SPILL, dir=directory) as spill,
        connect(Path(spill)) as connection,
    ):
        rows = _rows(connection, directory, events, made, agreement)
        batch = list(islice(rows, _ROWS_AT_ONCE))
        if not batch:
            return []
        path = f"{TABLE}/{first:012}-{last:012}.parquet"
        writer = TableWriter(directory, TABLE, path, first)
        while batch:
            writer.write(pa.Table.from_pylist(batch, schema=SCHEMA))
            batch = list(islice(rows, _ROWS_AT_ONCE))
    return [writer.finish(last)]


def _of_cases(files: Iterable[FileEntry]) -> dict[str, list[FileEntry]]:
    """Return the files of each kind of action in cases."""
    found: dict[str, list[FileEntry]] = {}
    for file in files:
        kind = file.table.removeprefix("events/")
        if kind in CASE_ACTIONS or kind == NOT_UNDERSTOOD:
            found.setdefault(kind, []).append(file)
    return found


def _rows(
    connection: DuckDBPyConnection,
    directory: Path,
    events: Sequence[FileEntry],
    made: Sequence[FileEntry],
    agreement: Agreement,
) -> Iterator[_Row]:
    kinds = _of_cases(events)
    for kind, files in kinds.items():
        paths = [str(directory / file.path) for file in files]
        # Files of an earlier program lack the fields that a kind has since then.
        read = connection.read_parquet(paths, hive_partitioning=False, union_by_name=True)
        read.create_view(_table(kind))
    joined = _joined(connection, kinds)
    _put_touched(connection, directory, made, joined)
    parts = [
        _ACTS.format(fields=_fields(connection, kind), table=_table(kind)) for kind in sorted(kinds)
    ]
    query = f"{' UNION ALL '.join(parts)} ORDER BY case_id, position"
    together: dict[UUID, Sequence[Act]] = {}
    for _, of_case in groupby(_told(connection, query), key=lambda act: act.case_id):
        acts = tuple(of_case)
        if joined.others(acts[0].case_id):
            together[acts[0].case_id] = acts
        else:
            yield from _folded(acts, agreement, {})
    for case_id, own in together.items():
        others = {other: together[other] for other in joined.others(case_id) if other in together}
        yield from _folded(own, agreement, others)


def _table(kind: str) -> str:
    return f"of_{kind}"


def _put_touched(
    connection: DuckDBPyConnection,
    directory: Path,
    made: Sequence[FileEntry],
    joined: JoinedCases,
) -> None:
    """Write the ids of the cases whose obligations may have changed into a table."""
    paths = [str(directory / file.path) for files in _of_cases(made).values() for file in files]
    connection.read_parquet(paths, hive_partitioning=False, union_by_name=True).create_view("new")
    connection.execute(
        "CREATE TEMP TABLE touched AS SELECT DISTINCT case_id FROM new WHERE case_id IS NOT NULL"
    )
    more = {
        str(other)
        for case_id in joined.joined
        if connection.execute("SELECT 1 FROM touched WHERE case_id = ?", (str(case_id),)).fetchall()
        for other in joined.others(case_id)
    }
    for one in sorted(more):
        connection.execute(
            "INSERT INTO touched SELECT ? WHERE ? NOT IN (SELECT case_id FROM touched)", (one, one)
        )


def _joined(connection: DuckDBPyConnection, kinds: Mapping[str, Any]) -> JoinedCases:
    joined = JoinedCases()
    if ACCEPTANCE in kinds:
        statement = f"SELECT case_id, ended_case FROM {_table(ACCEPTANCE)}"  # noqa: S608
        for case_id, ended in connection.execute(statement).fetchall():
            joined.join(UUID(case_id), UUID(ended))
    return joined


def _fields(connection: DuckDBPyConnection, kind: str) -> str:
    """Return the expression of an action's own fields as a JSON text."""
    if kind == NOT_UNDERSTOOD:
        return "'{}'"
    there = set(connection.table(_table(kind)).columns)
    parts = [
        f'"{name}" := {_as_json(column_of(name), of)}'
        for name, of in shapes(CASE_ACTIONS[kind]).items()
        if column_of(name) in there
    ]
    return f"CAST(to_json(struct_pack({', '.join(parts)})) AS VARCHAR)" if parts else "'{}'"


def _as_json(column: str, of: ColumnShape) -> str:
    quoted = f'"{column}"'
    match of.form:
        case ColumnEncoding.MOMENT:
            return _IN_JSON.format(quoted)
        case ColumnEncoding.JSON:
            return f"CAST({quoted} AS JSON)"
    return quoted


def _told(connection: DuckDBPyConnection, query: str) -> Iterator[Act]:
    for batch in connection.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            fields = json.loads(row["fields"])
            yield Act(
                id=UUID(row["action_id"]),
                kind=row["kind"],
                case_id=UUID(row["case_id"]),
                version=row["case_version"],
                position=row["position"],
                agency=row["agency"],
                acted_at=_moment(row["acted_at"]),
                recorded_at=_moment(row["recorded_at"]),
                fields={name: value for name, value in fields.items() if value is not None},
                key_id=row["signing_key"],
                digests=frozenset(),
            )


def _moment(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, _MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def _folded(
    acts: Sequence[Act], agreement: Agreement, others: Mapping[UUID, Sequence[Act]]
) -> Iterator[_Row]:
    position = max(act.position for case in (acts, *others.values()) for act in case)
    for one in obligations(acts, agreement, others).by_id.values():
        yield _row(one, position)


def _row(one: Obligation, position: int) -> _Row:
    closed = one.closed
    return {
        "case_id": str(one.case_id),
        "position": position,
        "obligation_id": str(one.id),
        "kind": one.kind.value,
        "action": one.action,
        "roles": list(one.roles),
        "debtor": one.debtor,
        "debtor_agency": one.debtor_agency,
        "creditors": list(one.creditors),
        "creditor_agency": one.creditor_agency,
        "concerning": str(one.concerning) if one.concerning is not None else None,
        "opened_position": one.opened.position,
        "opened_at": one.opened.acted_at,
        "due": one.due,
        "expected_by": one.expected_by,
        "standing": one.standing.value if one.standing is not None else None,
        "state": one.state.value,
        "outcome": one.outcome.value if one.outcome is not None else None,
        "closed_position": closed.position if closed is not None else None,
        "closed_at": closed.acted_at if closed is not None else None,
        "late": one.late,
        "ends_with_its_day": one.action in ENDING_WITH_THEIR_DAY,
    }
