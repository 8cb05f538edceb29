"""Fetches contents of documents that another country's node has and this country must hold.

The chunks come in order, each durable before it is acknowledged. A node that was stopped goes on at
the next chunk. A content counts as held once its SHA-256 is the signed one. Then the node sends a
signed statement to the country that gave it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from api.exchange import addressed_statement
from api.exchange.access_log_anchor import NodeKey
from api.exchange.parcel_delivery import ParcelDelivery
from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.system.identifiers import new_id
from ledger.vault.documents.chunk_encryption import (
    CHUNK_BYTES,
    KEY_BYTES,
    DocumentPlace,
    open_chunk,
    open_metadata,
)
from ledger.vault.documents.content_messages import (
    AT_MOST_CHUNKS,
    TYPE,
    ContentAsked,
    ContentHeld,
    ContentPart,
    ContentRefusal,
    ContentRefused,
    HeldContent,
    as_bytes,
    as_text,
    refusal_place,
    transfer_place,
)
from ledger.vault.documents.given_contents import Between, due_part, may_give
from ledger.vault.documents.received_contents import AwaitedContent
from ledger.vault.vault import Vault

AT_ONCE = 4
"""So many contents are fetched from one country at a time: at most 16 MiB wait at the mailbox."""
_LOOKED_AT = 200
TRIES_EACH = 3
"""So often a country is asked in vain before another one that should have the content is."""
_OF_THE_GIVER = (
    ContentRefusal.NOT_HERE,
    ContentRefusal.DIGEST,
    ContentRefusal.TYPE,
    ContentRefusal.INFECTED,
)
"""After these another country that should have the content is asked."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Transfer:
    """A content that this process fetches. Another process begins another transfer."""

    document: UUID
    giver: str
    message: ContentAsked = field(repr=False)
    place: DocumentPlace
    key: bytes = field(repr=False)
    came_at: float
    """The time at which something came, or was asked for, by the monotonic clock."""
    is_over: bool = False
    """True once every chunk that was asked for came."""


