"""Databases that live as long as a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier


@contextmanager
def new_database(server: str, template: str = "template0") -> Iterator[str]:
    """The connection string of a new database, which is dropped in the end.

    It is empty, or a copy of ``template``, to which nobody may be connected.
    """
    name = f"case_ledger_test_{uuid4().hex[:12]}"
    # Copying files is quicker than writing each page to the log, where nothing waits for disks.
    created = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(created.format(Identifier(name), Identifier(template)))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def name_of(conninfo: str) -> str:
    """The name of the database that a connection string names."""
    return str(conninfo_to_dict(conninfo)["dbname"])
