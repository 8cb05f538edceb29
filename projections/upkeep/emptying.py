"""Empties every view, where events that were folded are not in the ledger any more."""

from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from projections.tables.all_views import VIEWS


def empty_views(connection: Connection[Any]) -> None:
    """Empty all views in the caller's transaction, as the owner of their tables.

    Views stand at no event then: a worker or a rebuild folds them again from the first one.
    """
    for view in VIEWS.values():
        connection.execute(SQL("TRUNCATE views.{}").format(Identifier(view.table)))
    connection.execute("DELETE FROM views.tracking")
    connection.execute("DELETE FROM views.differences")
    connection.execute("UPDATE views.checking SET above = NULL, begun_at = NULL")
