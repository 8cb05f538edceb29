"""Chunks of documents in a store of objects: S3 and what is compatible with it, by ``obstore``.

An object's name has the country, the document's id, the chunk's number and the length of its
content. A piece of an unfinished chunk has a name of its own, so a crash between the writing of an
object and the commit in the database leaves the acknowledged piece as it was.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from psycopg import Connection

from ledger.system import clock
from ledger.vault.documents.chunk_encryption import DocumentPlace
from ledger.vault.documents.chunk_store import ChunkStoreError

_FOLDERS_AT_ONCE = 1_000
_NO_BUCKET = "NoSuchBucket"
"""The code of S3 for a bucket that is not there. obstore raises the same error for a missing object
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""


class ObjectChunks:
    """Chunks as objects. Each is written by one request, and durable when that is answered."""

    in_database = False

    def __init__(self, store: ObjectStore, party: str) -> None:
        self._store = store
        self._party = party.lower()

    def put(
        self,
        connection: Connection[Any] | None,  # noqa: ARG002
        document: UUID,
        number: int,
        length: int,
        sealed: bytes,
    ) -> None:
        """Store a chunk, in the place of an earlier one of the same number and length."""
        with _answered():
            obstore.put(self._store, self._name(document, number, length), sealed)

    def get(
        self,
        connection: Connection[Any] | None,  # noqa: ARG002
        document: UUID,
        number: int,
        length: int,
    ) -> bytes | None:
        """Return a chunk, or ``None`` if it is not here."""
        with _answered():
            try:
                return bytes(obstore.get(self._store, self._name(document, number, length)).bytes())
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise _away("the bucket is not there") from None
                return None

    def remove(self, documents: Sequence[UUID]) -> None:
        """Remove all chunks of documents, unfinished pieces too."""
        with _answered():
            for document in documents:
                for page in obstore.list(self._store, prefix=self._folder(document)):
                    obstore.delete(self._store, [one["path"] for one in page])

    def remove_pieces(self, place: DocumentPlace) -> None:
        """Remove the pieces of chunks that a document kept until each chunk was complete."""
        document = place.document_id
        whole = {self._name(document, n, place.length(n)) for n in range(place.chunks)}
        with _answered():
            for page in obstore.list(self._store, prefix=self._folder(document)):
                pieces = [one["path"] for one in page if one["path"] not in whole]
                if pieces:
                    obstore.delete(self._store, pieces)

    def remove_orphans(
        self, known: Callable[[Sequence[UUID]], set[UUID]], age: timedelta
    ) -> Sequence[UUID]:
        """Remove chunks whose document has no row, and that are older than ``age``.

        A process that is killed between the writing of an object and the commit in the database may
        leave such chunks. A row is committed before the first chunk of its document is written, so
        the folders are listed before the rows are read.
        """
        removed: list[UUID] = []
        stored = list(self._documents())
        for first in range(0, len(stored), _FOLDERS_AT_ONCE):
            documents = stored[first : first + _FOLDERS_AT_ONCE]
            without_row = sorted({*documents} - known(documents))
            old = [document for document in without_row if self._is_older(document, age)]
            self.remove(old)
            removed += old
        return removed

    def held(self, document: UUID) -> tuple[int, int]:
        """Return the number of chunks of a document, without older pieces, and their bytes."""
        largest: dict[str, int] = {}
        with _answered():
            for page in obstore.list(self._store, prefix=self._folder(document)):
                for one in page:
                    number = one["path"].rpartition("/")[2].partition("-")[0]
                    largest[number] = max(one["size"], largest.get(number, 0))
        return len(largest), sum(largest.values())

    def check(self) -> None:
        """Ask the store for a list. Raises ``ChunkStoreError`` if it does not answer."""
        with _answered():
            next(iter(obstore.list(self._store, prefix=f"{self._party}/")), None)

    def _documents(self) -> Iterator[UUID]:
        """Yield each document that has an object here."""
        with _answered():
            folders = obstore.list_with_delimiter(self._store, prefix=self._party)
        for folder in folders["common_prefixes"]:
            try:
                yield UUID(folder.rpartition("/")[2])
            except ValueError:
                continue  # not of this program

    def _is_older(self, document: UUID, age: timedelta) -> bool:
        """Return whether a document has objects, each written longer ago than ``age``."""
        with _answered():
            pages = obstore.list(self._store, prefix=self._folder(document))
            written = [one["last_modified"] for page in pages for one in page]
        return bool(written) and max(written) <= clock.now() - age

    def _folder(self, document: UUID) -> str:
        return f"{self._party}/{document}"

    def _name(self, document: UUID, number: int, length: int) -> str:
        return f"{self._folder(document)}/{number:06}-{length}"


@contextmanager
def _answered() -> Iterator[None]:
    """Turn the errors of a store that is away, or that refuses, into ``ChunkStoreError``."""
    try:
        yield
    except (BaseError, OSError) as error:
        # The message of the library names the object and the address of the store.
        raise _away(type(error).__name__) from error


def _away(why: str) -> ChunkStoreError:
    return ChunkStoreError(
        f"the object store of the documents does not serve ({why}). Start it, and compare"
        " CASE_LEDGER_DOCUMENT_STORE and the AWS_ variables with its bucket and its keys"
    )
