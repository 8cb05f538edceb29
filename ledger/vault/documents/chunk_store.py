"""Stores of the encrypted chunks of documents: PostgreSQL, or a store of objects."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from ledger.refusals import OperatorError
from ledger.store.migrate import vault_schema
from ledger.vault.documents.chunk_encryption import DocumentPlace


class ChunkStoreError(OperatorError):
    """The store of chunks did not answer, or refused the request. Nothing is known of the chunk.

    The message names the kind of error, and holds nothing of a content.
    """


class ChunkStore(Protocol):
    """Keeps encrypted chunks by document, number and length of their content in bytes.

    ``connection`` is a transaction of the vault's database, which a store in that database needs. A
    chunk in any other store is durable when :meth:`put` returns. The methods of a store outside the
    database raise ``ChunkStoreError`` while it is away.
    """

    in_database: bool
    """True if the chunks are rows of the vault's own database."""

    def put(
        self,
        connection: Connection[Any] | None,
        document: UUID,
        number: int,
        length: int,
        sealed: bytes,
    ) -> None:
        """Store a chunk, in the place of an earlier one of the same number and length."""

    def get(
        self, connection: Connection[Any] | None, document: UUID, number: int, length: int
    ) -> bytes | None:
        """Return a chunk, or ``None`` if it is not here."""

    def remove(self, documents: Sequence[UUID]) -> None:
        """Remove all chunks of documents whose rows were removed. Repeating it is harmless."""

    def remove_pieces(self, place: DocumentPlace) -> None:
        """Remove the pieces of chunks that a document kept until each chunk was complete."""

    def remove_orphans(
        self, known: Callable[[Sequence[UUID]], set[UUID]], age: timedelta
    ) -> Sequence[UUID]:
        """Remove chunks whose document has no row, and that are older than ``age``.

        ``known`` returns the documents that have a row. Returns the documents whose chunks were
        removed.
        """

    def held(self, document: UUID) -> tuple[int, int] | None:
        """Return the number of a document's chunks and their bytes; ``None`` if in the database."""


class PostgresChunks:
    """Chunks as rows of the vault. They are removed with the row of their document."""

    in_database = True

    def __init__(self, party: str) -> None:
        self._schema = Identifier(vault_schema(party))

    def put(
        self,
        connection: Connection[Any] | None,
        document: UUID,
        number: int,
        length: int,  # noqa: ARG002
        sealed: bytes,
    ) -> None:
        """Store a chunk, in the place of an earlier one, when the transaction ends."""
        insert = self._named(
            "INSERT INTO {}.document_chunks (document_id, number, sealed) VALUES (%s, %s, %b)"
            " ON CONFLICT (document_id, number) DO UPDATE SET sealed = EXCLUDED.sealed"
        )
        _there(connection).execute(insert, (document, number, sealed))

    def get(
        self,
        connection: Connection[Any] | None,
        document: UUID,
        number: int,
        length: int,  # noqa: ARG002
    ) -> bytes | None:
        """Return a chunk that the connection's role may see, or ``None``."""
        select = self._named(
            "SELECT sealed FROM {}.document_chunks WHERE document_id = %s AND number = %s"
        )
        # Binary, so that no hexadecimal copy of the chunk is made.
        with _there(connection).cursor(binary=True) as cursor:
            row = cursor.execute(select, (document, number)).fetchone()
        return None if row is None else row["sealed"]

    def remove(self, documents: Sequence[UUID]) -> None:
        """Do nothing: the rows went with the document's."""

    def remove_pieces(self, place: DocumentPlace) -> None:
        """Do nothing: a complete chunk takes the place of its piece."""

    def remove_orphans(
        self,
        known: Callable[[Sequence[UUID]], set[UUID]],  # noqa: ARG002
        age: timedelta,  # noqa: ARG002
    ) -> Sequence[UUID]:
        """Return nothing: no chunk is in the database without the row of its document."""
        return ()

    def held(self, document: UUID) -> None:  # noqa: ARG002
        """Return ``None``: the check of the vault asks the database."""
        return

    def _named(self, statement: str) -> Composed:
        return SQL(statement).format(self._schema)


def _there(connection: Connection[Any] | None) -> Connection[Any]:
    if connection is None:
        raise ValueError("chunks in the database need a transaction of it")
    return connection
