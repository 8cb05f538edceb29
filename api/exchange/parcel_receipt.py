"""Fetches what other countries' nodes sent, takes it in, and acknowledges it.

A cursor for each sender goes past what cannot be taken in yet, so that such parcels keep nothing
else waiting. This process remembers what they rest on, and fetches them again when its copy of the
ledger has that. Parcels stay in the mailbox until they are acknowledged: a process that begins anew
looks at all of them.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog

from api.exchange import contact_cards
from api.exchange.access_log_anchor import NodeKey, accepted_node_key
from api.exchange.parcel_transport import PostOffice
from api.exchange.presentation import recorded_text
from ledger.application import Ledger
from ledger.procedure.erasure_statement import REASON, contradicts_erasure
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.replication.mailbox import ParcelInMailbox
from ledger.signing.country_key import CountryKey
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault import sealed_parcels
from ledger.vault.acknowledgements import (
    Acknowledgement,
    ParcelOutcome,
    Signed,
    sign,
    unsigned,
)
from ledger.vault.arrived_parcels import PairStanding
from ledger.vault.daily_quotas import QuotaUsedUpError
from ledger.vault.required_disclosures import has_personal_fields
from ledger.vault.sealed_parcels import (
    Content,
    DamagedParcelError,
    NotHereYetError,
    Parcel,
    ParcelError,
    Presentation,
    UnknownKindError,
)
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.documents import document_fields

_FETCH = 50
_EVERY_SECONDS = 0.5
_QUIET_SECONDS = 2.0
"""The time between two looks once neither an event nor a parcel came for ``_BUSY_SECONDS``."""
_BUSY_SECONDS = 10.0
"""Parcels follow the events that they belong to within this time, where both nodes are up."""
_BETWEEN_BATCHES_SECONDS = 0.05
_BACKOFF = Backoff(0.2, 2.0)
_AGAIN_SECONDS = 60.0
"""After so long a parcel is looked at again that met a fault of this node."""
_AFTER_QUOTA_SECONDS = 3600.0
"""After so long a parcel is looked at again that is over the quota of its sender's day."""
MAX_SET_ASIDE = 50_000
"""Of one sender: more than an honest mailbox keeps of one. The rest is looked at again later."""
_log = structlog.get_logger(__name__)

TakeMessage = Callable[[Vault, Parcel, Content, Registry], None]
"""Takes in a message.

Raises ``ParcelError``, and ``NotHereYetError`` or ``QuotaUsedUpError`` where it has to wait."""


@dataclass(frozen=True, slots=True)
class _SetAside:
    """A parcel that was not acknowledged, and when it is to be looked at again."""

    sender: str
    actions: frozenset[UUID] = frozenset()
    cases: frozenset[UUID] = frozenset()
    not_before: float | None = None
    """By the monotonic clock, for one that waits for nothing in the ledger."""


class _MailboxPlace:
    """The place up to which this process has read one country's mailbox."""

    def __init__(self) -> None:
        self.after: dict[str, int] = {}
        self.set_aside: dict[UUID, _SetAside] = {}
        self.counts: Counter[str] = Counter()
        """How many parcels of each sender are set aside."""
        self.head = -1
        """The ledger's head when what is set aside was held against it last."""
        self.standing: tuple[PairStanding, ...] | None = None

    def put(self, parcel_id: UUID, aside: _SetAside) -> None:
        """Set a parcel aside, unless too many of its sender are."""
        if parcel_id not in self.set_aside:
            if self.counts[aside.sender] >= MAX_SET_ASIDE:
                return
            self.counts[aside.sender] += 1
        self.set_aside[parcel_id] = aside
        self.head = -1

    def pop(self, parcel_id: UUID) -> None:
        if (aside := self.set_aside.pop(parcel_id, None)) is not None:
            self.counts[aside.sender] -= 1