class ContentFetching:
    """Asks for contents and takes chunks in, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        delivery: ParcelDelivery,
        node_key: NodeKey,
        *,
        patience: timedelta,
        wake: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._node_key = node_key
        self._patience = patience
        self._wake = wake
        self._began = clock.now()
        self._transfers: dict[tuple[str, UUID], _Transfer] = {}
        """By the vault's country and the document."""
        self._lock = threading.Lock()

    def take_in(self, vault: Vault, other: str, message: ContentPart | ContentRefused) -> None:
        """Take in a chunk or a refusal.

        One that belongs to no transfer of this process, or that the other node did not make, has no
        effect.
        """
        transfer = self._of(vault, other, message.transfer)
        if transfer is None:
            return
        try:
            if isinstance(message, ContentRefused):
                sealed = as_bytes(message.sealed)
                place = refusal_place(transfer.message, transfer.place.case_id)
                said = open_metadata(transfer.key, sealed, place).decode()
                self._end(vault, transfer)
                vault.contents.refuse(transfer.document, ContentRefusal(said))
            else:
                self._take_chunk(vault, transfer, message)
        except (SealError, ValueError, IndexError):
            _log.error("a part of a document does not open at its place", sender=other)

    def step(self, vault: Vault, registry: Registry, *, has_grown: bool) -> bool:
        """Ask for what is due, and confirm what is held. Returns whether more may be due.

        ``has_grown``: whether the ledger has new events, which may end a refusal.
        """
        active = self._active(vault)
        awaited = vault.contents.awaited(
            _LOOKED_AT,
            patience=self._patience,
            began=self._began,
            also=active,
            has_grown=has_grown,
        )
        for gone in {*active} - {one.id for one in awaited}:  # erased, or annulled and destroyed
            self._end(vault, self._transfers.get((vault.party, gone)))
        more = False
        for one in awaited:
            try:
                if one.is_held:
                    self._confirm(vault, one, registry)
                else:
                    more |= self._go_on(vault, one, registry)
            except Refusal as refusal:
                # The mailbox takes no more for one country now: another one may be asked.
                _log.warning("a content cannot be asked for now", rule=refusal.rule)
        return more

    def _go_on(self, vault: Vault, one: AwaitedContent, registry: Registry) -> bool:
        """Ask for the next chunks if they are due, or settle a content whose last chunk came.

        Returns whether more may be due. What must not be given any more is not taken in either.
        """
        transfer = self._transfers.get((vault.party, one.id))
        is_complete = one.received == one.place.size
        if not is_complete and transfer is not None:
            if not transfer.is_over and not self._is_stalled(transfer, one):
                return False
        elif not is_complete and one.origin and self._at_once(vault, one.origin) >= AT_ONCE:
            return False  # before the ledger is asked: many may wait
        case = self._ledger.case(one.place.case_id)
        if case is None:
            return False
        giver = self._giver(case, vault, one, registry)
        if isinstance(giver, ContentRefusal):
            self._end(vault, transfer)
            if one.refused is not giver or one.is_due:
                vault.contents.refuse(one.id, giver)
            return False
        if is_complete:
            return self._settle(vault, one)
        if transfer is not None or self._at_once(vault, giver) < AT_ONCE:
            self._ask(vault, one, giver, registry)
        return False

    def _giver(
        self, case: Case, vault: Vault, one: AwaitedContent, registry: Registry
    ) -> str | ContentRefusal:
        """Return the country to ask for a content, or the rule by which none is asked."""
        today = registry.protocol_today(clock.now())
        limits = today.document_limits
        if one.place.size > limits.max_bytes:
            return ContentRefusal.TOO_LARGE
        if vault.contents.bytes_from(case.id, one.origin) > limits.max_case_bytes:
            return ContentRefusal.TOO_LARGE
        try:
            part = due_part(case, vault.party, one.content, registry.directory)
        except LookupError:
            return ContentRefusal.NOT_DUE
        found: list[str] = []
        refused = ContentRefusal.NOT_DUE
        for holder in part.holders:
            if holder not in registry.country_keys:
                continue
            way = Between(holder, vault.party, registry.directory, today, clock.now())
            answer = may_give(case, one.content, way)
            if isinstance(answer, ContentRefusal):
                refused = answer
            else:
                found.append(holder)
        return _turn(found, one) or refused

    def _ask(self, vault: Vault, one: AwaitedContent, giver: str, registry: Registry) -> None:
        """Ask for the next chunks. A transfer that goes on keeps its key."""
        first = one.received // CHUNK_BYTES
        count = min(AT_MOST_CHUNKS, one.place.chunks - first)
        before = self._transfers.get((vault.party, one.id))
        same = before is not None and before.giver == giver
        message = ContentAsked(
            transfer=before.message.transfer if same and before else new_id(),
            key=before.message.key if same and before else as_text(secrets.token_bytes(KEY_BYTES)),
            action=one.content.action,
            field=one.content.field,
            digest=one.content.digest,
            first=first,
            count=count,
        )
        place = transfer_place(message, one.place.case_id, one.place.size)
        transfer = _Transfer(one.id, giver, message, place, as_bytes(message.key), time.monotonic())
        with self._lock:
            self._transfers[vault.party, one.id] = transfer
        try:
            self._delivery.send(vault, giver, registry, message, one.id)
        except BaseException:
            self._end(vault, transfer)  # it was not asked for: the next step does
            raise
        vault.contents.asked(one.id, giver)

    def _take_chunk(self, vault: Vault, transfer: _Transfer, part: ContentPart) -> None:
        content = open_chunk(transfer.key, as_bytes(part.sealed), transfer.place, part.number)
        received = vault.contents.store(transfer.document, part.number, content)
        if received is None:
            return
        transfer.came_at = time.monotonic()
        message = transfer.message
        last = min(message.first + message.count, transfer.place.chunks) - 1
        if part.number >= last:
            transfer.is_over = True
            self._wake()

    def _settle(self, vault: Vault, one: AwaitedContent) -> bool:
        self._end(vault, self._transfers.get((vault.party, one.id)))
        if vault.contents.settle(one.id):
            _log.info("a content is held", party=vault.party, other=one.asked)
            return True
        _log.error("a content that came is not held", party=vault.party, other=one.asked)
        return False

    def _confirm(self, vault: Vault, one: AwaitedContent, registry: Registry) -> None:
        """Send a signed statement that a content is held to the country that gave it."""
        other = one.asked
        if other is not None and other in registry.country_keys:
            statement = self._statement(vault, one, other, registry)
            self._delivery.send(vault, other, registry, statement, one.id)
        vault.contents.told(one.id)

    def _statement(
        self, vault: Vault, one: AwaitedContent, other: str, registry: Registry
    ) -> ContentHeld:
        content = HeldContent(
            protocol=registry.protocol_id,
            sender=vault.party,
            recipient=other,
            action=one.content.action,
            digest=one.content.digest,
            iat=int(clock.now().timestamp()),
        )
        return ContentHeld(
            statement=addressed_statement.state(content, TYPE, self._node_key, registry)
        )

    def send_again(self, vault: Vault, document_id: UUID) -> bool:
        """Make a statement due again that did not arrive. Returns whether it still holds."""
        one = vault.contents.find(document_id)
        if one is None or not one.is_held:
            return False
        vault.contents.untold(document_id)
        self._wake()
        return True

    def _of(self, vault: Vault, other: str, transfer_id: UUID) -> _Transfer | None:
        with self._lock:
            return next(
                (
                    one
                    for (party, _), one in self._transfers.items()
                    if party == vault.party
                    and one.giver == other
                    and one.message.transfer == transfer_id
                ),
                None,
            )

    def _active(self, vault: Vault) -> Collection[UUID]:
        with self._lock:
            return [document for party, document in self._transfers if party == vault.party]

    def _at_once(self, vault: Vault, giver: str) -> int:
        with self._lock:
            return sum(
                party == vault.party and one.giver == giver
                for (party, _), one in self._transfers.items()
            )

    def _is_stalled(self, transfer: _Transfer, one: AwaitedContent) -> bool:
        waited = time.monotonic() - transfer.came_at
        return one.is_due and waited >= self._patience.total_seconds()

    def _end(self, vault: Vault, transfer: _Transfer | None) -> None:
        if transfer is not None:
            with self._lock:
                self._transfers.pop((vault.party, transfer.document), None)


def _turn(holders: Sequence[str], one: AwaitedContent) -> str | None:
    """Return the holder whose turn it is: after questions in vain another one is asked."""
    if not holders:
        return None
    if one.asked not in holders:
        return holders[0]
    fails = (one.refused in _OF_THE_GIVER and one.refused_since_asked) or (
        one.tries > 0 and one.tries % TRIES_EACH == 0
    )
    return holders[(holders.index(one.asked) + fails) % len(holders)]
