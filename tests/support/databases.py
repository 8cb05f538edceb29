"""Databases that live as long as a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from api.store import create_database


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The connection string of an empty database, which is dropped in the end."""
    name = f"case_ledger_test_{uuid4().hex[:12]}"
    create_database(server, name)
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
