"""Erases what this country holds on a person when that is owed, and confirms it on the ledger.

It also destroys what single annulled actions disclosed, where two parties ordered that and the days
of grace have passed by the times that witnesses cosigned.

An erasure is owed once two parties ordered it. It is owed too once the protocol's period of
retention is over, the erasure was announced on the ledger, and the days of grace have passed by
the times that witnesses cosigned. This node's own clock decides nothing of that.

Announcements and confirmations are signed with the country's node's key. Where that key is not on
this machine, the coordinator signs them.
"""

import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from api.exchange import contact_cards, manager_data
from api.exchange.access_log_anchor import NodeKey, node_and_key
from api.services.append_service import AppendService
from ledger.application import Ledger
from ledger.log.cosigned_times import CosignedTimes
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from ledger.procedure.case_state import Destruction
from ledger.procedure.checks.erasure import ends_part
from ledger.procedure.contact_points import ContactPoint
from ledger.procedure.erasure_statement import last_version_with_fields
from ledger.procedure.merged_cases import (
    all_concluded,
    erased_with,
    held_by_continuing,
    held_elsewhere,
    joined_cases,
    with_joined,
    with_taken_in,
)
from ledger.procedure.protocol import Protocol
from ledger.procedure.retention import (
    is_owed_erasure,
    is_to_be_announced,
    may_be_erased,
    retention_over,
    retention_rule,
)
from ledger.procedure.time_zones import left_since
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.destruction import DestructionApproved, DestructionConfirmed
from ledger.vocabulary.erasure import ErasureApproved, ErasureConfirmed, RetentionAnnounced
from projections.tables.view_queries import ViewReader

_BATCH = 500
_EVERY_SECONDS = 5.0
"""A notice of the database wakes the eraser at each event; this is for notices that are lost."""
_BACKOFF = Backoff(0.2, 2.0)
_RETENTION_EVERY_SECONDS = 3600.0
_ANNOUNCE_AGAIN_SECONDS = 6 * 3600.0
_OTHERS_WAIT = timedelta(days=1)
"""For so long other countries' nodes leave the announcement to the lead country's."""
_MARGIN = timedelta(days=1)
"""The ledger node's clock may be ahead of the cosigned times, which are some hours old."""
ANNOUNCEMENT = RetentionAnnounced.kind
WORK = "erase"
MANAGERS_WORK = "replaced managers"
_log = structlog.get_logger(__name__)


