"""The store of documents' contents that the settings name."""

from collections.abc import Callable
from functools import partial

from api.runtime.settings import Settings
from ledger.vault.documents.chunk_store import ChunkStore, PostgresChunks


def document_chunks(settings: Settings) -> Callable[[str], ChunkStore]:
    """Return a function that returns the store of a party's documents.

    Raises ``ImportError`` if the settings name an object store and the extra ``objects`` is not
    installed, and ``ValueError`` if the store's configuration is wrong.
    """
    if settings.document_store is None:
        return PostgresChunks
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    from ledger.vault.documents.object_chunks import ObjectChunks

    try:
        store = S3Store.from_url(settings.document_store)
    except BaseError as error:
        raise ValueError(f"CASE_LEDGER_DOCUMENT_STORE: {error}") from error
    return partial(ObjectChunks, store)
