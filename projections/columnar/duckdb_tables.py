"""The tables of an export, as DuckDB reads them."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection
from pyarrow import parquet  # type: ignore[import-untyped]

from ledger.procedure.protocol import Protocol
from projections.columnar.decoding import COMMON, KINDS, schema_of
from projections.columnar.manifest import ColumnarError, Manifest

MEMORY = "1GB"
"""The memory that DuckDB takes at most, before it goes on in files."""

# Names that Apache Spark has for what DuckDB calls otherwise, so that one SQL file serves both.
_SPARKS_NAMES = (
    "CREATE MACRO array_join(items, separator) AS array_to_string(items, separator)",
    "CREATE MACRO unix_timestamp(moment) AS CAST(floor(epoch(moment)) AS BIGINT)",
    "CREATE MACRO size(items) AS len(items)",
    "CREATE MACRO array_contains(items, item) AS list_contains(items, item)",
)

_SPARKS_ORDER = "SET default_null_order = 'nulls_first_on_asc_last_on_desc'"
"""NULL comes where Spark has it, if a query does not say."""

_WORD = re.compile(r"\w+")
_READS_NAMES = re.compile(
    r"\b(query|query_table|information_schema|pg_\w+|duckdb_\w+|pragma\w*|show|describe|summarize)\b",
    re.IGNORECASE,
)
"""Words of a statement that may read tables which it does not name itself."""


@contextmanager
def connect(
    spill: Path | None = None,
    *,
    threads: int | None = None,
    memory: str = MEMORY,
    most_spilled: str | None = None,
) -> Iterator[DuckDBPyConnection]:
    """Yield an empty DuckDB in memory, which writes files under ``spill`` if memory is short.

    ``memory`` and ``most_spilled`` are sizes as DuckDB writes them. Without ``spill`` DuckDB writes
    no files.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    settings["temp_directory"] = "" if spill is None else str(spill)
    if most_spilled is not None:
        settings["max_temp_directory_size"] = most_spilled
    if threads is not None:
        settings["threads"] = threads
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def put_tables(
    connection: DuckDBPyConnection,
    directory: Path,
    manifest: Manifest,
    first: int = 1,
    last: int | None = None,
    *,
    text: str | None = None,
) -> None:
    """Make a view of each table of an export: every kind of action, ``events`` and ``cases``.

    With a statement's ``text``, only the tables that the statement may read get views: a view takes
    about 2 ms, and there are more than a hundred kinds of actions.

    ``events`` has the columns that all actions have in common, ``annulled`` the actions that a
    correction or the undoing of a merge took back, and ``standing`` all events but these. With a
    range of positions, the views
    are of that range, and there is no view ``cases``, because that table is of the whole ledger.
    """
    for macro in _SPARKS_NAMES:
        connection.execute(macro)
    connection.execute(_SPARKS_ORDER)
    whole = first <= 1 and (last is None or last >= manifest.upto)
    needs = _needs(text)
    parts: list[str] = []
    common = ", ".join(COMMON.names)
    for kind in KINDS:
        files = [str(directory / file.path) for file in manifest.of_table(f"events/{kind}")]
        if not (needs(kind) or (files and needs("events"))):
            continue
        if files:
            relation = connection.read_parquet(files, hive_partitioning=False)
        else:
            relation = connection.from_arrow(schema_of(kind).empty_table())
            relation = connection.sql("SELECT * FROM relation")
        if not whole:
            upto = manifest.upto if last is None else last
            relation = relation.filter(f"position BETWEEN {int(first)} AND {int(upto)}")
        relation.create_view(kind)
        if files:
            parts.append(f"SELECT {common} FROM {kind}")  # noqa: S608
    if needs("events"):
        connection.execute(f"CREATE VIEW events AS {' UNION ALL '.join(parts)}")
    for name, statement in TAKEN_BACK.items():
        if needs(name):
            connection.execute(f"CREATE VIEW {name} AS {statement}")
    cases = [str(directory / file.path) for file in manifest.of_table("cases")]
    if whole and cases and needs("cases"):
        connection.read_parquet(cases, hive_partitioning=False).create_view("cases_as_written")
        connection.execute(LATEST_CASES)


def _needs(text: str | None) -> Callable[[str], bool]:
    """Return the function that says whether a statement may read a table.

    DuckDB takes names in capitals and small letters alike.
    """
    if text is None or _READS_NAMES.search(text):
        return lambda _: True
    named = with_their_tables(text)
    return lambda table: table in named or (table == "cases" and "cases_as_written" in named)


def with_their_tables(text: str) -> frozenset[str]:
    """Return the words of a statement in small letters, and the tables that those views read."""
    named = {word.lower() for word in _WORD.findall(text)}
    if "standing" in named:
        named |= {"events", "annulled"}
    if "annulled" in named:
        named |= {"correction", "merge_undone"}
    return frozenset(named)


def read_only_these(connection: DuckDBPyConnection, files: Iterable[Path]) -> None:
    """Refuse every later statement all files, networks and extensions but these files.

    The tables must be there before. Nothing can be taken back.
    """
    named = ", ".join("'{}'".format(str(file).replace("'", "''")) for file in files)
    for setting, value in (
        ("allowed_paths", f"[{named}]"),
        ("python_enable_replacements", "false"),
        ("enable_external_access", "false"),
        ("lock_configuration", "true"),
    ):
        connection.execute(f"SET {setting} = {value}")


def parties_of(directory: Path, manifest: Manifest) -> frozenset[str]:
    """Return the parties of the exported ledger's protocol. Raises ``ColumnarError``."""
    if manifest.parties:
        return frozenset(manifest.parties)
    for file in manifest.of_table("events/protocol_adopted"):
        for text in parquet.read_table(directory / file.path, columns=["protocol"])["protocol"]:
            return Protocol.model_validate_json(text.as_py()).party_codes
    raise ColumnarError(f"{directory} does not begin with the adoption of a protocol")


TABLES_BESIDES_KINDS = frozenset(("events", "annulled", "standing", "cases", "cases_as_written"))
"""The names of tables that are no kinds of actions."""

TAKEN_BACK = {
    "annulled": """
SELECT case_id, corrects AS action_id, position FROM correction WHERE effect = 'annulled'
UNION ALL SELECT case_id, merge AS action_id, position FROM merge_undone
""",
    "standing": """
SELECT e.* FROM events e WHERE NOT EXISTS (
    SELECT 1 FROM annulled a WHERE a.case_id = e.case_id AND a.action_id = e.action_id)
""",
}
"""The views of actions that were taken back, and of those that count; for DuckDB and Spark. Of an
annulled action ``position`` is that of the event that took it back."""

LATEST_CASES = """
CREATE VIEW cases AS SELECT w.* FROM cases_as_written w
JOIN (SELECT case_id, max(case_version) AS case_version FROM cases_as_written GROUP BY case_id) l
ON l.case_id = w.case_id AND l.case_version = w.case_version
"""
"""Of each case the row that was written last; for DuckDB and Spark."""
