"""Looks for markers of ``case`` and ``personal`` values wherever a node keeps or says something."""

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from tests.support.strategies import found_in

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2
"""


def tables_with(conninfo: str, marks: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """For each table of the database that holds any of ``marks``, which ones."""
    sought = frozenset(marks)
    found = {}
    with psycopg.connect(conninfo) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            rows = connection.execute(
                SQL("SELECT t::text FROM {}.{} t").format(Identifier(schema), Identifier(table))
            )
            hits = found_in(sought, "\n".join(row[0] for row in rows))
            if hits:
                found[f"{schema}.{table}"] = hits
    return found


def server_log(conninfo: str) -> str:
    """Return the statements that the embedded server logged; none for another host's server."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    log = Path(row[0] if row else "") / "log"
    return log.read_text(errors="replace") if log.is_file() else ""


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Collect this process's logs from debug level, of ``logging`` and of ``structlog``."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    configured = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(said),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        structlog.configure(**configured)