class Eraser(PeriodicWorker):
    """Follows the ledger for orders, and looks now and then for what is over its time."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        views: ViewReader,
        append_service: AppendService,
        node_key: NodeKey,
        times: Callable[[], CosignedTimes],
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._views = views
        self._append_service = append_service
        self._node_key = node_key
        self._times = times
        self._announced: dict[tuple[str, UUID], float] = {}
        """When an announcement was last handed in, by ``time.monotonic()`` in seconds."""
        self._unsigned: set[UUID] = set()
        self._obeyed = -1
        """The ledger's head when every order before it had been carried out."""
        self._carded: tuple[ContactPoint, ...] = ()
        """The contact points whose ended cards are erased."""
        self._managed = -1
        """The ledger's head when no replaced case manager before it was left."""
        self._has_removed_returned = False
        self._retired_at = -math.inf
        """When :meth:`retire` was complete last, by ``time.monotonic()``."""
        super().__init__(
            "erase",
            self._step,
            every=_EVERY_SECONDS,
            backoff=_BACKOFF,
        )

    def _step(self) -> None:
        if not self._has_removed_returned:
            self.remove_returned()
            self._has_removed_returned = True
        self.obey()
        self.end_cards()
        self.end_managers()
        if time.monotonic() - self._retired_at >= _RETENTION_EVERY_SECONDS:
            self.retire(self._times())
            self.leave(self._times())
            self.destroy(self._times())
            self._retired_at = time.monotonic()
        self.confirm()
        self.confirm_destructions()

    def obey(self) -> int:
        """Carry out the erasures that were ordered since the last look.

        Returns how many persons were erased.
        """
        head = self._ledger.head()
        if head == self._obeyed or self._ledger.registry() is None:
            return 0
        count, is_complete = 0, True
        for vault in self._vaults:
            is_done = True
            ordered = self._ledger.subjects_of_kinds(
                [ErasureApproved.kind, ErasureConfirmed.kind],
                after=vault.progress(WORK),
                upto=head,
            )
            for case_id in ordered:
                if self.is_stopping:
                    return count
                # The column that found the case is not signed; its events are.
                case = self._ledger.case(case_id)
                if _is_ordered(case):
                    count += self._erase(vault, case_id)
                if case is not None:
                    erased = self._erase_taken_in(vault, case)
                    is_done = is_done and erased is not None
                    count += erased or 0
            if is_done:
                vault.advance(WORK, head)
            is_complete = is_complete and is_done
        if is_complete:
            self._obeyed = head
        return count

    def destroy(self, times: CosignedTimes) -> int:
        """Carry out the ordered destructions whose days of grace are over by cosigned times.

        A destruction waits while a legal hold is in force in the case or in a merged one. Returns
        how many were carried out.
        """
        if self._ledger.registry() is None:
            return 0
        count, head = 0, self._ledger.head()
        for case_id in self._ledger.subjects_of_kinds(
            [DestructionApproved.kind], after=0, upto=head
        ):
            # The column that found the case is not signed; its events are.
            case = self._ledger.case(case_id)
            if self.is_stopping:
                return count
            due = [] if case is None else _due_destructions(case, times)
            if case is None or not due or self._is_kept(case):
                continue
            for vault in self._vaults:
                for annulled, order in due:
                    if not vault.keys.is_destroyed(annulled):
                        removed = vault.destroyed.destroy(case.id, annulled, order)
                        _log.info(
                            "disclosures are destroyed", party=vault.party, disclosures=removed
                        )
                        count += 1
        return count

    def _is_kept(self, case: Case) -> bool:
        """Return whether a legal hold keeps what the case holds, here or in a merged case."""
        return (
            bool(case.state.holds)
            or self._is_held(case)
            or held_by_continuing(case.state, self._ledger.case)
        )

    def end_cards(self) -> int:
        """Erase the cards of contact points that are not in force any more. Return how many."""
        registry = self._ledger.registry()
        if registry is None or registry.contacts == self._carded:
            return 0
        count = sum(
            contact_cards.erase_ended(vault, self._ledger, registry) for vault in self._vaults
        )
        self._carded = registry.contacts
        return count

    def end_managers(self) -> int:
        """Destroy what the vaults hold on replaced case managers. Return of how many namings."""
        head, registry, count = self._ledger.head(), self._ledger.registry(), 0
        if registry is None or head == self._managed:
            return 0
        for vault in self._vaults:
            for case_id in self._ledger.subjects_of_kinds(
                manager_data.TRIGGERS, after=vault.progress(MANAGERS_WORK), upto=head
            ):
                if self.is_stopping:
                    return count
                if (case := self._ledger.case(case_id)) is not None:
                    count += manager_data.destroy_replaced(
                        vault, self._ledger, case, registry.directory
                    )
            vault.advance(MANAGERS_WORK, head)
        self._managed = head
        return count

    def retire(self, times: CosignedTimes) -> int:
        """Erase the cases whose period is over and whose announcement is old enough.

        It also announces the next cases. Returns how many persons were erased.
        """
        registry, now = self._ledger.registry(), times.now
        protocol = registry.protocol_today(now) if registry and now else None
        if registry is None or now is None or protocol is None or not protocol.retention:
            return 0
        ahead = timedelta(days=max(rule.grace_days for rule in protocol.retention))
        ahead += _shortened_by(registry.agreement, protocol)
        count = 0
        for vault in self._vaults:
            for case_ids in self._retained(vault.party, now + ahead):
                erased = vault.erased(case_ids)
                for case_id in case_ids:
                    case = None if case_id in erased else self._ledger.case(case_id)
                    if self.is_stopping:
                        return count
                    if case is None:
                        continue
                    if may_be_erased(case.state, protocol, times) and not self._is_held(case):
                        count += self._erase(vault, case_id) + self._erase_all_in(vault, case)
                    elif self._announces(vault.party, case, protocol, now):
                        self._announce(vault.party, case, protocol, now)
        return count

    def _is_held(self, case: Case) -> bool:
        """Return whether a case that was merged with this one holds it, or is not ended yet."""
        others = with_joined(list(joined_cases(case.state)), self._ledger.case)
        return not all_concluded(case.state, others) or held_elsewhere(case.state, others)

    def leave(self, times: CosignedTimes) -> int:
        """Erase what a country that left had received, and confirm it. Returns how many cases.

        A case waits while the country owes an answer in it, or while a legal hold is in force. The
        country's own fields stay. The contact cards of the country end in every vault, and those of
        the others in its own.
        """
        registry, now = self._ledger.registry(), times.now
        if registry is None or now is None:
            return 0
        protocol, count = registry.protocol_today(now), 0
        for party in protocol.left_parties:
            if times.have_been_after(left_since(protocol, party), _MARGIN):
                for vault in self._vaults:
                    contact_cards.remove_as_left(vault, self._ledger, registry, party)
        for vault in self._vaults:
            if vault.party not in protocol.left_parties:
                continue
            # The same time on each attempt, so that the ledger records one confirmation.
            since = left_since(protocol, vault.party)
            if not times.have_been_after(since, _MARGIN):
                continue
            for case_id in self._every(vault.party):
                case = self._ledger.case(case_id)
                if self.is_stopping:
                    return count
                if case is None or not ends_part(case.state, vault.party, protocol):
                    continue
                removed = vault.erase_received(case_id)
                _log.info("what was received is erased", party=vault.party, fields=removed)
                count += self._confirm(vault.party, case, since, protocol)
        return count

    def _every(self, party: str) -> Iterator[UUID]:
        page = self._views.lists.every(party, limit=_BATCH)
        while page:
            yield from page
            page = self._views.lists.every(party, limit=_BATCH, after=page[-1])

    def _retained(self, party: str, upto: datetime) -> Iterator[list[UUID]]:
        page = self._views.lists.retained(party, upto, limit=_BATCH)
        while page:
            yield [one.case.case_id for one in page]
            last = page[-1].due, page[-1].case.case_id
            page = self._views.lists.retained(party, upto, limit=_BATCH, after=last)

    def _announces(self, party: str, case: Case, protocol: Protocol, now: datetime) -> bool:
        """Return whether this country's node announces the erasure.

        The others wait for the node of the lead agency's country.
        """
        if ANNOUNCEMENT not in protocol.actions or party not in case.state.parties:
            return False
        lead = protocol.agencies_by_id[case.state.lead_agency].party
        waits = timedelta() if party == lead else _OTHERS_WAIT
        return is_to_be_announced(case.state, protocol, now - waits)

    def _announce(self, party: str, case: Case, protocol: Protocol, now: datetime) -> None:
        tried = self._announced.get((party, case.id))
        if tried is not None and time.monotonic() - tried < _ANNOUNCE_AGAIN_SECONDS:
            return
        found = node_and_key(self._node_key, protocol, party)
        rule, over = retention_rule(case.state, protocol), retention_over(case.state, protocol)
        if rule is None or over is None or case.state.closed_at is None:
            return
        if found is None:
            self._announced[party, case.id] = time.monotonic()
            _log.warning("an erasure must be announced by the coordinator", party=party)
            return
        node, key = found
        announced = RetentionAnnounced(
            acted_at=clock.now(),
            closed_at=case.state.closed_at,
            kept_days=rule.days,
            erase_from=max(over, now + timedelta(days=rule.grace_days) + _MARGIN),
        )
        signed = signed_action.sign(
            announced, agency=node.id, key=key, protocol=protocol.id, case_id=case.id
        )
        try:
            self._append_service.of_node(node, signed_action.read(signed), case.id, case.version)
        except Refusal as refusal:  # the next look tries again: a clock may have been ahead
            _log.warning("an erasure is not announced yet", rule=refusal.rule)
            return
        self._announced[party, case.id] = time.monotonic()

    def confirm(self) -> int:
        """Sign that the erased data is gone, and return how many confirmations were handed in."""
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
                    count += self._confirm(
                        vault.party, case, erased_at, registry.protocol_today(clock.now())
                    )
        return count

    def remove_returned(self) -> int:
        """Remove destroyed disclosures that an older copy of the database brought back."""
        removed = 0
        for vault in self._vaults:
            if count := vault.destroyed.remove_returned():
                _log.warning("destroyed disclosures are removed again", party=vault.party, n=count)
            removed += count
        return removed

    def confirm_destructions(self) -> int:
        """Sign that destroyed disclosures are gone, and return how many statements were handed in.

        A vault of a country that is no party to the case states nothing.
        """
        registry, count = self._ledger.registry(), 0
        if registry is None:
            return 0
        for vault in self._vaults:
            for row in vault.destroyed.unconfirmed():
                case = self._ledger.case(row.case_id)
                ordered = None if case is None else _ordered(case, row.order)
                if case is None or ordered is None:
                    continue
                if vault.party not in ordered.pending:
                    vault.destroyed.confirmed(row.action)
                    continue
                confirmed = DestructionConfirmed(acted_at=row.destroyed_at, order=row.order)
                name = f"{case.id} destruction confirmed {vault.party} {row.order}"
                protocol = registry.protocol_today(clock.now())
                count += self._state(
                    vault.party, case, confirmed, name, row.order, "a destruction", protocol
                )
        return count

    def _confirm(self, party: str, case: Case, erased_at: datetime, protocol: Protocol) -> bool:
        order = case.state.erasure.order if case.state.erasure else None
        if order is None and (into := case.state.merged_into) is not None:
            continuing = erased_with(into, with_taken_in([into.case], self._ledger.case))
            if continuing is not None and continuing.erasure is not None:
                order = continuing.erasure.order
        upto = last_version_with_fields(case)
        confirmed = ErasureConfirmed(acted_at=erased_at, order=order, upto=upto)
        name = f"{case.id} erasure confirmed {party} {order} {upto}"
        return self._state(party, case, confirmed, name, case.id, "an erasure", protocol)

    def _state(
        self,
        party: str,
        case: Case,
        stated: ErasureConfirmed | DestructionConfirmed,
        name: str,
        concerning: UUID,
        what: str,
        protocol: Protocol,
    ) -> bool:
        """State what a vault did, by its country's node. Return whether the ledger has it.

        ``name`` tells this statement from all others. ``concerning`` is the case or order for which
        the log says once that a node has no key.
        """
        found = node_and_key(self._node_key, protocol, party)
        if found is None:
            if concerning not in self._unsigned:
                self._unsigned.add(concerning)
                _log.warning(f"{what} must be confirmed by the coordinator", party=party)
            return False
        node, key = found
        # The same bytes each time, so that the ledger records it once.
        signed = signed_action.sign(
            stated,
            agency=node.id,
            key=key,
            protocol=protocol.id,
            case_id=case.id,
            action_id=signed_action.own_action_id(key, name),
            signed_at=stated.acted_at,
        )
        try:
            self._append_service.of_node(node, signed_action.read(signed), case.id, case.version)
        except Refusal as refusal:
            _log.warning(f"{what} is not confirmed yet", rule=refusal.rule)
            return False
        return True

    def _erase_taken_in(self, vault: Vault, case: Case) -> int | None:
        """Erase the cases of the same person that an erased case took in. Return how many.

        ``None`` is returned where a case that was taken in may not be erased yet: the worker looks
        at the order again at its next step.
        """
        if not is_owed_erasure(case.state, vault.party):
            return 0
        if self._is_held(case):
            _log.warning("an ordered erasure waits for a merged case", party=vault.party)
            return None
        return self._erase_all_in(vault, case)

    def _erase_all_in(self, vault: Vault, case: Case) -> int:
        """Erase the cases that a case took in. Return how many were erased just now."""
        taken = [one.case for one in case.state.taken_in.values()]
        return sum(self._erase(vault, other) for other in with_taken_in(taken, self._ledger.case))

    def _erase(self, vault: Vault, case_id: UUID) -> bool:
        held = vault.erase(case_id)
        _log.info("what was held on a person is erased", party=vault.party, held=held)
        return held


