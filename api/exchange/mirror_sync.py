"""A country's node follows the ledger node: it copies, verifies, and says how far it is."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import httpx
import structlog

from api.client import LedgerClient, RefusedError
from ledger.events.newer_event import NewerEventError
from ledger.replication.event_source import MirrorSource, SourceError
from ledger.replication.mirror import DivergedError, Mirror
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker

_WAIT_SECONDS = 1.0
_BACKOFF = Backoff(0.2, 2.0)
_NO_ROOM_SECONDS = 2.0
_PUBLISHED_SECONDS = 0.5
_PUBLISHED_AGAIN_SECONDS = 3.0
"""So often the published checkpoint is read again once it has all that is copied here.

Until the ledger grows, it only gets later times and further cosignatures.
"""
_POLICIES_SECONDS = 5.0
"""How often a copy that began later is looked through for checkpoints of earlier policies."""
_PAGE = 500
_log = structlog.get_logger(__name__)


class HttpSource:
    """A node to copy from, over HTTP, as one that may read the whole ledger."""

    def __init__(self, url: str, client: LedgerClient, *, wait: float = _WAIT_SECONDS) -> None:
        self.name = url
        self._client = client
        self._wait = wait

    def head(self, after: int, upto: int | None = None) -> str | None:
        try:
            return self._client.signed_head(after, self._wait, upto)
        except (RefusedError, httpx.TransportError) as error:
            if _is_nothing_yet(error):
                return None
            raise _told(error) from error

    def entries(self, after: int, upto: int) -> Sequence[bytes]:
        entries: list[bytes] = []
        try:
            while after < upto:
                page = self._client.events(after, limit=min(_PAGE, upto - after))
                if not page.events:
                    break
                entries += [event.entry.encode("ascii") for event in page.events]
                if page.next <= after:
                    raise ValueError("a page that leads nowhere")
                after = page.next
        except (RefusedError, httpx.TransportError) as error:
            raise _told(error) from error
        except ValueError as error:
            raise SourceError("the source gave no events") from error
        return entries

    def published(self) -> str | None:
        try:
            return self._client.checkpoint()
        except (RefusedError, httpx.TransportError) as error:
            if _is_nothing_yet(error):
                return None
            raise _told(error) from error

    def policies(self) -> str:
        """Return the source's recorded policies. Raises as the other methods do."""
        try:
            return self._client.policies()
        except (RefusedError, httpx.TransportError) as error:
            raise _told(error) from error


def _told(error: RefusedError | httpx.TransportError) -> Exception:
    """Return the error that a source raises for this one."""
    if isinstance(error, httpx.TransportError):
        return ConnectionError(type(error).__name__)
    if error.problem.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return ConnectionError(error.problem.rule)
    return SourceError(f"the source refuses ({error.problem.rule})")


def _is_nothing_yet(error: RefusedError | httpx.TransportError) -> bool:
    return isinstance(error, RefusedError) and error.problem.rule == "not-published"


class MirrorSync(PeriodicWorker):
    """Takes the mirror's steps for as long as the block runs."""

    def __init__(
        self, mirror: Mirror, source: MirrorSource, policies: Callable[[], str] | None = None
    ) -> None:
        """Prepare the copying of a source's events into the mirror.

        ``policies`` gives the source's recorded policies. It raises as the source does.
        """
        self.reachable = False
        self.heard_at: datetime | None = None
        self.trouble: str | None = None
        self.diverged = False
        self.newer: int | None = None
        """The position of an event that needs a later program: nothing from there on is copied."""
        self.size = 0
        """How many events are copied, as this process knows it."""
        self.when_grown: Callable[[], None] = lambda: None
        self.when_changed: Callable[[], None] = lambda: None
        self.may_copy: Callable[[], bool] = lambda: True
        """Asked before each step: whether this node may take in anything new."""
        self._mirror = mirror
        self._source = source
        self._policies = policies
        self._published_again = self._policies_again = 0.0
        """When each is asked for again, by ``time.monotonic()``."""
        # The source answers once there is something new: no pause is needed between two steps.
        super().__init__("copy", self._step, every=0.0, backoff=_BACKOFF)

    def _step(self) -> float | None:
        if not self.may_copy():
            return _NO_ROOM_SECONDS
        try:
            self._copy()
        except ConnectionError:
            self.reachable = False
            self.when_changed()
            raise
        except DivergedError as error:
            if not self.diverged:
                _log.error("the log contradicts itself: copying stops", what=str(error))
            self.diverged = True
            self.trouble = str(error)
            self.when_changed()
            raise
        except NewerEventError as error:
            if self.newer != error.position:
                _log.warning("copying stops: this node must be updated", position=error.position)
            self.newer = error.position
            self._heard(str(error))
            self._copy_checkpoints()  # of the events that are copied
            raise
        except SourceError as error:
            _log.warning("nothing is copied", why=str(error))
            self._heard(str(error))
            raise
        self.newer = None
        self._heard(None)
        return None

    def _copy(self) -> None:
        if self._mirror.step(self._source):
            self._tell()
            self._published_again = 0.0
        self._copy_checkpoints()

    def _copy_checkpoints(self) -> None:
        if time.monotonic() >= self._published_again:
            is_whole = self._mirror.step_published(self._source) >= self.size
            pause = _PUBLISHED_AGAIN_SECONDS if is_whole else _PUBLISHED_SECONDS
            self._published_again = time.monotonic() + pause
        if self._policies is not None and time.monotonic() >= self._policies_again:
            self._policies_again = time.monotonic() + _POLICIES_SECONDS
            self._mirror.keep_earlier_checkpoints(self._policies)

    def _tell(self) -> None:
        self.size = self._mirror.size
        self.when_grown()

    def _heard(self, trouble: str | None) -> None:
        self.reachable, self.diverged = True, False
        self.heard_at = clock.now()
        self.trouble = trouble
        self.when_changed()
