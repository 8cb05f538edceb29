"""The store of documents' contents that the settings name."""

import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.vault.documents.chunk_store import ChunkStore, ChunkStoreError, PostgresChunks

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Store

_CONNECT_SECONDS: Final = 5
_REQUEST_SECONDS: Final = 30
"""A request brings one chunk, of 256 KiB. The library's own bound is none."""
_RETRIES: Final = 2
_RETRY_SECONDS: Final = 10
"""A request that failed is sent again for so long. Each holds a thread and, when it writes, a
connection to the database, and the library would try for three minutes. The sender of the request
tries again instead."""
_PROBE_SECONDS: Final = 2
_PROBE_AGAIN_SECONDS: Final = 30.0
_AWAY: Final = Trouble(
    rule="document-store-away",
    message="The object store of the documents does not serve this node, so no document can be"
    " uploaded or read. Start it, and compare CASE_LEDGER_DOCUMENT_STORE and the AWS_ variables"
    " with its bucket and its keys.",
    effect=Effect.WARNING,
    title="No documents",
)


def document_chunks(settings: Settings) -> Callable[[str], ChunkStore]:
    """Return a function that returns the store of a party's documents.

    Raises ``ImportError`` if the settings name an object store and the extra ``objects`` is not
    installed, and ``ValueError`` if the store's configuration is wrong.
    """
    if settings.document_store is None:
        return PostgresChunks
    from ledger.vault.documents.object_chunks import ObjectChunks

    return partial(ObjectChunks, _store(settings.document_store, _REQUEST_SECONDS, _RETRIES))


class ObjectStoreCheck:
    """Asks now and then whether the object store of the settings answers."""

    def __init__(self, url: str) -> None:
        """``url`` is as in the settings. Raises as :func:`document_chunks`."""
        from ledger.vault.documents.object_chunks import ObjectChunks

        self._chunks = ObjectChunks(_store(url, _PROBE_SECONDS, 0), "probe")
        self._is_away = False
        self._next = 0.0

    @classmethod
    def of(cls, settings: Settings) -> "ObjectStoreCheck | None":
        """Return the check of the store that the settings name, or ``None``."""
        return None if settings.document_store is None else cls(settings.document_store)

    def troubles(self) -> Sequence[Trouble]:
        """Return the trouble of a store that does not answer.

        A store that answered is asked again after 30 seconds: each request costs money.
        """
        if self._is_away or time.monotonic() >= self._next:
            try:
                self._chunks.check()
                self._is_away = False
            except ChunkStoreError:
                self._is_away = True
            self._next = time.monotonic() + _PROBE_AGAIN_SECONDS
        return (_AWAY,) if self._is_away else ()


def _of_environment() -> "ClientConfig":
    """Return the options of the HTTP client that the environment has.

    The library reads them itself only if it is given no other option of the client.
    """
    found: ClientConfig = {}
    if (allow := os.environ.get("AWS_ALLOW_HTTP")) is not None:
        found["allow_http"] = allow.lower() in ("1", "true", "yes")
    if (proxy := os.environ.get("AWS_PROXY_URL")) is not None:
        found["proxy_url"] = proxy
    return found


def _store(url: str, seconds: int, retries: int) -> "S3Store":
    """Return a store whose requests end within ``seconds``.

    Raises as :func:`document_chunks`.
    """
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    try:
        return S3Store.from_url(
            url,
            client_options={
                **_of_environment(),
                "connect_timeout": timedelta(seconds=min(seconds, _CONNECT_SECONDS)),
                "timeout": timedelta(seconds=seconds),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=1),
                    "base": 2,
                },
            },
        )
    except BaseError as error:
        raise ValueError(f"CASE_LEDGER_DOCUMENT_STORE: {error}") from error
