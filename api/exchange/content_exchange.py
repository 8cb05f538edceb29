"""Exchanges contents of documents with other countries' nodes, by sealed parcels."""

from collections.abc import Callable
from datetime import timedelta

import structlog

from api.exchange import addressed_statement
from api.exchange.access_log_anchor import NodeKey
from api.exchange.content_fetching import ContentFetching
from api.exchange.content_giving import ContentGiving
from api.exchange.parcel_delivery import ParcelDelivery
from ledger.application import Ledger
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.documents.content_messages import (
    TYPE,
    ContentAsked,
    ContentHeld,
    ContentMessage,
    HeldContent,
)
from ledger.vault.sealed_parcels import Parcel
from ledger.vault.sent_parcels import SentParcel
from ledger.vault.vault import Vault, Vaults

_EVERY_SECONDS = 5.0
_BETWEEN_STEPS_SECONDS = 0.05
_BACKOFF = Backoff(0.2, 5.0)
_log = structlog.get_logger(__name__)


class ContentExchange(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        delivery: ParcelDelivery,
        node_key: NodeKey,
        *,
        patience: float = 60.0,
        may_take: Callable[[], bool] = lambda: True,
        is_in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the exchange.

        ``patience``: seconds until a content is asked for again. Nothing is asked for without
        ``may_take``, as on a full disk, and nothing is given or asked for while ``is_in_doubt``
        returns true: the copy of the ledger is not the newest.
        """
        self._ledger = ledger
        self._vaults = vaults
        self._may_take = may_take
        self._is_in_doubt = is_in_doubt
        self._head = -1
        """The ledger's head at the last step."""
        self.fetching = ContentFetching(
            ledger, delivery, node_key, patience=timedelta(seconds=patience), wake=self.wake
        )
        self.giving = ContentGiving(ledger, delivery, lambda: self.is_stopping)
        super().__init__("contents", self._step, every=_EVERY_SECONDS, backoff=_BACKOFF)

    def _step(self) -> float:
        return _BETWEEN_STEPS_SECONDS if self.step() else _EVERY_SECONDS

    def step(self) -> bool:
        """Answer one question of each country, and ask for what is due.

        Returns whether more may be due.
        """
        vaults = [vault for vault in self._vaults if not vault.contents.is_idle()]
        if not vaults and not self.giving.is_asked:
            return False
        registry = self._ledger.registry()
        if registry is None or self._is_in_doubt():
            return False
        head = self._ledger.head()
        has_grown, self._head = head != self._head, head
        more = False
        for vault in self._vaults:
            for other in registry.country_keys:
                if other == vault.party:
                    continue
                try:
                    more |= self.giving.answer(vault, other, registry)
                except Refusal as refusal:  # the mailbox is full: the other asks again
                    _log.warning("a content cannot be given now", rule=refusal.rule)
        for vault in vaults:
            if self._may_take():
                more |= self.fetching.step(vault, registry, has_grown=has_grown)
        return more

    def take_in(
        self, vault: Vault, parcel: Parcel, message: ContentMessage, registry: Registry
    ) -> None:
        """Take in a message. Raises ``ParcelError`` where a statement does not hold."""
        if isinstance(message, ContentAsked):
            self.giving.take_in(vault, parcel.sender, message)
            self.wake()
        elif isinstance(message, ContentHeld):
            said = addressed_statement.read(
                message.statement,
                TYPE,
                HeldContent,
                sender=parcel.sender,
                recipient=vault.party,
                registry=registry,
                own=self._vaults,
            )
            vault.given.confirmed(said.action, said.digest, parcel.sender, message.statement)
        else:
            self.fetching.take_in(vault, parcel.sender, message)

    def send_again(self, vault: Vault, parcel: SentParcel) -> bool:
        """Make a message due again that did not arrive. Returns whether it still holds.

        Questions and chunks are not sent again: the node that fetches asks again for what it lacks.
        """
        if parcel.kind != "content_held" or parcel.about is None:
            return False
        return self.fetching.send_again(vault, parcel.about)


CONTENT_KINDS = frozenset({"content_asked", "content_part", "content_refused", "content_held"})
"""The kinds of messages that :class:`ContentExchange` sends."""
