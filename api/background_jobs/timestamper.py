"""The node's part in timestamping: it asks the authority that the settings name."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates

from api.client.bounded_answers import bounded_client
from api.runtime.settings import Settings
from ledger.publication.timestamping import Timestamping
from ledger.store.database import Database
from ledger.system.periodic_worker import PeriodicWorker

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"
MAX_BYTES = 64 * 1024

_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 5.0


def trusted_roots(settings: Settings) -> Sequence[Certificate]:
    """Return the root certificates of the trusted authorities; none if none are named.

    Raises ``OSError``, and ``ValueError`` if they are no PEM, or missing for an authority.
    """
    if settings.timestamp_roots is not None:
        return load_pem_x509_certificates(settings.timestamp_roots.read_bytes())
    if settings.timestamp_url is not None:
        raise ValueError("CASE_LEDGER_TIMESTAMP_URL needs CASE_LEDGER_TIMESTAMP_ROOTS")
    return ()


class HttpTimestampAuthority:
    """An authority at its address (RFC 3161 section 3.4)."""

    def __init__(self, url: str, *, seconds: float = _SECONDS) -> None:
        self._url = url
        headers = {"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE}
        self._http = bounded_client(
            timeout=seconds, headers=headers, limit=MAX_BYTES, seconds=seconds
        )

    def answer(self, request: bytes) -> bytes:
        """Post a request. Raises ``ConnectionError`` where no answer of its type comes in time."""
        try:
            with self._http.stream("POST", self._url, content=request) as response:
                _check_head(response)
                return response.read()
        except httpx.HTTPError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._http.close()


class Timestamper(PeriodicWorker):
    """Takes the steps of timestamping, in a thread that nothing else waits for."""

    def __init__(
        self, timestamping: Timestamping, authority: HttpTimestampAuthority, every: timedelta
    ) -> None:
        self._timestamping = timestamping
        self._authority = authority
        super().__init__(
            "timestamp", self._step, every=min(every.total_seconds(), _LOOK_EVERY_SECONDS)
        )

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Self | None:
        """Return the timestamper of the settings, or ``None`` if they name no authority.

        Raises ``ValueError`` and ``OSError`` as :func:`trusted_roots` does.
        """
        roots = trusted_roots(settings)
        if settings.timestamp_url is None:
            return None
        authority = HttpTimestampAuthority(settings.timestamp_url)
        every = timedelta(seconds=settings.timestamp_every)
        timestamping = Timestamping(database, authority, settings.timestamp_url, roots, every)
        return cls(timestamping, authority, every)

    def _close(self) -> None:
        self._authority.close()

    def _step(self) -> None:
        self._timestamping.step()


def _check_head(response: httpx.Response) -> None:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != httpx.codes.OK:
        raise ConnectionError(f"the authority answers {response.status_code}")
    if media_type != REPLY_TYPE:
        raise ConnectionError("the authority answers with another media type")
