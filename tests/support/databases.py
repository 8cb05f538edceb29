"""Databases that live as long as a test needs them."""

import time
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
            connection.execute(
                SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
            )


def name_of(conninfo: str) -> str:
    """The name of the database that a connection string names."""
    return str(conninfo_to_dict(conninfo)["dbname"])


def put_back(server: str, conninfo: str, older: str) -> None:
    """Put the database ``older`` in the place of another one, under whoever is connected to it."""
    current = name_of(conninfo)
    with psycopg.connect(server, autocommit=True) as connection:
        named, gone = Identifier(current), Identifier(f"{current}_gone")
        connection.execute(SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(named))
        for attempt in range(50):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (current,),
            )
            try:
                connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(named, gone))
                break
            except psycopg.errors.ObjectInUse:
                if attempt == 49:
                    raise
                time.sleep(0.1)
        connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(older), named))
        connection.execute(SQL("DROP DATABASE {}").format(gone))
