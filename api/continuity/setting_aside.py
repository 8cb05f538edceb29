"""Lets disclosures count again that were set aside when this node rejoined the ledger.

What another country disclosed of an action is set aside while the action is not in the ledger. Once
it is recorded again, its disclosures are read like any others. Those of an action that is not
recorded within 30 days are removed.
"""

from datetime import timedelta

import structlog

from ledger.application import Ledger
from ledger.system import clock
from ledger.system.periodic_worker import NothingMoreToDo, PeriodicWorker
from ledger.vault.vault import Vault, Vaults

KEPT = timedelta(days=30)
_EVERY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class SettingAside(PeriodicWorker):
    """One thread, which ends once nothing is set aside: only a stopped node sets anything aside."""

    def __init__(self, ledger: Ledger, vaults: Vaults) -> None:
        self._ledger = ledger
        self._vaults = vaults
        super().__init__("aside", self._step, every=_EVERY_SECONDS)

    def _step(self) -> None:
        if not self.look():
            raise NothingMoreToDo

    def look(self) -> int:
        """Take back the set-aside actions that the ledger has again.

        Returns how many actions are still set aside.
        """
        return sum(self._look(vault) for vault in self._vaults)

    def _look(self, vault: Vault) -> int:
        aside = vault.set_aside()
        recorded = self._ledger.recorded_actions(list(aside)) if aside else set()
        oldest = clock.now() - KEPT
        over = {action for action, since in aside.items() if since < oldest} - recorded
        if over:
            vault.discard(sorted(over))
            _log.warning("disclosures that were set aside are removed", actions=len(over))
        if recorded or over:
            vault.take_back(recorded | over)
        return len(aside) - len(recorded) - len(over)
