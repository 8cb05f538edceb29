"""Removes what a node need not keep: what is over, and disclosures of what was never recorded."""

from datetime import timedelta

import structlog

from api.assertions import Assertions
from api.background import Background
from api.sessions import Sessions
from ledger.application import Ledger
from ledger.outbox import Outbox
from ledger.vault.disclosures import Vault, Vaults

_ORPHAN_AGE = timedelta(minutes=10)
_DECIDED_AGE = timedelta(days=30)
_EVERY = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


class Sweeping(Background):
    """One thread, which looks every ten minutes."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        outbox: Outbox,
        assertions: Assertions,
        sessions: Sessions,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._outbox = outbox
        self._assertions = assertions
        self._sessions = sessions
        super().__init__(sweep=self._run)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if removed := self.sweep():
                    _log.info("disclosures of unrecorded actions removed", actions=removed)
            except Exception as error:
                _log.warning("sweep failed", error=type(error).__name__)
            self._stopping.wait(_EVERY.total_seconds())

    def sweep(self) -> int:
        """Remove what is over, and disclosures of actions that were never recorded.

        A crash between taking in disclosures and recording their action leaves such.
        Returns how many actions' disclosures were removed.
        """
        self._assertions.forget_expired()
        self._sessions.forget_expired()
        self._outbox.forget(_DECIDED_AGE)
        return sum(self._sweep(vault) for vault in self._vaults)

    def _sweep(self, vault: Vault) -> int:
        if sealed := vault.seal_stored():
            _log.info("disclosures of an earlier version encrypted", disclosures=sealed)
        held = vault.actions_older_than(_ORPHAN_AGE)
        # In this order: an action that is decided in between is in one or the other.
        waiting = self._outbox.undecided(held)
        orphans = set(held) - waiting - self._ledger.rows.recorded_action_ids(held)
        if orphans:
            vault.discard(sorted(orphans))
        return len(orphans)
