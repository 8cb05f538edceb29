"""The ledger node's part in publication: it signs as the ledger grows, and gathers cosignatures."""

import threading
import time
from collections.abc import Callable

import structlog

from api.runtime.background import Background
from ledger.application import Ledger
from ledger.publication.publisher import AnotherKeyError, HistoryChangedError, Publication, Standing
from ledger.system import clock

_EVERY_SECONDS = 0.2
_AT_LEAST_EVERY_SECONDS = 2.0
_REFRESH_LOOK_SECONDS = 60.0
_AT_MOST_EVERY_SECONDS = 0.05
"""Signing costs a commit of its own, which appends must not wait for."""
_log = structlog.get_logger(__name__)


class Publisher(Background):
    """Signs in one thread, so that no witness delays it, and gathers in another."""

    def __init__(
        self, ledger: Ledger, publication: Publication, when_changed: Callable[[], None]
    ) -> None:
        self.trouble: HistoryChangedError | AnotherKeyError | None = None
        """Why nothing more is signed, if so."""
        self._ledger = ledger
        self._publication = publication
        self.signed = 0
        """The last signed size, as this process knows it."""
        self._when_changed = when_changed
        self._grown = threading.Event()
        super().__init__(sign=self._sign, gather=self._gather)

    def grown(self) -> None:
        """Say that there is something to sign, so that it is not only found at the next look."""
        self._grown.set()

    def _wake(self) -> None:
        self._grown.set()

    def _close(self) -> None:
        self._publication.close()

    def _sign(self) -> None:
        while not self._stopping.is_set():
            before = self.signed, self.trouble
            try:
                head = self._ledger.rows.max_notification_id() or 0
                if head != self.signed or self.trouble is not None:
                    self.signed = self._publication.sign()
                self.trouble = None
            except (HistoryChangedError, AnotherKeyError) as error:
                if str(error) != str(self.trouble):
                    _log.error("nothing more is signed", why=type(error).__name__)
                self.trouble = error
            except Exception as error:
                _log.warning("signing interrupted", error=type(error).__name__)
            if before != (self.signed, self.trouble):
                self._when_changed()
            self._stopping.wait(_AT_MOST_EVERY_SECONDS)
            self._grown.wait(_EVERY_SECONDS)
            self._grown.clear()

    def _gather(self) -> None:
        done: Standing | None = None
        pause = _EVERY_SECONDS
        look_again = 0.0
        while not self._stopping.is_set():
            try:
                now = self._publication.standing()
                if self.trouble is None and not (now == done and _is_complete(now)):
                    done = self._publication.gather()
                if self.trouble is None and time.monotonic() >= look_again:
                    look_again = time.monotonic() + _REFRESH_LOOK_SECONDS
                    self._publication.refresh(clock.now())
                pause = _EVERY_SECONDS if now != done else min(2 * pause, _AT_LEAST_EVERY_SECONDS)
            except Exception as error:
                _log.warning("publication interrupted", error=type(error).__name__)
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        """Wait, for a witness that is away, no longer than until the ledger grows."""
        signed = self.signed
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stopping.wait(_EVERY_SECONDS):
            if self.signed != signed:
                return


def _is_complete(standing: Standing) -> bool:
    """Whether every witness has cosigned what was signed last."""
    behind = [size for size in standing.witnesses.values() if size < standing.signed]
    return standing.published == standing.signed and not behind
