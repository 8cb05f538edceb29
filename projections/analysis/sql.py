"""Runs an analyst's SQL by DuckDB over a columnar export, twice."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
from duckdb import DuckDBPyConnection

from projections.analysis import sql_meaning
from projections.analysis.definition import Definition
from projections.analysis.limits import Limits, bounded_addresses, ended_after, mebibytes
from projections.analysis.plain import NotPlainError, difference, encode
from projections.analysis.view_class import NotDeterministicError, ViewError
from projections.columnar.duckdb_tables import connect, put_tables, read_only_these
from projections.columnar.manifest import Manifest, checked_manifest

_ANY_ORDER = "{}: its rows come in any order; add an ORDER BY"
_OF_THE_WHOLE = ("cases", "obligations", "deadlines")
"""The tables that are not of a range of positions."""
_ROWS_AT_ONCE = 50_000
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def check_sql(definition: Definition, engine: str) -> None:
    """Check that a view is one query, which every engine understands alike.

    A view that names its one engine is held to that engine alone. Raises ``ViewError`` with what
    differs, and why.
    """
    if definition.engine is not None:
        if definition.engine != engine:
            raise ViewError(
                f"{definition.path}: it is written for {definition.engine} alone, as its line "
                f"`-- engine: {definition.engine}` says, and not for {engine}"
            )
        return
    try:
        statements = duckdb.extract_statements(definition.text)
    except duckdb.Error as error:
        raise ViewError(f"{definition.path}: {error}") from error
    _one_query(definition, statements)
    if found := sql_meaning.differences(statements[0].query):
        told = "".join(f"\n- {one}" for one in found)
        raise ViewError(
            f"{definition.path}: DuckDB and Spark would not answer alike. Write it so that both "
            f"do, or begin the file with `-- engine: {engine}` for that engine alone.{told}"
        )


def _one_query(definition: Definition, statements: Sequence[Any]) -> None:
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise ViewError(f"{definition.path}: a view in SQL is one query that begins with SELECT")


def run_sql(
    definition: Definition,
    directory: Path,
    first: int,
    last: int | None,
    used: Mapping[str, Any] | None = None,
    limits: Limits = Limits(),  # noqa: B008  # it is frozen
    *,
    check: bool = True,
) -> tuple[Any, Manifest]:
    """Return the query's table, and the manifest of the export that the query read.

    ``used`` has the tables of the views that this one uses. Raises ``ViewError`` if DuckDB refuses
    the query, if it needs more than its limits, or if the rows depend on how many threads DuckDB
    uses: on an order that the query does not ask for, or on anything but the events.
    """
    manifest = checked_manifest(directory)
    with TemporaryDirectory(prefix="case-ledger-sql-") as spill:
        words = (definition, directory, manifest, first, last, used or {}, limits, Path(spill))
        table = _run(*words, threads=1)
        if check:
            if table.num_rows > 1 and not _ORDERED.search(definition.text):
                raise NotDeterministicError(_ANY_ORDER.format(definition.name))
            again = _run(*words, threads=4)
            compare(definition.name, table, again)
    return table, manifest


def compare(name: str, table: Any, again: Any) -> None:
    """Compare the tables of two runs.

    Raises ``NotDeterministicError`` if the tables differ.
    """
    one, other = _comparable(table), _comparable(again)
    if one == other:
        return
    if sorted(map(repr, one)) == sorted(map(repr, other)):
        raise NotDeterministicError(_ANY_ORDER.format(name))
    found = difference(["list", *one], ["list", *other], "rows")
    raise NotDeterministicError(f"{name} is not told by its events alone: {found}")


def _comparable(table: Any) -> list[Any]:
    rows = table.to_pylist()
    try:
        return [encode(row, "row") for row in rows]
    except NotPlainError:
        return [["tuple", *map(repr, row.items())] for row in rows]


def _run(
    definition: Definition,
    directory: Path,
    manifest: Manifest,
    first: int,
    last: int | None,
    used: Mapping[str, Any],
    limits: Limits,
    spill: Path,
    *,
    threads: int,
) -> Any:
    with connect(
        spill,
        threads=threads,
        memory=f"{limits.memory_bytes}B",
        most_spilled=f"{limits.spill_bytes}B",
    ) as connection:
        put_tables(connection, directory, manifest, first, last, text=definition.text)
        for name, table in used.items():
            connection.from_arrow(table).create(name)
        if threads > 1:
            connection.execute("SET preserve_insertion_order = false")
        read_only_these(connection, (directory / file.path for file in manifest.files))
        with (
            bounded_addresses(limits.memory_bytes),
            ended_after(limits.seconds, connection.interrupt) as is_late,
        ):
            try:
                return _ask(connection, definition, limits, is_late)
            except MemoryError as error:
                raise _too_much(definition, limits) from error
            except duckdb.Error as error:
                if is_late():
                    raise limits.too_long(definition.name) from None
                if isinstance(error, duckdb.OutOfMemoryException):
                    raise _too_much(definition, limits) from error
                hint = ""
                missing = next((name for name in _OF_THE_WHOLE if name in str(error)), None)
                if missing is not None and (first > 1 or last is not None):
                    hint = (
                        f" (the table `{missing}` is of the whole ledger: leave out --from, --to)"
                    )
                elif missing is not None and not manifest.of_table(missing):
                    hint = (
                        f" (this export has no table `{missing}`: run `case-ledger export"
                        f" --parquet {directory}` again, which adds it)"
                    )
                raise ViewError(f"{definition.path}: {error}{hint}") from error


def _too_much(definition: Definition, limits: Limits) -> ViewError:
    return ViewError(
        f"{definition.path}: it needs more than {mebibytes(limits.memory_bytes)} of memory and "
        f"{mebibytes(limits.spill_bytes)} of files in between. Join on case_id, name only the "
        "columns that you need, or allow more with --memory-gb and --spill-gb"
    )


def _ask(
    connection: DuckDBPyConnection,
    definition: Definition,
    limits: Limits,
    is_late: Callable[[], bool],
) -> Any:
    """Return the table of a view's one query. Raises ``ViewError`` if it is another statement."""
    statements = connection.extract_statements(definition.text)
    _one_query(definition, statements)
    # A statement of this type has a result.
    asked: Any = connection.sql(statements[0].query)
    reader = asked.to_arrow_reader(_ROWS_AT_ONCE)
    batches, taken = [], 0
    for batch in reader:
        taken += batch.nbytes
        if is_late():
            raise limits.too_long(definition.name)
        if taken > limits.rows_bytes:
            raise limits.rows_too_large(definition.name)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)
