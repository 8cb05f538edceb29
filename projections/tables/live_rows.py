"""Reads rows of the live slot of a view, as the application's role may."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from ledger.store.database import Database
from projections.tables.stored_documents import StoredDocuments


class LiveRows:
    """A database whose views are read, and what is known of damaged documents in them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.documents = StoredDocuments()

    def _rows(
        self, statement: LiteralString, projection: str, params: Mapping[str, Any]
    ) -> Sequence[dict[str, Any]]:
        with self._database.connection() as connection:
            return connection.execute(
                statement,
                {"projection": projection, **params},
                prepare=True,
            ).fetchall()
