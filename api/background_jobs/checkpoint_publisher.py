"""The ledger node's part in publication: it signs as the ledger grows, and gathers cosignatures."""

import time
from collections.abc import Callable

import structlog

from ledger.application import Ledger
from ledger.publication.publisher import (
    AnotherKeyError,
    HistoryChangedError,
    LogProgress,
    Publication,
)
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker

_EVERY_SECONDS = 0.2
_SIGN_EVERY_SECONDS = 5.0
"""A notice of the database wakes the signer at each event; this is for notices that are lost."""
_AT_LEAST_EVERY_SECONDS = 2.0
"""The longest pause while a witness has not cosigned."""
_COMPLETE_SECONDS = 5.0
"""The pause once every witness has cosigned. The signer wakes the gatherer as the log grows."""
_REFRESH_LOOK_SECONDS = 60.0
_AT_MOST_EVERY_SECONDS = 0.05
"""Signing costs a commit of its own, which appends must not wait for."""
_BACKOFF = Backoff(0.2, 2.0)
_log = structlog.get_logger(__name__)


class CheckpointPublisher(PeriodicWorker):
    """Signs in one thread, so that no witness delays it. :attr:`gathering` is the other thread."""

    def __init__(
        self, ledger: Ledger, publication: Publication, when_changed: Callable[[], None]
    ) -> None:
        self.trouble: HistoryChangedError | AnotherKeyError | None = None
        """The reason for which nothing more is signed, if so."""
        self.signed = 0
        """The last signed size, as this process knows it."""
        self.gathering = CosignatureGatherer(publication, lambda: self.trouble is None)
        """Asks the witnesses to cosign."""
        self._ledger = ledger
        self._publication = publication
        self._when_changed = when_changed
        super().__init__(
            "sign",
            self._sign,
            every=_SIGN_EVERY_SECONDS,
            at_most_every=_AT_MOST_EVERY_SECONDS,
            backoff=_BACKOFF,
        )

    def _sign(self) -> None:
        before = self.signed, self.trouble
        try:
            head = self._ledger.head()
            if head != self.signed or self.trouble is not None:
                self.signed = self._publication.sign()
            self.trouble = None
        except (HistoryChangedError, AnotherKeyError) as error:
            if str(error) != str(self.trouble):
                _log.error("nothing more is signed", why=type(error).__name__)
            self.trouble = error
        if before[0] != self.signed:
            self.gathering.wake()
        if before != (self.signed, self.trouble):
            self._when_changed()


class CosignatureGatherer(PeriodicWorker):
    """Asks the witnesses for cosignatures: as the log grows, and less often while one is away."""

    def __init__(self, publication: Publication, is_signing: Callable[[], bool]) -> None:
        self._publication = publication
        self._is_signing = is_signing
        self._done: LogProgress | None = None
        self._pause = _EVERY_SECONDS
        self._refresh_at = 0.0
        """When cosignatures are to be renewed, by ``time.monotonic()``."""
        super().__init__("gather", self._gather, every=_EVERY_SECONDS, at_most_every=_EVERY_SECONDS)

    def _gather(self) -> float:
        now = self._publication.standing()
        if self._is_signing() and not (now == self._done and _is_complete(now)):
            self._done = self._publication.gather()
        if self._is_signing() and time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + _REFRESH_LOOK_SECONDS
            self._publication.refresh(clock.now())
        if now == self._done and _is_complete(now):
            self._pause = _EVERY_SECONDS
            return _COMPLETE_SECONDS
        is_moving = now != self._done
        self._pause = _EVERY_SECONDS if is_moving else min(2 * self._pause, _AT_LEAST_EVERY_SECONDS)
        return self._pause

    def _close(self) -> None:
        self._publication.close()


def _is_complete(standing: LogProgress) -> bool:
    """Return whether every witness has cosigned the last signed checkpoint."""
    behind = [size for size in standing.witnesses.values() if size < standing.signed]
    return standing.published == standing.signed and not behind