class ParcelReceipt(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        keys: Mapping[str, CountryKey],
        post: PostOffice,
        take_message: TakeMessage,
        node_key: NodeKey,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._keys = keys
        self._post = post
        self._take_message = take_message
        self._node_key = node_key
        self._places: dict[str, _MailboxPlace] = {}
        self.may_take: Callable[[], bool] = lambda: True
        """Whether this node may take in anything new; what waits for it stays in the mailbox."""
        self.when_completed: Callable[[Vault, UUID, UUID], None] = lambda _, __, ___: None
        """Called when something of an action came in of which the vault lacked something."""
        self.when_document: Callable[[], None] = lambda: None
        """Called when fields came in that may name a document."""
        self.without_key: set[str] = set()
        """Countries whose node has no key here to acknowledge parcels with."""
        self._is_busy_until = time.monotonic() + _BUSY_SECONDS
        super().__init__("fetch", self._step, every=_EVERY_SECONDS, backoff=_BACKOFF)

    def wake(self, within: float = 0.0) -> None:
        """Look within so many seconds, and often for a while: parcels follow events."""
        self._is_busy_until = time.monotonic() + _BUSY_SECONDS
        super().wake(within)

    def _step(self) -> float:
        if self.may_take() and self.fetch():
            self._is_busy_until = time.monotonic() + _BUSY_SECONDS
            return _BETWEEN_BATCHES_SECONDS
        waits = any(place.set_aside for place in self._places.values())
        if waits or time.monotonic() < self._is_busy_until:
            return _EVERY_SECONDS
        return _QUIET_SECONDS

    def set_aside(self, party: str) -> Collection[UUID]:
        """Return the parcels for a country that this process has set aside."""
        place = self._places.get(party)
        return place.set_aside.keys() if place is not None else ()

    def fetch(self) -> bool:
        """Take in the parcels that wait, and return whether more may wait."""
        registry = self._ledger.known_registry or self._ledger.registry()
        if registry is None:
            return False
        left = registry.protocol_today(clock.now()).left_parties
        more = False
        for vault in self._vaults:
            if vault.party in left:
                continue  # nothing is sent to a party that left, and the mailbox refuses it
            place = self._places.setdefault(vault.party, _MailboxPlace())
            more |= self._fetch_set_aside(vault, place)
            more |= self._fetch_new(vault, place)
        return more

    def _fetch_new(self, vault: Vault, place: _MailboxPlace) -> bool:
        page = self._post.waiting(vault.party, _FETCH, place.after)
        if page.parcels:  # most looks find none, and need no registry
            self._take_all(vault, place, page.parcels, self._ledger.adopted())
        # After that: what comes before it is looked at again if this process or the answer fails.
        for one in page.parcels:
            sender = one.parcel.sender
            place.after[sender] = max(one.seq, place.after.get(sender, 0))
        if place.standing != page.standing:
            vault.arrived.note_waiting(page.standing)
            place.standing = page.standing
        if page.parcels:
            return True
        for standing in page.standing:
            # The mailbox may be another one, or be restored: then its places begin anew.
            known = place.counts[standing.sender]
            if known < min(standing.parcels, MAX_SET_ASIDE) and place.after.get(standing.sender):
                place.after.pop(standing.sender)
        return False

    def _fetch_set_aside(self, vault: Vault, place: _MailboxPlace) -> bool:
        """Look again at parcels that the copy of the ledger has grown to."""
        ready = self._ready(place)[:_FETCH]
        if not ready:
            return False
        waiting = self._post.get(vault.party, ready)
        here = {one.parcel.id for one in waiting}
        if not here:  # acknowledged, expired or replaced meanwhile
            for parcel_id in ready:
                place.pop(parcel_id)
            return False
        self._take_all(vault, place, waiting, self._ledger.adopted())
        return True

    def _ready(self, place: _MailboxPlace) -> list[UUID]:
        if not place.set_aside:
            return []
        head, now = self._ledger.head(), time.monotonic()
        timed = [
            parcel_id
            for parcel_id, one in place.set_aside.items()
            if one.not_before is not None and one.not_before <= now
        ]
        if head == place.head:
            return timed
        waiting = {k: one for k, one in place.set_aside.items() if one.not_before is None}
        actions = {action for one in waiting.values() for action in one.actions}
        recorded = self._ledger.recorded_actions(sorted(actions)) if actions else set()
        cases = {case for one in waiting.values() for case in one.cases}
        opened = set(self._ledger.cases(cases)) if cases else set()
        ready = [
            parcel_id
            for parcel_id, one in waiting.items()
            if one.actions <= recorded and one.cases <= opened
        ]
        if not ready:
            place.head = head
        return [*timed, *ready]

    def _take_all(
        self,
        vault: Vault,
        place: _MailboxPlace,
        waiting: Sequence[ParcelInMailbox],
        registry: Registry,
    ) -> None:
        """Take in parcels and acknowledge them, and set aside those that must wait."""
        signed: list[Signed] = []
        for one in waiting:
            try:
                outcome, reason = self._take_in(vault, one.parcel, registry)
            except NotHereYetError as error:
                aside = _SetAside(one.parcel.sender, error.actions, error.cases)
                place.put(one.parcel.id, aside)
                continue
            except QuotaUsedUpError:
                _later(place, one.parcel.id, one.parcel.sender, _AFTER_QUOTA_SECONDS)
                continue
            except psycopg.OperationalError:
                raise  # of no one parcel
            except Exception as error:
                _log.error("a parcel meets a fault of this node", error=type(error).__name__)
                _later(place, one.parcel.id, one.parcel.sender)
                continue
            text = self._acknowledgement(vault, one.parcel, outcome, reason, registry)
            if text is None:
                _later(place, one.parcel.id, one.parcel.sender)
                continue
            signed.append(text)
        self._acknowledge(vault.party, place, signed)

    def _acknowledge(self, party: str, place: _MailboxPlace, signed: Sequence[Signed]) -> None:
        if not signed:
            return
        try:
            self._post.acknowledge(party, signed)
        except Refusal as refusal:
            _log.error("acknowledgements are refused", rule=refusal.rule, why=str(refusal))
            if len(signed) > 1:
                for one in signed:
                    self._acknowledge(party, place, [one])
                return
            _later(place, signed[0].content.parcel, signed[0].content.sender)
            return
        for one in signed:
            place.pop(one.content.parcel)

    def _acknowledgement(
        self,
        vault: Vault,
        parcel: Parcel,
        outcome: ParcelOutcome,
        reason: str | None,
        registry: Registry,
    ) -> Signed | None:
        """Return the acknowledgement of a parcel.

        Returns ``None`` if this process has no key that the sender would accept.
        """
        content = Acknowledgement.of(
            parcel, outcome, reason, protocol=registry.protocol_id, at=clock.now()
        )
        if (key := accepted_node_key(self._node_key, vault.party, registry)) is not None:
            self.without_key.discard(vault.party)
            return sign(content, key)
        if self._vaults.has(parcel.sender):
            return unsigned(content)
        self.without_key.add(vault.party)
        return None

    def _take_in(
        self, vault: Vault, parcel: Parcel, registry: Registry
    ) -> tuple[ParcelOutcome, str | None]:
        """Take a parcel in. Raises ``NotHereYetError`` where it has to wait."""
        try:
            if parcel.recipient != vault.party or parcel.sender == vault.party:
                raise ParcelError("not-for-us", "it is not for this country")
            content = sealed_parcels.unpack(parcel, registry.directory, self._keys[vault.party])
            if isinstance(content, Presentation):
                return self._take_presentation(vault, parcel, content, registry), None
            self._take_message(vault, parcel, content, registry)
        except DamagedParcelError as error:
            return self._refused(vault, parcel, ParcelOutcome.DAMAGED, error)
        except UnknownKindError as error:
            return self._refused(vault, parcel, ParcelOutcome.NOT_UNDERSTOOD, error)
        except ParcelError as error:
            return self._refused(vault, parcel, ParcelOutcome.NOT_BELIEVED, error)
        return ParcelOutcome.TAKEN_IN, None

    def _refused(
        self, vault: Vault, parcel: Parcel, outcome: ParcelOutcome, error: ParcelError
    ) -> tuple[ParcelOutcome, str]:
        _log.error("a parcel is refused", sender=parcel.sender, why=str(error))
        vault.arrived.note_refused(parcel.sender, error.reason)
        return outcome, error.reason

    def _take_presentation(
        self, vault: Vault, parcel: Parcel, content: Presentation, registry: Registry
    ) -> ParcelOutcome:
        action, parsed = sealed_parcels.read(content)
        rests_on = {action.id} if content.release is None else {action.id, content.release}
        if missing := rests_on - self._ledger.recorded_actions(sorted(rests_on)):
            raise NotHereYetError(actions=missing)
        row = self._ledger.row_of_action(action.id)
        if row is None or recorded_text(row) != action.sd_jwt:
            raise ParcelError("not-as-recorded", "it is not what is recorded")
        if action.case_id is None:
            return contact_cards.take_in(vault, parcel, action, parsed.disclosures, registry)
        case = self._ledger.case(action.case_id)
        if case is None:
            raise ParcelError("no-such-case", "there is no such case")
        sealed_parcels.check(content, action, parsed.disclosures, parcel, case, registry.directory)
        shown = {action.id: [one.digest for one in parsed.disclosures]}
        if contradicts_erasure(case, parcel.sender, registry.directory, shown):
            # It may have been sent before the erasure: nothing of it is taken in, and it is noted.
            _log.error("fields come that their sender confirmed to hold no longer")
            vault.arrived.note_refused(parcel.sender, REASON)
            return ParcelOutcome.ERASED
        if vault.erased([case.id]) or action.id in case.unread(registry.directory):
            # What it disclosed is readable nowhere: none is taken in.
            return ParcelOutcome.ERASED
        sealed_parcels.check_together(parsed.disclosures, vault.held_fields(action.id))
        origin = registry.directory.agencies_by_id[action.agency].party
        # Another country has the `case` fields alone, and what was released to it.
        knows_all = origin != vault.party or not has_personal_fields(action.kind)
        is_whole = knows_all and not content.in_part
        if vault.take_in(action, case.id, parsed.disclosures, origin=origin, is_whole=is_whole):
            self.when_completed(vault, case.id, action.id)
        if document_fields(action.model):
            self.when_document()
        return ParcelOutcome.TAKEN_IN


def _later(
    place: _MailboxPlace, parcel_id: UUID, sender: str, seconds: float = _AGAIN_SECONDS
) -> None:
    place.put(parcel_id, _SetAside(sender, not_before=time.monotonic() + seconds))
