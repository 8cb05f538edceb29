"""Removes what a node need not keep: what is over, and disclosures of what was never recorded.

Uploads of documents that no action has are removed after a day, and objects without a document
after a week.
"""

import time
from datetime import timedelta
from uuid import UUID

import structlog

from api.authentication.assertions import Assertions
from api.authentication.sessions import Sessions
from api.runtime.readiness import Check
from ledger.application import Ledger
from ledger.replication.mailbox import Mailbox
from ledger.replication.outbox import Outbox
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vault, Vaults

_ORPHAN_AGE = timedelta(minutes=10)
_DECIDED_AGE = timedelta(days=30)
_ACKNOWLEDGED_AGE = timedelta(days=90)
"""So long the acknowledgement of a parcel is kept."""
_EVERY = timedelta(minutes=10)
_ORPHANED_CHUNKS_SECONDS = 24 * 3600.0
_log = structlog.get_logger(__name__)


class Janitor(PeriodicWorker):
    """One thread, which looks every ten minutes."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        outbox: Outbox,
        assertions: Assertions,
        sessions: Sessions,
        mailbox: Mailbox,
        troubles: Check = tuple,
        *,
        patience: timedelta = _ORPHAN_AGE,
    ) -> None:
        """Prepare the janitor.

        ``troubles`` finds the troubles of the clock. Nothing is removed while there is one.
        ``patience`` is how long disclosures must have been seen without their action.
        """
        self._troubles = troubles
        self._patience = patience
        self._seen: dict[tuple[str, UUID], float] = {}
        """Since when, by the monotonic clock, disclosures are seen without their action."""
        self._ledger = ledger
        self._vaults = vaults
        self._outbox = outbox
        self._assertions = assertions
        self._sessions = sessions
        self._mailbox = mailbox
        self._chunks_at = time.monotonic()
        """The time of the next look for chunks without a document, by the monotonic clock."""
        super().__init__(
            "sweep", self._step, every=_EVERY.total_seconds(), backoff=Backoff(1.0, 60.0)
        )

    def _step(self) -> None:
        if removed := self.sweep():
            _log.info("disclosures of unrecorded actions removed", actions=removed)

    def sweep(self) -> int:
        """Remove expired rows, and disclosures of actions that were never recorded.

        A crash between taking in disclosures and recording their action leaves such disclosures.
        They are removed once this process has seen them twice, ten minutes apart by the monotonic
        clock, so that no clock that jumps removes those of an action that is just being recorded.
        Returns how many actions' disclosures were removed.
        """
        if self._troubles():
            return 0
        self._assertions.forget_expired()
        self._sessions.forget_expired()
        self._outbox.forget(_DECIDED_AGE)
        if expired := self._mailbox.expire():
            _log.warning("parcels expired", parcels=expired)
        for vault in self._vaults:
            vault.sent.forget(_ACKNOWLEDGED_AGE)
            vault.drafts.clean_up()
        removed = sum(self._sweep(vault) for vault in self._vaults)
        # Last: an object store that is away leaves only its own objects to a later step.
        self._sweep_documents()
        return removed

    def _sweep_documents(self) -> None:
        """Remove unused uploads, and once a day chunks without a document.

        Raises ``ChunkStoreError`` if the object store is away. The next step goes on.
        """
        for vault in self._vaults:
            if unused := vault.documents.sweep():
                _log.info("uploads that no action has removed", uploads=unused)
        if time.monotonic() >= self._chunks_at:
            for vault in self._vaults:
                if orphans := vault.documents.remove_orphans():
                    _log.warning("chunks without a document removed", documents=orphans)
            self._chunks_at = time.monotonic() + _ORPHANED_CHUNKS_SECONDS

    def _sweep(self, vault: Vault) -> int:
        if sealed := vault.seal_stored():
            _log.info("disclosures of an earlier version encrypted", disclosures=sealed)
        held = vault.actions_older_than(_ORPHAN_AGE)
        # In this order: an action that is decided in between is in one or the other.
        kept = self._outbox.kept(held) | vault.set_aside().keys()
        orphans = set(held) - kept - self._ledger.recorded_actions(held)
        now, seen = time.monotonic(), self._seen
        first_seen = {action: seen.get((vault.party, action), now) for action in orphans}
        over = sorted(
            a for a, at in first_seen.items() if now - at >= self._patience.total_seconds()
        )
        self._seen = {key: at for key, at in seen.items() if key[0] != vault.party} | {
            (vault.party, action): at for action, at in first_seen.items() if action not in over
        }
        if over:
            vault.discard(over)
        return len(over)