def _is_ordered(case: Case | None) -> bool:
    """Return whether two persons ordered the erasure of a case, by its signed events."""
    return case is not None and case.state.erasure is not None and bool(case.state.erasure.order)


def _due_destructions(case: Case, times: CosignedTimes) -> list[tuple[UUID, UUID]]:
    """Return the annulled action and the order of each destruction that may be carried out now."""
    return [
        (one.annulled, one.order)
        for one in case.state.destructions.values()
        if one.order is not None
        and one.position is not None
        and (
            one.stoppable_until is None
            or times.have_passed(
                one.stoppable_until - case.history[one.order].recorded_at,
                after_position=one.position,
                not_before=one.stoppable_until + _MARGIN,
            )
        )
    ]


def _ordered(case: Case, order: UUID) -> Destruction | None:
    """Return the destruction that an approval ordered, by the case's signed events."""
    return next((one for one in case.state.destructions.values() if one.order == order), None)


def _shortened_by(agreement: Agreement, protocol: Protocol) -> timedelta:
    """Return by how much an amendment may have shortened a period that views were written with.

    The views have the end of the period by the version at a case's last event.
    """
    earlier = [rule.days for one in agreement.protocols() for rule in one.retention]
    shortest = min(rule.days for rule in protocol.retention)
    return timedelta(days=max(0, max(earlier) - shortest))
