"""Runs an analyst's SQL by Apache Spark over the same columnar export, here or on a cluster.

Spark is not installed with the ledger. Where it is, the session is the one that ``spark-submit``
or the notebook made, or else a new one by Spark's own settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]

from projections.analysis.definition import Definition
from projections.analysis.view_class import ViewError
from projections.columnar import deadlines, obligations
from projections.columnar.cases import CASES
from projections.columnar.decoding import COMMON, KINDS, schema_of
from projections.columnar.duckdb_tables import (
    DERIVED,
    STANDING_OF,
    latest,
    standing_of,
    with_their_tables,
)
from projections.columnar.manifest import FileEntry, Manifest, checked_manifest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TYPES = (
    (pa.types.is_string, "STRING"),
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_int16, "SMALLINT"),
    (pa.types.is_date32, "DATE"),
    (pa.types.is_timestamp, "TIMESTAMP"),
)

_CREATE = "CREATE OR REPLACE TEMPORARY VIEW"


def run_spark(
    definition: Definition,
    directory: Path,
    first: int,
    last: int | None,
    used: Mapping[str, Any] | None = None,
) -> tuple[Any, Manifest]:
    """Return the query's table, and the manifest of the export that the query read.

    Raises ``ViewError`` if Spark is not installed or refuses the query.
    """
    manifest = checked_manifest(directory)
    session = _session()
    put_tables(session, directory, manifest, definition.text, first, last)
    from pyspark.errors import PySparkException

    for name, table in (used or {}).items():
        session.createDataFrame(table).createOrReplaceTempView(name)
    try:
        found = session.sql(definition.text.rstrip().rstrip(";")).toArrow()
    except PySparkException as error:
        lines = str(error).splitlines()
        raise ViewError(
            f"{definition.path}: {lines[0] if lines else 'Spark refuses it'}"
        ) from error
    return found, manifest


def put_tables(
    session: "SparkSession",
    directory: Path,
    manifest: Manifest,
    text: str,
    first: int = 1,
    last: int | None = None,
) -> None:
    """Make a view of each table that ``text`` names, as DuckDB's connection has it."""
    named = with_their_tables(text)
    whole = first <= 1 and (last is None or last >= manifest.upto)
    upto = manifest.upto if last is None else last

    def within(frame: "DataFrame") -> "DataFrame":
        return frame if whole else frame.where(f"position BETWEEN {int(first)} AND {int(upto)}")

    for kind in (kind for kind in KINDS if kind in named):
        files = manifest.of_table(f"events/{kind}")
        within(_frame(session, directory, files, schema_of(kind))).createOrReplaceTempView(kind)
    if "events" in named:
        # One scan of the common columns: a plan with each kind's table takes seconds to make.
        files = [file for kind in KINDS for file in manifest.of_table(f"events/{kind}")]
        within(_frame(session, directory, files, COMMON)).createOrReplaceTempView("events")
    for name, statement in DERIVED.items():
        if name in named:
            session.sql(f"{_CREATE} {name} AS {statement}")
    for kind in KINDS:
        if f"{STANDING_OF}{kind}" in named:
            session.sql(f"{_CREATE} {STANDING_OF}{kind} AS {standing_of(kind)}")
    if not whole:
        return
    for table, schema in (("cases", CASES.schema), (obligations.TABLE, obligations.SCHEMA)):
        if table in named:
            frame = _frame(session, directory, manifest.of_table(table), schema)
            frame.createOrReplaceTempView(f"{table}_as_written")
            session.sql(latest(table, table, f"{table}_as_written", _CREATE))
    if deadlines.TABLE in named:
        files = manifest.of_table(deadlines.TABLE)
        frame = _frame(session, directory, files, deadlines.SCHEMA)
        frame.createOrReplaceTempView(deadlines.TABLE)


def _session() -> "SparkSession":
    """Return a session with names of its own, in the running Spark or in a new one.

    Raises ``ViewError`` if Spark is not installed or does not start.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ViewError(
            "Apache Spark is not installed here; `pip install pyspark` (and Java 17 or newer), "
            "or run it without --engine spark"
        ) from error
    try:
        running = SparkSession.builder.appName("case-ledger").getOrCreate()
    except Exception as error:
        raise ViewError(
            f"Apache Spark does not start ({type(error).__name__}); is Java there?"
        ) from error
    session = running.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    # A name in double quotes is a name, as in DuckDB and in the standard, and no text.
    session.conf.set("spark.sql.ansi.enabled", "true")
    session.conf.set("spark.sql.ansi.doubleQuotedIdentifiers", "true")
    return session


def _frame(
    session: "SparkSession", directory: Path, files: list[FileEntry], schema: Any
) -> "DataFrame":
    declared = ", ".join(f"`{field.name}` {_spark_type(field.type)}" for field in schema)
    if not files:
        nothing = ", ".join(
            f"CAST(NULL AS {_spark_type(field.type)}) AS `{field.name}`" for field in schema
        )
        return session.sql(f"SELECT {nothing} WHERE false")
    paths = [str((directory / file.path).absolute()) for file in files]
    # The manifest says which files there are: Spark has nothing to find out from their paths.
    reader = session.read.schema(declared).option("recursiveFileLookup", "true")
    return reader.parquet(*paths)


def _spark_type(declared: Any) -> str:
    if pa.types.is_list(declared):
        return f"ARRAY<{_spark_type(declared.value_type)}>"
    if pa.types.is_struct(declared):
        parts = (f"`{field.name}`: {_spark_type(field.type)}" for field in declared)
        return f"STRUCT<{', '.join(parts)}>"
    return next(name for is_it, name in _TYPES if is_it(declared))
