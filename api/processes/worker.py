"""Run the background jobs of a node: publish or copy, fold, exchange, erase.

It is done by one process, beside those that answer requests: :mod:`api.runtime.status` says how
they hear of each other. All of it stands in the database, and every step may be repeated, so that
it goes on where it was whenever it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID

from joserfc.jwk import OKPKey

from api.background_jobs.access_matrix import AccessMatrixKeeper
from api.background_jobs.checkpoint_publisher import CheckpointPublisher
from api.background_jobs.endings import Endings
from api.background_jobs.eraser import Eraser
from api.background_jobs.janitor import Janitor
from api.background_jobs.search_indexer import SearchIndexer
from api.background_jobs.timestamper import Timestamper
from api.background_jobs.vault_checker import VaultChecker
from api.background_jobs.view_checker import ViewCheckJob, view_troubles
from api.continuity.history_guard import KEEP_WITHIN_SECONDS, HistoryMarker, mark_file
from api.continuity.key_faults import KeyCheck
from api.continuity.lost_keys import keep_used
from api.continuity.setting_aside import SettingAside
from api.exchange.access_log_anchor import AccessLogAnchor
from api.exchange.away import PresenceDeclarer, announced_absences, away_witnesses
from api.exchange.content_exchange import CONTENT_KINDS, ContentExchange
from api.exchange.disclosure_exchange import DisclosureExchange
from api.exchange.duplicate_matcher import DuplicateMatcher
from api.exchange.mirror_sync import HttpSource, MirrorSync
from api.exchange.outbox_relay import OutboxRelay
from api.exchange.own_outbox import OwnOutbox
from api.exchange.parcel_delivery import ParcelDelivery
from api.exchange.parcel_receipt import ParcelReceipt
from api.exchange.parcel_standing import (
    full_troubles,
    not_believed_troubles,
    outdated_troubles,
    quota_troubles,
    waiting_troubles,
    without_key_troubles,
)
from api.exchange.parcel_transport import HttpPostOffice, PostOffice
from api.exchange.vault_completion import VaultCompletion
from api.exchange.waiting_times import WaitingStatements, outbox_troubles, statement
from api.exchange.witness_aligner import WitnessAligner, vote_troubles
from api.exchange.witness_clients import LATEST
from api.exchange.zone_comparison import ZoneComparison
from api.keys.agency_keys import own_key
from api.keys.country_keys import pair_masks
from api.keys.key_ends import key_troubles
from api.keys.log_keys import OwnLogKeys, log_keys, trusted_policy, witness_key
from api.node.marked_events import marked_troubles
from api.node.newer_events import newer_troubles, uncopied_troubles
from api.node.node import Node, node_client
from api.node.other_nodes import other_nodes
from api.notifying.case_hooks import CaseHooks
from api.notifying.draft_notices import open_drafts
from api.notifying.notifier import Notifier
from api.runtime import status
from api.runtime.readiness import Checks
from api.runtime.status import WORK_LOCK, LedgerNodeStatus, NodeStatus, StatusReporter, WorkerHealth
from api.runtime.trouble import Trouble
from ledger.log.policy import TrustedWitness
from ledger.procedure.protocol import Agency
from ledger.procedure.registry import Registry
from ledger.publication.publisher import HistoryChangedError, Publication
from ledger.replication import outbox
from ledger.replication.false_decisions import FalseDecisions
from ledger.replication.mirror import Mirror
from ledger.replication.outbox import Outgoing
from ledger.store import event_rows
from ledger.store.notices import Listener
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker, stop_together
from ledger.vault.completion_messages import FieldsAnswered, FieldsAsked
from ledger.vault.documents.content_messages import CONTENT_MESSAGES
from ledger.vault.sealed_parcels import Content, Parcel
from ledger.vault.sent_parcels import SentParcel
from ledger.vault.vault import Vault
from ledger.vault.working_notes import Desk
from ledger.verification.policy_history import keep_trusted
from projections.upkeep.runner import ViewRunner

_SOON_SECONDS = 0.2
"""The seconds until a worker for which a person may wait looks at a new event."""
_SELDOM_SECONDS = 1.0
"""The seconds until other workers look at it: one step for many events."""


class NodeWorker:
    """A node's work goes on for as long as the block runs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._decided = 0
        self._publisher: CheckpointPublisher | None = None
        self._follower: MirrorSync | None = None
        self._forwarder: OutboxRelay | None = None
        self._works: dict[str, Callable[[], None]] = {}
        """The calls to make when another process sends a notice."""
        self._followers: list[tuple[PeriodicWorker, float]] = []
        """Workers that follow the ledger, and how many seconds after an event at the latest."""
        self.workers: list[PeriodicWorker] = []
        """All that run, in the order in which they were started."""
        self._access_matrix = AccessMatrixKeeper(
            node.ledger, node.vaults, node.settings, node.conninfo
        )
        self._vault_checking = VaultChecker(
            node.ledger,
            node.database,
            node.outbox,
            node.vaults,
            self._access_matrix.written,
            patience=node.settings.missing_after_seconds,
            given_up=self._keys_given_up,
            is_in_doubt=lambda: node.history.is_in_doubt,
        )
        self._teller = StatusReporter(node.database, self._said)
        self.checks = Checks(self._teller.wake)
        """The faults of the node that the background work finds."""
        self.checks.add(node.clock.check)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def worker(self, name: str) -> PeriodicWorker:
        """Return the worker of this name. Raises ``KeyError``."""
        return {one.name: one for one in self.workers}[name]

    def _start(self, worker: PeriodicWorker) -> None:
        self.workers.append(worker)
        worker.start()

    def _end(self) -> None:
        stop_together(self.workers, self._node.let_go)
        self._stack.close()

    def _begin(self) -> None:
        node, start = self._node, self._start
        keep_trusted(node.database, trusted_policy(node.settings, node.ledger.registry()))
        keep_used(node.database, self._used_keys())
        runner = ViewRunner(node.conninfo)
        runner.when_newer = node.ledger.note_newer
        start(runner)
        start(ViewCheckJob(node.database))
        self.checks.add(lambda: view_troubles(node.database), is_seldom=True)
        self.checks.add(
            lambda: key_troubles(node.ledger.registry(), node.parties, node.settings),
            is_seldom=True,
        )
        marker = HistoryMarker(node.history)
        start(marker)
        self._followers.append((marker, KEEP_WITHIN_SECONDS))
        self.checks.add(KeyCheck(node.settings, node.vaults, mark_file(node.settings)).look)
        self.checks.add(lambda: marked_troubles(node.database), is_seldom=True)
        self.checks.add(lambda: newer_troubles(node.ledger))
        if node.settings.ledger_url is not None:
            self._follow(node.settings.ledger_url)
        elif not node.history.is_taken_over:
            self._publish()
            self._correspond(node.mailbox)
            start(node.takeover)
            start(OwnOutbox(node.outbox, node.ledger, node.vaults, node.append_service))
        if not node.history.is_in_doubt:  # a legal hold may be among the events that are missing
            self._remove()
        start(SettingAside(node.ledger, node.vaults))
        start(SearchIndexer(node.ledger, node.vaults))
        start(AccessLogAnchor(node.ledger, node.vaults, node.append_service, self._node_key))
        start(PresenceDeclarer(node.ledger, node.parties, node.append_service, self._node_key))
        start(WitnessAligner(node.ledger, node.parties, node.append_service, self._node_key))
        self.checks.add(
            lambda: announced_absences(node.ledger.registry(), node.parties), is_seldom=True
        )
        self.checks.add(lambda: vote_troubles(node.ledger.registry()), is_seldom=True)
        self.checks.add(self._access_matrix.troubles)
        start(self._access_matrix)
        self._followers.append((self._access_matrix, _SOON_SECONDS))
        self.checks.add(self._vault_checking.troubles, is_seldom=True)
        start(self._vault_checking)
        if (stamper := Timestamper.of(node.settings, node.database)) is not None:
            start(stamper)
        if (
            notifier := Notifier.of(
                node.settings,
                node.database,
                node.ledger.registry,
                node.waiting.now,
                self._reminders,
                partial(open_drafts, node.drafts),
            )
        ) is not None:
            start(notifier)
        if (hooks := CaseHooks.of(node.settings, node.database, node.ledger.registry)) is not None:
            start(hooks)
            self._followers.append((hooks, _SOON_SECONDS))
        start(self.checks)
        start(self._teller)
        self._works[event_rows.CHANNEL] = self._ledger_grew
        start(
            Listener(
                node.conninfo,
                {channel: _ignoring_payload(work) for channel, work in self._works.items()},
                when_listening=self._do_all,
                lock=WORK_LOCK,
            )
        )

    def _reminders(self, agency: Agency, day: date) -> int:
        """Return how many reminders of an agency are due by a day."""
        vaults = self._node.vaults
        if not vaults.has(agency.party):
            return 0
        return vaults.of(agency.party).notes.count_due(Desk(agency.id), day)

    def _ledger_grew(self) -> None:
        """Wake the workers that follow the ledger, each as soon as it must be.

        So an idle node asks its database little, and a lost notice costs a worker's usual pause.
        """
        for follower, seconds in self._followers:
            follower.wake(seconds)

    def _do_all(self) -> None:
        """Do the work of every kind of notice: some may have come before this process listened."""
        for work in self._works.values():
            work()

    def _keys_given_up(self, party: str) -> Sequence[UUID]:
        """Return the persons of a country whose data keys an operator gave up as lost."""
        mark = mark_file(self._node.settings).read()
        return mark.lost_keys.get(party, ()) if mark is not None else ()

    def _used_keys(self) -> dict[str, str]:
        """Return the ids of this node's own keys, by name."""
        node = self._node
        used = {f"country-{p.lower()}": k.public.id for p, k in node.country_keys.items()}
        for party in node.parties:
            key = witness_key(node.settings, party)
            used[f"witness-{party.lower()}"] = str(key.verifier)
        if node.leads and (of_log := log_keys(node.settings)):
            used["log"] = str(of_log[-1].verifier)
        return used

    def _remove(self) -> None:
        """Start the eraser of ordered and retained cases, the janitor, and the endings."""
        node, start = self._node, self._start
        eraser = Eraser(
            node.ledger,
            node.vaults,
            node.views,
            node.append_service,
            self._node_key,
            node.cosigned_times,
        )
        start(eraser)
        self._followers.append((eraser, _SELDOM_SECONDS))
        start(
            Janitor(
                node.ledger,
                node.vaults,
                node.outbox,
                node.assertions,
                node.sessions,
                node.mailbox,
                node.clock.check,
            )
        )
        start(
            Endings(
                node.ledger,
                node.vaults,
                node.members,
                node.database,
                node.settings,
                node.cosigned_times,
                node.clock.check,
            )
        )

    def _publish(self) -> None:
        """Be the ledger node."""
        node = self._node
        publication = Publication(
            node.ledger.rows,
            node.database,
            OwnLogKeys(node.settings),
            node.witnesses.client,
            node.policy_at,
            self._heard,
            node.history,
        )
        publisher = CheckpointPublisher(node.ledger, publication, self._teller.wake)
        self._publisher = publisher
        self._start(publisher)
        self._start(publisher.gathering)
        self.checks.add(lambda: _publishing(publisher))
        self.checks.add(node.history.claims)
        self.checks.add(lambda: away_witnesses(node.database, node.policy_at), is_seldom=True)
        self._followers.append((publisher, 0.0))

    def _follow(self, url: str) -> None:
        """Be a country's node."""
        node = self._node
        zones, times = ZoneComparison(node.ledger.registry), node.clock.heard_from(url)

        def heard(headers: Mapping[str, str]) -> None:
            times(headers)
            zones.hear(headers)

        client = self._stack.enter_context(
            node_client(node.settings, url, heard, lambda: node.ledger.known_registry)
        )
        self.checks.add(zones.troubles, is_seldom=True)
        adoption = node.settings.adoption
        mirror = Mirror(
            node.ledger,
            node.database,
            trusted_policy(node.settings),
            adoption=bytes.fromhex(adoption) if adoption else None,
        )
        mirror.when_shorter = node.history.went_back_from
        source = HttpSource(url, client)
        follower = MirrorSync(mirror, source, source.policies)
        forwarder = OutboxRelay(
            node.outbox,
            node.vaults,
            node.ledger,
            client,
            node.policy_at,
            node.false_decisions,
            lambda: not follower.diverged,
            self._when_decided,
        )
        follower.size = node.ledger.head()
        follower.when_grown = forwarder.copied
        follower.when_changed = self._teller.wake
        follower.may_copy = self._has_room
        self._forwarder, self._follower = forwarder, follower
        self._start(forwarder)
        self._start(follower)
        self.checks.add(lambda: _copying(follower))
        self.checks.add(forwarder.troubles)
        limit = timedelta(seconds=node.settings.waiting_after_seconds)
        self.checks.add(lambda: outbox_troubles(node.waiting.now(), limit, clock.now()))
        self._start(
            WaitingStatements(node.outbox, limit, self._statement, lambda: other_nodes(node))
        )
        self.checks.add(lambda: _false_decisions(node.false_decisions))
        self._correspond(HttpPostOffice(client))
        self._works[outbox.CHANNEL] = forwarder.wake

    def _correspond(self, post: PostOffice) -> None:
        """Exchange parcels with the other countries' nodes, by the ledger node's mailbox."""
        node = self._node
        delivery = ParcelDelivery(node.ledger, node.vaults, post)
        masks = pair_masks(node.settings, node.country_keys)
        matching = DuplicateMatcher(node.ledger, node.vaults, masks, delivery)
        completing = VaultCompletion(
            node.ledger,
            node.vaults,
            delivery,
            self._node_key,
            patience=node.settings.missing_after_seconds,
            touch=self._vault_checking.touch,
            is_in_doubt=lambda: node.history.is_in_doubt,
        )

        contents = ContentExchange(
            node.ledger,
            node.vaults,
            delivery,
            self._node_key,
            patience=node.settings.missing_after_seconds,
            may_take=self._has_room,
            is_in_doubt=lambda: node.history.is_in_doubt,
        )

        def take_message(
            vault: Vault, parcel: Parcel, content: Content, registry: Registry
        ) -> None:
            if isinstance(content, CONTENT_MESSAGES):
                contents.take_in(vault, parcel, content, registry)
            elif isinstance(content, FieldsAsked | FieldsAnswered):
                completing.take_in(vault, parcel, content, registry)
            else:
                matching.take_in(vault, parcel, content, registry)

        def send_again(vault: Vault, parcel: SentParcel) -> bool:
            if parcel.kind in CONTENT_KINDS:
                return contents.send_again(vault, parcel)
            return matching.send_again(vault, parcel)

        delivery.send_message_again = send_again
        receiving = ParcelReceipt(
            node.ledger, node.vaults, node.country_keys, post, take_message, self._node_key
        )
        receiving.may_take = self._has_room
        receiving.when_completed = completing.completed
        receiving.when_document = contents.wake
        exchange = DisclosureExchange(node.ledger, node.vaults, delivery, self._log)
        delivery.when_sent = exchange.wake
        self._vault_checking.when_missing = completing.wake
        self._vault_checking.when_content_gone = contents.wake
        self._start(exchange)
        self._start(receiving)
        self._start(matching)
        self._start(completing)
        self._start(contents)
        self._works[status.ASSESSED] = matching.look
        self._followers += [
            (exchange, _SOON_SECONDS),
            (receiving, _SELDOM_SECONDS),
            (matching, _SELDOM_SECONDS),
        ]
        self.checks.add(
            lambda: waiting_troubles(node.parcels_standing(), clock.now()), is_seldom=True
        )
        self.checks.add(lambda: not_believed_troubles(node.vaults), is_seldom=True)
        self.checks.add(lambda: full_troubles(delivery.full))
        self.checks.add(lambda: quota_troubles(node.vaults), is_seldom=True)
        self.checks.add(lambda: outdated_troubles(delivery.is_outdated))
        self.checks.add(lambda: without_key_troubles(receiving.without_key))

    def _statement(self, waiting: Outgoing) -> str | None:
        """Sign since when an action waits, where the key of its country's node is here."""
        return statement(self._node.ledger, waiting, self._node_key)

    def _log(self) -> str:
        """Return the keys of the log in force.

        A ledger node that takes over has another log key.
        """
        return " ".join(sorted(map(str, self._node.policy_at(LATEST).logs)))

    def _has_room(self) -> bool:
        """Return whether the disk has room for anything new."""
        return not self._node.room.look()

    def _heard(self, witness: TrustedWitness, moment: datetime) -> None:
        if not self._node.witnesses.is_here(witness):
            self._node.clock.heard(witness.key.name, moment)

    def _when_decided(self) -> None:
        self._decided += 1
        self._teller.wake()

    def _node_key(self, node: Agency) -> OKPKey | None:
        try:
            return own_key(self._node.settings, node.id, None)
        except ValueError:
            return None

    def _said(self) -> NodeStatus:
        said = NodeStatus(
            troubles=self.checks.now, workers=self._health(), newer=self._node.ledger.newer
        )
        if self._publisher is not None:
            return said.model_copy(update={"size": self._publisher.signed})
        follower, forwarder = self._follower, self._forwarder
        if follower is None or forwarder is None:
            return said
        heard = LedgerNodeStatus(
            reachable=follower.reachable,
            takes_actions=forwarder.reachable,
            heard_at=follower.heard_at,
            trouble=follower.trouble,
        )
        return said.model_copy(
            update={"size": follower.size, "heard": heard, "decided": self._decided}
        )

    def _health(self) -> tuple[WorkerHealth, ...]:
        return tuple(
            WorkerHealth(name=one.name, steps=one.health.steps, failures=one.health.failures)
            for one in self.workers
        )


def _ignoring_payload(work: Callable[[], None]) -> Callable[[str], None]:
    return lambda _: work()


def _publishing(publisher: CheckpointPublisher) -> Sequence[Trouble]:
    error = publisher.trouble
    if error is None:
        return ()
    if isinstance(error, HistoryChangedError):
        return (Trouble(rule="history-changed", message=str(error)),)
    return (Trouble(rule="another-log-key", message=str(error), title="Nothing is published"),)


def _false_decisions(kept: FalseDecisions) -> Sequence[Trouble]:
    count = kept.unsettled()
    if not count:
        return ()
    message = (
        f"The ledger node signed {count} decisions that the events of the ledger contradict: it "
        "dropped or falsely refused actions of this country. See `case-ledger node evidence`, and "
        "compare with the other parties; then `case-ledger node settle`."
    )
    return (Trouble(rule="false-decision", message=message),)


def _copying(follower: MirrorSync) -> Sequence[Trouble]:
    if not follower.diverged:
        return uncopied_troubles(follower.newer)
    return (Trouble(rule="log-diverged", message=follower.trouble or "The log forked."),)
