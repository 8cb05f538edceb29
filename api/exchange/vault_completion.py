"""Asks other countries' nodes for what this country's vault must hold and lacks; and answers them.

A node gives another country only what the ledger says that this country must hold, by its own copy
of the ledger. It says in a signed statement which fields it gives: none, where it holds nothing.
When all that should have a part have said so, the part is lost, and is not asked for any more.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog
from cachetools import TTLCache

from api.exchange import addressed_statement
from api.exchange.access_log_anchor import NodeKey
from api.exchange.parcel_delivery import ParcelDelivery
from api.exchange.presented_fields import acts_of
from ledger.application import Ledger
from ledger.procedure.erasure_statement import REASON, confirmation_of, contradicts_erasure
from ledger.procedure.registry import Registry
from ledger.replication.mailbox import QuotaError
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.system.identifiers import new_id
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.completion_messages import (
    AT_MOST_ACTIONS,
    TYPE,
    ActionHeld,
    FieldsAnswered,
    FieldsAsked,
    HeldStatement,
)
from ledger.vault.daily_quotas import Quota, QuotaUsedUpError
from ledger.vault.deposits import KeyMissingError
from ledger.vault.required_disclosures import FieldPart, RequiredPart, may_give, must_hold
from ledger.vault.sealed_parcels import Parcel, ParcelError, presentation_id
from ledger.vault.vault import Vault, Vaults

_EVERY_SECONDS = 5.0
_SOONEST_SECONDS = 1.0
_SETTLE_SECONDS = 5.0
_ASKS_WAITING = 20
"""So many parcels of one country with questions wait here. The country asks again for the rest."""
_ANSWERED_AT_MOST = 100_000
_DAY_SECONDS = 86_400.0
GIVEN_AT_MOST = 8
"""So often within a day an action is given to a country that asks for it. Giving back personal
fields makes an entry in the access log each time."""
_log = structlog.get_logger(__name__)


class VaultCompletion(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        delivery: ParcelDelivery,
        node_key: NodeKey,
        *,
        patience: float = 60.0,
        touch: Callable[[UUID], None] = lambda _: None,
        is_in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the completion of the vaults.

        ``touch`` marks a case to be checked soon. ``patience``: seconds until something is asked
        again. Nothing is asked while ``is_in_doubt`` returns true: the copy of the ledger is not
        the newest.
        """
        self._ledger = ledger
        self._vaults = vaults
        self._delivery = delivery
        self._node_key = node_key
        self._patience = timedelta(seconds=patience)
        self._touch = touch
        self._is_in_doubt = is_in_doubt
        self._asks: dict[tuple[str, str], deque[FieldsAsked]] = {}
        """The questions of other countries, by the vault's country and the other."""
        self._answered: TTLCache[tuple[str, str, UUID], bool] = TTLCache(
            _ANSWERED_AT_MOST, max(patience / 2, 0.1)
        )
        """Each action is given to a country once in this time."""
        self._times: TTLCache[tuple[str, str, UUID], int] = TTLCache(
            _ANSWERED_AT_MOST, _DAY_SECONDS
        )
        """How often each action was given to a country within a day."""
        self._settled_at = 0.0
        self._settle_seconds = min(_SETTLE_SECONDS, patience)
        self._lock = threading.Lock()
        every = min(_EVERY_SECONDS, max(_SOONEST_SECONDS, patience / 10))
        super().__init__("complete", self.step, every=every)

    def step(self) -> None:
        """Answer one question of each country, and ask each for the missing fields."""
        registry = self._ledger.registry()
        if registry is None:
            return
        settles = time.monotonic() - self._settled_at >= self._settle_seconds
        for vault in self._vaults:
            # Most steps find nothing to do: then one question to the database is enough.
            if not self._is_asked(vault) and vault.missing.is_empty():
                continue
            others = [other for other in registry.country_keys if other != vault.party]
            for other in others:
                with suppress(QuotaError):  # the mailbox is full: the other has to fetch first
                    self._answer_next(vault, other, registry)
                    if not self._is_in_doubt():
                        self._ask(vault, other, others, registry)
            if settles and not self._is_in_doubt():
                lost = vault.missing.settle(patience=self._patience, reachable=others)
                if lost:
                    _log.error("fields that no country has any more", party=vault.party, parts=lost)
        if settles:
            self._settled_at = time.monotonic()

    def _is_asked(self, vault: Vault) -> bool:
        with self._lock:
            return any(
                waiting for (party, _), waiting in self._asks.items() if party == vault.party
            )

    def take_in(
        self,
        vault: Vault,
        parcel: Parcel,
        message: FieldsAsked | FieldsAnswered,
        registry: Registry,
    ) -> None:
        """Take in a question or an answer. Raises ``ParcelError`` where an answer does not hold."""
        if isinstance(message, FieldsAsked):
            with self._lock:
                waiting = self._asks.setdefault((vault.party, parcel.sender), deque())
                if len(waiting) < _ASKS_WAITING:
                    waiting.append(message)
                    self.wake()
                else:
                    _log.warning("too many questions wait", sender=parcel.sender)
            return
        said = self._read(vault, parcel.sender, message, registry)
        held = {one.action: one.digests for one in said.held}
        if held and not vault.missing.answered(parcel.sender, said.ask, held, message.statement):
            _log.warning("an answer is to no question that waits", sender=parcel.sender)

    def completed(self, vault: Vault, case_id: UUID, action_id: UUID) -> None:
        """Check a case whose missing fields came in, and queue them for the countries of the case.

        A country that asked for the same in vain while it was missing here gets it now.
        """
        self._touch(case_id)
        case, registry = self._ledger.case(case_id), self._ledger.registry()
        if case is None or registry is None:
            return
        protocol = registry.directory
        act = case.history.get(action_id)
        if act is None or protocol.agencies_by_id[act.agency].party != vault.party:
            return
        for other in case.state.parties:
            if other != vault.party and other in registry.country_keys:
                given = may_give(case, action_id, vault.party, other, protocol)
                self._queue(vault, other, [(due, release) for due, release in given], registry)

    def _ask(self, vault: Vault, other: str, others: Collection[str], registry: Registry) -> None:
        actions = vault.missing.to_ask(
            other, AT_MOST_ACTIONS, patience=self._patience, reachable=others
        )
        if not actions:
            return
        asked = FieldsAsked(ask=new_id(), actions=tuple(actions))
        # First the note: the answer counts only for a question that is noted.
        vault.missing.asked(other, actions, asked.ask)
        self._delivery.send(vault, other, registry, asked, asked.ask)
        _log.info("fields are asked for", party=vault.party, other=other, actions=len(actions))

    def _answer_next(self, vault: Vault, other: str, registry: Registry) -> None:
        with self._lock:
            waiting = self._asks.get((vault.party, other))
            asked = waiting.popleft() if waiting else None
        if asked is None:
            return
        wanted = self._may_give_again(vault, other, asked)
        given = {action: [*parts] for action, parts in self._given(vault, other, wanted, registry)}
        if not given:
            return
        try:
            vault.quotas.use(other, Quota.GIVEN, len(given))
        except QuotaUsedUpError:
            vault.quotas.refused(other, Quota.GIVEN)
            return
        held = self._held(vault, given)
        parts = [part for action in given for part in given[action]]
        self._queue(vault, other, parts, registry)
        self._delivery.send(
            vault, other, registry, self._statement(vault, other, asked, held, registry), asked.ask
        )
        for action in given:
            place = (vault.party, other, action)
            self._answered[place] = True
            self._times[place] = self._times.get(place, 0) + 1
        fields = sum(map(len, held.values()))
        _log.info("fields are given", party=vault.party, other=other, fields=fields)

    def _may_give_again(self, vault: Vault, other: str, asked: FieldsAsked) -> Sequence[UUID]:
        """Return the requested actions that were not given lately, nor too often within a day."""
        places = [(vault.party, other, action) for action in asked.actions]
        over = [place for place in places if self._times.get(place, 0) >= GIVEN_AT_MOST]
        if over:
            vault.quotas.refused(other, Quota.GIVEN)
        return [p[2] for p in places if p not in self._answered and p not in over]

    def _given(
        self, vault: Vault, other: str, wanted: Sequence[UUID], registry: Registry
    ) -> Iterator[tuple[UUID, Iterator[tuple[RequiredPart, UUID | None]]]]:
        """Yield the parts of actions that another country must hold and that this one may give."""
        for act in acts_of(self._ledger, wanted):
            case = self._ledger.case(act.case_id)
            if case is not None and any(
                due.action == act.id for due in must_hold(case, other, registry.directory)
            ):
                yield (
                    act.id,
                    may_give(case, act.id, vault.party, other, registry.directory),
                )

    def _held(
        self, vault: Vault, given: Mapping[UUID, Sequence[tuple[RequiredPart, UUID | None]]]
    ) -> Mapping[UUID, frozenset[str]]:
        """Return the digests that the vault holds of the parts that it may give, by action.

        A damaged disclosure is not counted: the check of the vault found it missing.
        """
        ids = list(given)
        rows, case_fields = vault.held_digests(ids), self._case_fields(vault, ids)
        unsound = {
            (row["action_id"], digest)
            for row in vault.missing.of_actions(ids)
            for digest in row["digests"] or ()
        }
        found: dict[UUID, frozenset[str]] = {}
        for action, parts in given.items():
            digests: set[str] = set()
            for due, _ in parts:
                sender = None if due.origin == vault.party else due.origin
                here = {digest for digest, came in rows.get(action, ()) if came == sender}
                if due.part is FieldPart.CASE:
                    digests |= {digest for digest in here if (action, digest) in case_fields}
                else:
                    digests |= here if due.digests is None else here & due.digests
            found[action] = frozenset(d for d in digests if (action, d) not in unsound)
        return found

    def _case_fields(self, vault: Vault, action_ids: Sequence[UUID]) -> set[tuple[UUID, str]]:
        """Return the ``case`` fields of actions that open, each by its action and digest."""
        try:
            held = [
                *vault.own_case_fields(action_ids),
                *vault.received_case_fields(action_ids),
            ]
        except (KeyMissingError, SealError):
            if len(action_ids) == 1:
                return set()
            return {one for each in action_ids for one in self._case_fields(vault, [each])}
        return {(one.action_id, one.digest) for one in held}

    def _queue(
        self,
        vault: Vault,
        other: str,
        parts: Sequence[tuple[RequiredPart, UUID | None]],
        registry: Registry,
    ) -> None:
        """Have parts sent, also where they were sent and acknowledged before."""
        named = [
            (
                presentation_id(registry.directory, vault.party, other, due.action, release),
                due.action,
                release,
            )
            for due, release in parts
        ]
        vault.sent.queue(other, named, again=True)

    def _statement(
        self,
        vault: Vault,
        other: str,
        asked: FieldsAsked,
        held: Mapping[UUID, Collection[str]],
        registry: Registry,
    ) -> FieldsAnswered:
        content = HeldStatement(
            protocol=registry.protocol_id,
            sender=vault.party,
            recipient=other,
            ask=asked.ask,
            held=tuple(
                ActionHeld(action=action, digests=tuple(sorted(digests)))
                for action, digests in held.items()
            ),
            iat=int(clock.now().timestamp()),
        )
        return FieldsAnswered(
            statement=addressed_statement.state(content, TYPE, self._node_key, registry)
        )

    def _read(
        self, vault: Vault, sender: str, message: FieldsAnswered, registry: Registry
    ) -> HeldStatement:
        """Read an answer. Raises ``ParcelError``."""
        said = addressed_statement.read(
            message.statement,
            TYPE,
            HeldStatement,
            sender=sender,
            recipient=vault.party,
            registry=registry,
            own=self._vaults,
        )
        self._check_erased(said, registry)
        return said

    def _check_erased(self, said: HeldStatement, registry: Registry) -> None:
        """Check that a country offers no fields that it confirmed to have erased.

        Raises ``ParcelError`` if it offers such fields.
        """
        held = {one.action: one.digests for one in said.held if one.digests}
        rows = self._ledger.rows_of_actions(list(held))
        for case in self._ledger.cases({row.originator_id for row in rows}).values():
            confirmation = confirmation_of(case, said.sender, registry.directory)
            is_later = confirmation is not None and said.iat > confirmation.recorded_at.timestamp()
            if is_later and contradicts_erasure(case, said.sender, registry.directory, held):
                raise ParcelError(REASON, "its sender confirmed to hold these fields no longer")
