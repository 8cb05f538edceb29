"""The tables of an export, as DuckDB reads them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    # Else a query could tell the user's directory.
    settings["secret_directory"] = "/nonexistent"  # noqa: S105
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
    """Make a view of each table of an export: every kind of action, and those beside the kinds.

    With a statement's ``text``, only the tables that the statement may read get views: a view takes
    about 2 ms, and there are more than a hundred kinds of actions.

    ``events`` has the columns that all actions have in common, ``annulled`` the actions that a
    correction or the undoing of a merge took back, and ``standing`` all events but these. With a
    range of positions, the views are of that range, and there are no views ``cases``,
    ``obligations`` and ``deadlines``, because these tables are of the whole ledger.
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
    for name, statement in DERIVED.items():
        if needs(name):
            connection.execute(f"CREATE VIEW {name} AS {statement}")
    for kind in KINDS:
        if needs(f"{STANDING_OF}{kind}"):
            connection.execute(f"CREATE VIEW {STANDING_OF}{kind} AS {standing_of(kind)}")
    if not whole:
        return
    for table in LATEST:
        files = [str(directory / file.path) for file in manifest.of_table(table)]
        if files and needs(table):
            written = f"{table}_as_written"
            connection.read_parquet(files, hive_partitioning=False).create_view(written)
            connection.execute(latest(table, table, written))
    files = [str(directory / file.path) for file in manifest.of_table("deadlines")]
    if files and needs("deadlines"):
        connection.read_parquet(files, hive_partitioning=False).create_view("deadlines")


def _needs(text: str | None) -> Callable[[str], bool]:
    """Return the function that says whether a statement may read a table.

    DuckDB takes names in capitals and small letters alike.
    """
    if text is None or _READS_NAMES.search(text):
        return lambda _: True
    named = with_their_tables(text)
    return lambda table: table in named or (table in LATEST and f"{table}_as_written" in named)


def reads_obligations(text: str) -> bool:
    """Return whether a statement may read the tables of obligations and deadlines."""
    needs = _needs(text)
    return needs("obligations") or needs("deadlines")


def with_their_tables(text: str) -> frozenset[str]:
    """Return the words of a statement in small letters, and the tables that those views read."""
    named = {word.lower() for word in _WORD.findall(text)}
    for word in [word for word in named if word.startswith(STANDING_OF)]:
        named |= {word.removeprefix(STANDING_OF), "annulled"}
    if "steps" in named:
        named.add("standing")
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


STANDING_OF = "standing_"
"""``standing_KIND`` is the table of a kind without the actions that were taken back."""

TABLES_BESIDES_KINDS = frozenset(
    (
        *("events", "annulled", "standing", "steps", "cases", "cases_as_written"),
        *("obligations", "obligations_as_written", "deadlines"),
    )
)
"""The names of tables that are no kinds of actions."""


def is_taken(name: str) -> bool:
    """Return whether a name is that of a table, which no view may have."""
    return name.removeprefix(STANDING_OF) in KINDS or name in TABLES_BESIDES_KINDS


DERIVED: Mapping[str, str] = {
    "annulled": """
SELECT case_id, corrects AS action_id, position FROM correction WHERE effect = 'annulled'
UNION ALL SELECT case_id, merge AS action_id, position FROM merge_undone
""",
    "standing": """
SELECT e.* FROM events e WHERE NOT EXISTS (
    SELECT 1 FROM annulled a WHERE a.case_id = e.case_id AND a.action_id = e.action_id)
""",
    "steps": """
SELECT s.case_id, s.kind, s.stage, count(*) AS times, min(s.position) AS first_position,
    min(s.acted_at) AS first_at, max(s.acted_at) AS last_at
FROM standing s
WHERE s.case_id IN (SELECT o.case_id FROM standing o WHERE o.kind = 'case_opened')
GROUP BY s.case_id, s.kind, s.stage
""",
}
"""The views of actions that were taken back, of those that count, and of the first and the last of
each kind in each case; for DuckDB and Spark. Of an annulled action ``position`` is that of the
event that took it back. A case that was opened in error has no steps."""


def standing_of(kind: str) -> str:
    """Return the statement of ``standing_KIND``; for DuckDB and Spark."""
    return (
        f"SELECT k.* FROM {kind} k WHERE NOT EXISTS (SELECT 1 FROM annulled a"  # noqa: S608
        " WHERE a.case_id = k.case_id AND a.action_id = k.action_id)"
    )


LATEST: Mapping[str, str] = {"cases": "case_version", "obligations": "position"}
"""The tables of which the rows of each case count that have the highest value in a column."""


def latest(table: str, name: str, written: str, create: str = "CREATE VIEW") -> str:
    """Return the statement that makes the view ``name`` of the rows that count; for both engines.

    ``written`` has all rows that were ever written.
    """
    newest = LATEST[table]
    return (
        f"{create} {name} AS SELECT w.* FROM {written} w"  # noqa: S608
        f" JOIN (SELECT case_id, max({newest}) AS newest FROM {written} GROUP BY case_id) l"
        f" ON l.case_id = w.case_id AND l.newest = w.{newest}"
    )
