"""Erases what this country holds on a person when that is owed, and confirms it on the ledger.

It is owed once two persons ordered it, or the protocol's period of retention is over. The
confirmation is signed with the country's node's key; where that is not on this machine, the
coordinator signs it.
"""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import structlog

from api.anchoring import NodeKey, node_of
from api.background import Background
from api.recording import Recording
from ledger import signing
from ledger.application import Ledger
from ledger.case import Case
from ledger.legal_basis import retention_over
from ledger.protocol import Protocol
from ledger.refusals import Refusal
from ledger.vault.disclosures import Vault, Vaults
from ledger.vocabulary.erasure import ErasureConfirmed
from projections.reading import ViewReader

_BATCH = 500
_EVERY_SECONDS = 1.0
_AFTER_TROUBLE_SECONDS = 2.0
_RETENTION_EVERY_SECONDS = 3600.0
WORK = "erase"
_log = structlog.get_logger(__name__)


class Erasing(Background):
    """Follows the ledger for orders, and looks now and then for what is over its time."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        views: ViewReader,
        recording: Recording,
        node_key: NodeKey,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._views = views
        self._recording = recording
        self._node_key = node_key
        self._unsigned: set[UUID] = set()
        self._obeyed = -1
        """The ledger's head when every order before it had been carried out."""
        super().__init__(erase=self._run)

    def _run(self) -> None:
        looked = -_RETENTION_EVERY_SECONDS
        while not self._stopping.is_set():
            pause = _EVERY_SECONDS
            try:
                self.obey()
                if time.monotonic() - looked >= _RETENTION_EVERY_SECONDS:
                    self.retire(datetime.now(UTC))
                    looked = time.monotonic()
                self.confirm()
            except Exception as error:
                _log.warning("erasing interrupted", error=type(error).__name__)
                pause = _AFTER_TROUBLE_SECONDS
            self._stopping.wait(pause)

    def obey(self) -> int:
        """Carry out what was ordered since the last look. Returns how many persons."""
        head = self._ledger.rows.max_notification_id() or 0
        if head == self._obeyed or self._ledger.registry() is None:
            return 0
        count = 0
        for vault in self._vaults:
            ordered = self._ledger.rows.originators_of(
                ["erasure_approved"], after=vault.progress(WORK), upto=head
            )
            for case_id in ordered:
                if self._stopping.is_set():
                    return count
                count += self._erase(vault, case_id)
            vault.advance(WORK, head)
        self._obeyed = head
        return count

    def retire(self, now: datetime) -> int:
        """Erase whose period of retention is over. Returns how many persons."""
        registry = self._ledger.registry()
        if registry is None or not registry.protocol.retention:
            return 0
        shortest = timedelta(days=min(rule.days for rule in registry.protocol.retention))
        count = 0
        for vault in self._vaults:
            for closed in self._views.lists.closed(vault.party, now - shortest, at_once=_BATCH):
                if self._stopping.is_set():
                    return count
                erased = vault.erased(closed)
                count += sum(
                    self._erase(vault, case_id)
                    for case_id in closed
                    if case_id not in erased and self._is_over(case_id, registry.protocol, now)
                )
        return count

    def _is_over(self, case_id: UUID, protocol: Protocol, now: datetime) -> bool:
        case = self._ledger.case(case_id)
        over = retention_over(case.state, protocol) if case is not None else None
        return over is not None and over <= now

    def confirm(self) -> int:
        """Sign that what was erased is gone. Returns how many confirmations were handed in."""
        registry = self._ledger.registry()
        if registry is None:
            return 0
        count = 0
        for vault in self._vaults:
            for case_id, erased_at in vault.unconfirmed().items():
                case = self._ledger.case(case_id)
                if case is None:
                    continue
                erasure = case.state.erasure
                done = erasure is not None and vault.party in erasure.confirmed
                if done or vault.party not in case.state.parties:
                    vault.confirmed(case_id)  # who was no party owes the ledger no word
                else:
                    count += self._confirm(vault.party, case, erased_at, registry.protocol)
        return count

    def _confirm(self, party: str, case: Case, erased_at: datetime, protocol: Protocol) -> bool:
        node = node_of(protocol, party)
        key = self._node_key(node) if node is not None else None
        if node is None or key is None:
            if case.id not in self._unsigned:
                self._unsigned.add(case.id)
                _log.warning("an erasure must be confirmed by the coordinator", party=party)
            return False
        order = case.state.erasure.order if case.state.erasure else None
        # The same bytes each time, so that the ledger records it once.
        signed = signing.sign(
            ErasureConfirmed(acted_at=erased_at, order=order),
            agency=node.id,
            key=key,
            protocol=protocol.id,
            case_id=case.id,
            action_id=uuid5(case.id, f"erasure confirmed {party} {order}"),
            signed_at=erased_at,
        )
        try:
            self._recording.of_node(node, signing.read(signed), case.id, case.version)
        except Refusal as refusal:
            _log.warning("an erasure is not confirmed yet", rule=refusal.rule)
            return False
        return True

    def _erase(self, vault: Vault, case_id: UUID) -> bool:
        held = vault.erase(case_id)
        _log.info("what was held on a person is erased", party=vault.party, held=held)
        return held
