"""Runs an analyst's SQL by DuckDB over a columnar export, twice."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from projections.analysis.definition import Definition
from projections.analysis.plain import NotPlainError, difference, encode
from projections.analysis.view_class import NotDeterministicError, ViewError
from projections.columnar.duckdb_tables import connect, put_tables, read_only_these
from projections.columnar.manifest import Manifest, checked_manifest

_ANY_ORDER = "{}: its rows come in any order; add an ORDER BY"
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def run_sql(
    definition: Definition, directory: Path, first: int, last: int | None, *, check: bool = True
) -> tuple[Any, Manifest]:
    """Return the query's table, and the manifest of the export that the query read.

    Raises ``ViewError`` if DuckDB refuses the query, or if the rows depend on how many threads
    DuckDB uses: on an order that the query does not ask for, or on anything but the events.
    """
    manifest = checked_manifest(directory)
    with TemporaryDirectory(prefix="case-ledger-sql-") as spill:
        table = _run(definition, directory, manifest, first, last, Path(spill), threads=1)
        if check:
            if table.num_rows > 1 and not _ORDERED.search(definition.text):
                raise NotDeterministicError(_ANY_ORDER.format(definition.name))
            again = _run(definition, directory, manifest, first, last, Path(spill), threads=4)
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
    spill: Path,
    *,
    threads: int,
) -> Any:
    with connect(spill, threads=threads) as connection:
        put_tables(connection, directory, manifest, first, last, text=definition.text)
        if threads > 1:
            connection.execute("SET preserve_insertion_order = false")
        read_only_these(connection, (directory / file.path for file in manifest.files))
        try:
            return _ask(connection, definition)
        except duckdb.Error as error:
            hint = ""
            if "cases" in str(error) and (first > 1 or last is not None):
                hint = " (the table `cases` is of the whole ledger: leave out --from and --to)"
            raise ViewError(f"{definition.path}: {error}{hint}") from error


def _ask(connection: DuckDBPyConnection, definition: Definition) -> Any:
    """Return the table of a view's one query. Raises ``ViewError`` if it is another statement."""
    statements = connection.extract_statements(definition.text)
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise ViewError(f"{definition.path}: a view in SQL is one query that begins with SELECT")
    return connection.sql(statements[0].query).to_arrow_table()
