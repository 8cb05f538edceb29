"""The tables of a columnar export in one connection, for notebooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duckdb import DuckDBPyConnection

from projections.columnar.duckdb_tables import connect, put_tables
from projections.columnar.manifest import checked_manifest


@contextmanager
def tables(parquet: Path | str) -> Iterator[DuckDBPyConnection]:
    """Yield a DuckDB connection with a view for each table of a columnar export.

    Example: ``tables(D).sql("SELECT …").pl()``.
    """
    directory = Path(parquet)
    with connect() as connection:
        put_tables(connection, directory, checked_manifest(directory))
        yield connection
