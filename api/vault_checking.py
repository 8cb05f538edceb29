"""Checks of vaults and their access logs, which the worker makes once a day."""

import threading
from collections.abc import Iterator, Sequence
from uuid import UUID

import structlog

from api.anchoring import anchored_readings
from api.background import Background
from api.readiness import Trouble
from ledger.application import Ledger
from ledger.event import ActionRecorded
from ledger.outbox import Outbox
from ledger.protocol import Protocol
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.disclosures import Vaults
from ledger.vault.readings import Readings
from ledger.vault.vault_check import VaultCheck, VaultFinding

_FIRST_SECONDS = 60.0
_EVERY_SECONDS = 24 * 3600.0
_AGAIN_SECONDS = 600.0
_PAUSE_FINDINGS = 1_000
"""Counting ends here: where so much differs, `verify` says all."""
_log = structlog.get_logger(__name__)


def vault_check(
    ledger: Ledger, database: Database, outbox: Outbox, party: str, keys: DataKeys
) -> VaultCheck:
    """The check of one country's vault against this node's ledger."""

    def recorded(action_ids: Sequence[UUID]) -> dict[UUID, ActionRecorded]:
        rows = ledger.rows.select_actions(action_ids)
        return {row.action_id: row.event() for row in rows}

    return VaultCheck(database, party, keys, recorded, outbox.undecided)


class VaultChecking(Background):
    """Checks every vault and access log of this node soon after the start, then once a day."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        outbox: Outbox,
        vaults: Vaults,
        matrix_of: Protocol,
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._outbox = outbox
        self._vaults = vaults
        self._matrix_of = matrix_of
        self._lock = threading.Lock()
        self._troubles: tuple[Trouble, ...] = ()
        super().__init__(check_vaults=self._run)

    def troubles(self) -> Sequence[Trouble]:
        """What the last check found."""
        with self._lock:
            return self._troubles

    def _run(self) -> None:
        pause = _FIRST_SECONDS
        while not self._stopping.wait(pause):
            try:
                self.check()
                pause = _EVERY_SECONDS
            except Exception as error:
                _log.warning("the check of vaults was interrupted", error=type(error).__name__)
                pause = _AGAIN_SECONDS

    def check(self) -> None:
        """Check all of them now."""
        found: list[Trouble] = []
        registry = self._ledger.registry()
        if registry is None:
            return
        for vault in self._vaults:
            check = vault_check(self._ledger, self._database, self._outbox, vault.party, vault.keys)
            findings = self._counted(check.findings(registry.protocol, self._matrix_of))
            if findings:
                found.append(_vault_trouble(vault.party, findings))
            anchored = anchored_readings(self._ledger, vault.party)
            entries = self._counted(Readings(self._database, vault.party).findings(anchored))
            if entries:
                found.append(_readings_trouble(vault.party, entries))
        with self._lock:
            self._troubles = tuple(found)

    def _counted(self, findings: Iterator[VaultFinding] | Iterator[str]) -> int:
        count = 0
        for _ in findings:
            count += 1
            if count >= _PAUSE_FINDINGS or self._stopping.is_set():
                break
        return count


def _vault_trouble(party: str, findings: int) -> Trouble:
    return Trouble(
        rule="vault-differs",
        message=f"{findings} disclosures or rights in the vault of {party} are not as they were "
        f"deposited. Run `case-ledger verify vault {party}`.",
    )


def _readings_trouble(party: str, findings: int) -> Trouble:
    return Trouble(
        rule="access-log-differs",
        message=f"The access log of {party} does not hold in {findings} places. Run "
        f"`case-ledger verify readings {party}`.",
    )
