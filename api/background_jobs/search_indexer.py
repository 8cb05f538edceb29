"""Makes the tokens of the search that deposits did not bring, in each country's vault.

These are the tokens of imported cases, of statements from before the index, and all tokens after
the secret of the index was replaced, those of file numbers too. Each opening of a case's fields is
an entry of the access log.
"""

import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from api.exchange.access_log_anchor import node_of
from ledger.application import Ledger
from ledger.procedure.protocol import Agency, Operation
from ledger.procedure.readings import Asked
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.deposits import KeyMissingError
from ledger.vault.search.search_tokens import SearchKey
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose

_EVERY_SECONDS = 15.0
_BATCH = 500
_OTHER_KEYS_EVERY_SECONDS = 3_600.0
_BACKOFF = Backoff(1.0, 60.0)
_log = structlog.get_logger(__name__)


class SearchIndexer(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(self, ledger: Ledger, vaults: Vaults) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._unread: set[UUID] = set()
        """Cases whose disclosures do not open here; each is logged, and tried, once."""
        self._cleared: dict[str, tuple[bytes, float]] = {}
        """Of each vault, the key that its tokens have, and when that was checked."""
        super().__init__("search_index", self._step, every=_EVERY_SECONDS, backoff=_BACKOFF)

    def _step(self) -> float | None:
        moved = [self.index(vault) for vault in self._vaults]
        return 0.0 if any(moved) else None

    def index(self, vault: Vault) -> bool:
        """Make some tokens that are due. Returns whether there were any."""
        registry, key = self._ledger.registry(), vault.search_key()
        if registry is None or key is None:
            return False
        node = node_of(registry.protocol_today(clock.now()), vault.party)
        if node is None:
            return False
        self._forget_other_keys(vault, key)
        due = vault.search.due(_BATCH, self._unread)
        for case_id, numbers in due.items():
            if self.is_stopping:
                return False
            self._index_case(vault, key, node, case_id, numbers)
        return bool(due)

    def _forget_other_keys(self, vault: Vault, key: SearchKey) -> None:
        cleared, at = self._cleared.get(vault.party, (b"", 0.0))
        if cleared != key.id or time.monotonic() - at > _OTHER_KEYS_EVERY_SECONDS:
            vault.search.forget_other_keys(key)
            vault.file_numbers.renew_tokens(key)
            self._cleared[vault.party] = key.id, time.monotonic()

    def _index_case(
        self, vault: Vault, key: SearchKey, node: Agency, case_id: UUID, numbers: Sequence[int]
    ) -> None:
        reading = vault.readings.record(
            Asked(
                agency=node.id,
                role=node.role,
                case_id=case_id,
                operation=Operation.INDEX,
                groups=(FieldGroup.IDENTITY, FieldGroup.CONTACT),
                purpose=Purpose.IDENTIFICATION,
            )
        )
        try:
            held = vault.personal_fields(reading)
        except (KeyMissingError, SealError) as error:
            self._unread.add(case_id)
            _log.error("a case cannot be indexed", error=type(error).__name__)
            return
        vault.search.put(key, held, numbers)
