"""Says what other countries are to have of what this country's agencies recorded, and sends it.

``case`` fields go to every country party to the case, personal fields on a release alone, the cards
of contact points to every party. A
cursor for each recipient follows the ledger. It queues the names of what is to be sent, and moves
once they are durable. :mod:`api.exchange.parcel_delivery` hands in what is queued.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from api.exchange import contact_cards
from api.exchange.parcel_delivery import ParcelDelivery
from ledger.application import Ledger
from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.case_fold import addressed_parties
from ledger.procedure.registry import Registry
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault import sealed_parcels
from ledger.vault.required_disclosures import has_case_fields, is_told, released_digests
from ledger.vault.vault import Vault, Vaults

_BATCH = 200
_EVERY_SECONDS = 0.5
"""The time between two steps while outcomes of parcels are awaited."""
_QUIET_SECONDS = 2.0
"""The time between two steps else. A notice of the database wakes the exchange at each event."""
_BETWEEN_BATCHES_SECONDS = 0.05
"""So that under load they are batches, and requests come first."""
_BACKOFF = Backoff(0.2, 2.0)
_TAKES_BACK = frozenset({"correction", "merge_declined", "merge_undone", "case_manager_named"})
"""The kinds of actions that may take back what a parcel is about, or what made a country party."""


class _Way(NamedTuple):
    """From one country's vault to another country."""

    vault: Vault
    recipient: str
    log: str
    """The keys of the log. A log that takes over may lack the last events of the one before: with
    other keys all is queued again, and what is known already stays as it is."""

    @property
    def work(self) -> str:
        """Return the name of the cursor in the vault.

        Earlier programs used another name. So all is queued once more after the update, and
        everything that an earlier program lost on the way is sent.
        """
        return f"queue for {self.recipient} via {self.log}"

    @property
    def name(self) -> tuple[str, str]:
        return self.vault.party, self.work


class DisclosureExchange(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self, ledger: Ledger, vaults: Vaults, delivery: ParcelDelivery, log: Callable[[], str]
    ) -> None:
        """Prepare the exchange.

        ``log`` returns the keys of the log in force.
        """
        self._log = log
        self._ledger = ledger
        self._vaults = vaults
        self._delivery = delivery
        self._done: tuple[str, int] | None = None
        """The log, and the ledger's head when what all before it asks for had been queued."""
        self._reached: dict[tuple[str, str], int] = {}
        """The answers of :meth:`_stands`, by the vault's country and the name of the work."""
        self._carded: dict[tuple[str, str], int] = {}
        """The joining after which the cards were queued again, by sender and recipient."""
        super().__init__(
            "send",
            self._step,
            every=_EVERY_SECONDS,
            backoff=_BACKOFF,
        )

    def _step(self) -> float | None:
        try:
            is_full = self.queue()
        finally:  # a parcel that is queued is sent, also where no more can be queued
            is_sent = self._delivery.step()
        if is_full or is_sent:
            return _BETWEEN_BATCHES_SECONDS
        return _EVERY_SECONDS if self._delivery.is_awaiting else _QUIET_SECONDS

    def queue(self) -> bool:
        """Queue the fields of one more batch of events, and return whether more may wait."""
        head = self._ledger.head()
        log = self._log()
        registry = self._ledger.registry() if (log, head) != self._done else None
        if registry is None:
            return False
        behind: dict[int, list[_Way]] = {}
        for way in self._ways(registry, log):
            self._give_cards_again(way, registry)
            if (stands := self._stands(way)) < head:
                behind.setdefault(stands, []).append(way)
        is_full = False
        for after, ways in behind.items():
            is_full |= self._queue_batch(after, head, ways, registry)
        if not behind:
            self._done = log, head
        return is_full

    def _ways(self, registry: Registry, log: str) -> Iterator[_Way]:
        """Yield the way from each of this node's countries to each other country with a key.

        There is no way to a country that left.
        """
        left = registry.protocol_today(clock.now()).left_parties
        for vault in self._vaults:
            for recipient in registry.country_keys:
                if recipient != vault.party and recipient not in left:
                    yield _Way(vault, recipient, log)

    def _stands(self, way: _Way) -> int:
        """Return the position of the event up to which all was queued.

        A crash may take back the end of the database's progress: then the same is queued again, to
        no effect, once this process begins again.
        """
        if way.name not in self._reached:
            self._reached[way.name] = way.vault.progress(way.work)
        return self._reached[way.name]

    def _queue_batch(self, after: int, head: int, ways: Sequence[_Way], registry: Registry) -> bool:
        """Queue the fields of events up to ``head``, which ``registry`` has all seen.

        A later event may be on a contact point that this registry does not have: its card would be
        passed over for good.
        """
        rows = [row for row in self._ledger.rows_after(after, limit=_BATCH) if row.position <= head]
        of_cases = _by_case(rows, registry.ledger_id)
        cards = contact_cards.given(rows, registry)
        cases = self._ledger.cases(of_cases.keys())
        for way in ways:
            self._queue_rows(way, registry, of_cases, cases)
            contact_cards.queue(way.vault, way.recipient, cards, registry)
            way.vault.advance(way.work, rows[-1].position)
            self._reached[way.name] = rows[-1].position
        return len(rows) == _BATCH

    def _give_cards_again(self, way: _Way, registry: Registry) -> None:
        """Queue the cards in force once more where one of the two parties left and joined again.

        While the party was away, each side removed the other's cards.
        """
        protocol = registry.protocol_today(clock.now())
        if way.vault.party in protocol.left_parties:
            return
        pair = (way.vault.party, way.recipient)
        joined = registry.agreement.joined_again_at(pair, clock.now())
        if joined == 0 or self._carded.get(pair, 0) >= joined:
            return
        work = f"cards again {way.recipient}"
        if way.vault.progress(work) < joined:
            contact_cards.queue_again(way.vault, way.recipient, registry)
            way.vault.advance(work, joined)
        self._carded[pair] = joined

    def _queue_rows(
        self,
        way: _Way,
        registry: Registry,
        of_cases: Mapping[UUID, Sequence[RecordedRow]],
        cases: Mapping[UUID, Case],
    ) -> None:
        """Queue the recipient's part of these events: first fields, then released fields."""
        wanted: list[tuple[UUID, UUID | None]] = []
        released: list[tuple[UUID, UUID | None]] = []
        for case_id, rows in of_cases.items():
            case = cases.get(case_id)
            if case is None:
                continue
            is_party = way.recipient in case.state.parties
            if any(row.kind in _TAKES_BACK for row in rows):
                # A parcel that waits for its recipient is taken back if nothing of it may be read.
                away = case.unread(registry.directory) if is_party else case.history.keys()
                way.vault.sent.look_again(way.recipient, away)
            if not is_party:
                continue
            acts = [case.history[row.action_id] for row in rows]
            joins = any(
                way.recipient in addressed_parties(a, registry.agreement.of_act(a)) for a in acts
            )
            sent = case.history.values() if joins else acts
            wanted += [
                (act.id, None)
                for act in sent
                if _is_own(way, act, registry)
                and act.digests
                and has_case_fields(act.kind)
                and is_told(act, way.recipient)
            ]
            released += [
                (action, act.id)
                for act in acts
                if _is_own(way, act, registry) and _releases_to(act, way.recipient)
                for action in released_digests(act)
            ]
        sender, recipient = way.vault.party, way.recipient
        way.vault.sent.queue(
            recipient,
            [
                (
                    sealed_parcels.presentation_id(
                        registry.directory, sender, recipient, action, release
                    ),
                    action,
                    release,
                )
                for action, release in (*wanted, *released)
            ],
        )


def _is_own(way: _Way, act: Act, registry: Registry) -> bool:
    """Return whether an agency of the vault's country did the act."""
    agency = registry.agreement.of_act(act).agencies_by_id.get(act.agency)
    return agency is not None and agency.party == way.vault.party


def _releases_to(act: Act, recipient: str) -> bool:
    return act.kind == "information_released" and act.fields["recipient"] == recipient


def _by_case(rows: Iterable[RecordedRow], ledger_id: UUID) -> Mapping[UUID, Sequence[RecordedRow]]:
    found: dict[UUID, list[RecordedRow]] = {}
    for row in rows:
        if row.originator_id != ledger_id:
            found.setdefault(row.originator_id, []).append(row)
    return found
