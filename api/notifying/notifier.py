"""Looks at what is owed, and sends what is to be told, for as long as a node runs."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

import structlog

from api.exchange.waiting_times import WaitingTimes
from api.keys.log_keys import own_parties
from api.notifying.channels import (
    Channel,
    MailChannel,
    MailServer,
    NotReceivedError,
    WebhookChannel,
)
from api.notifying.digests import Reminders, digest_ids, digest_notices, urgent_notices
from api.notifying.draft_notices import OpenDrafts, draft_counts, draft_notices
from api.notifying.mail_choices import Begun, MailChoice, MailChoices, choice_of, in_language
from api.notifying.mail_choices import Duties as ToldOf
from api.notifying.notice_outbox import NoticeOutbox, TakenNotice
from api.notifying.notices import (
    LONGEST_OVERDUE,
    Notice,
    cases_told,
    key_notices,
    notices,
    retention_notices,
    waiting_notices,
)
from api.notifying.subscriptions import Events, Subscription, subscriptions_of
from api.runtime.settings import Settings
from api.services.arrived import ArrivedLists
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker
from projections.tables.duty_lists import DutyLists
from projections.tables.stored_documents import StoredDocuments

LEASE = timedelta(minutes=5)
"""For so long nobody else sends what one process is sending; it takes seconds."""
_LOOK_SECONDS = 30.0
_SENT_KEPT = timedelta(days=30)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=6)
_log = structlog.get_logger(__name__)


class Notifier(PeriodicWorker):
    """Notices of what is due and overdue, each sent at least once.

    Every step is safe to repeat, and to run in several processes.
    """

    def __init__(
        self,
        database: Database,
        protocol: Protocol,
        subscriptions: Sequence[Subscription],
        channels: Mapping[str, Channel],
        ahead: timedelta,
        lease: timedelta = LEASE,
        registry: Callable[[], Registry | None] = lambda: None,
        waiting: Callable[[], Iterable[Notice]] = tuple,
        reminders: Reminders = lambda _, __: 0,
        digest_hour: int = 7,
        drafts: OpenDrafts = lambda _: (),
    ) -> None:
        """Prepare the notifier.

        ``protocol`` counts while there is no ``registry``; then its version of today does.
        ``waiting`` returns the notices of this country's actions that wait. ``digest_hour`` is the
        hour of local time from which on a day's digest is sent.
        """
        self._database = database
        self._drafts = drafts
        self._outbox = NoticeOutbox(database)
        self._choices = MailChoices(database)
        self._duties = DutyLists(database)
        self._arrived = ArrivedLists(database, StoredDocuments())
        self._reminders = reminders
        self._digest_hour = digest_hour
        self._protocol = protocol
        self._subscriptions = {one.id: one for one in subscriptions}
        self._channels = channels
        self._ahead = ahead
        self._lease = lease
        self._registry = registry
        self._waiting = waiting
        self._sending: dict[Hashable, threading.Thread] = {}
        super().__init__("notify", self._step, every=_LOOK_SECONDS)

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        registry: Callable[[], Registry | None],
        waiting: Callable[[], WaitingTimes] | None = None,
        reminders: Reminders = lambda _, __: 0,
        drafts: OpenDrafts = lambda _: (),
    ) -> Self | None:
        """Return the notifier of the settings, or ``None`` if nobody is told.

        Raises ``OSError``, and ``ValueError`` that names the fault.
        """
        server, subscriptions = _configured(settings)
        subscriptions = [one for one in subscriptions if Events.OBLIGATIONS in one.events]
        if not subscriptions:
            return None
        ahead = timedelta(days=settings.notify_days_before)
        protocol, channels = settings.load_protocol(), cls.channels(server)

        def of_waiting() -> Iterable[Notice]:
            if waiting is None:
                return ()
            limit = timedelta(seconds=settings.waiting_after_seconds)
            own = own_parties(settings)
            current, now = registry(), clock.now()
            today = current.protocol_today(now) if current is not None else protocol
            return waiting_notices(waiting(), limit, own, subscriptions, today, now)

        return cls(
            database,
            protocol,
            subscriptions,
            channels,
            ahead,
            registry=registry,
            waiting=of_waiting,
            reminders=reminders,
            digest_hour=settings.digest_hour,
            drafts=drafts,
        )

    @staticmethod
    def channels(server: MailServer | None) -> Mapping[str, Channel]:
        """Return every channel that there is; no e-mail without a mail server."""
        hook = {"webhook": WebhookChannel()}
        return hook if server is None else {**hook, "email": MailChannel(server)}

    def _step(self) -> None:
        self.look()
        self.start_sending()

    def look(self) -> int:
        """Put in the notices of now and take out the others, and return how many are new."""
        now = clock.now()
        subscriptions = tuple(self._subscriptions.values())
        registry = self._registry()
        of_keys = list(key_notices(registry, subscriptions, now)) if registry is not None else []
        protocol = registry.protocol_today(now) if registry is not None else self._protocol
        agencies = protocol.agencies_by_id
        parties = {agencies[one.agency].party for one in subscriptions}
        announced = self._outbox.announced(parties, now)
        of_erasures = list(retention_notices(announced, subscriptions, protocol, now))
        choices = self._choices.every()
        begun = self._choices.begun([one.id for one in subscriptions], now)
        daily = [one for one in subscriptions if choice_of(one, choices).duties is ToldOf.DIGEST]
        today = digest_ids(daily, protocol, self._digest_hour, now)
        made = self._outbox.known(today.values())
        of_drafts = draft_notices(
            subscriptions, choices, begun, protocol, self._drafts, self._database, now
        )
        of_choice = [
            *of_drafts,
            *self._urgent(subscriptions, choices, begun, protocol, now),
            *self._digests(daily, {s: n for s, n in today.items() if n not in made}, protocol, now),
        ]
        others = [*of_keys, *of_erasures, *self._waiting(), *of_choice]
        each = [one for one in subscriptions if choice_of(one, choices).duties is ToldOf.EACH]
        told_each = [one.id for one in each]
        self._outbox.drop(
            self._subscriptions.keys(), [*made, *(one.id for one in others)], told_each
        )
        self._outbox.forget(_SENT_KEPT)
        owed = self._outbox.owed(now - LONGEST_OVERDUE, now + self._ahead, now)
        # A person gets no letters of the past. A program gets what is overdue, and compares.
        since = {one.id: begun[one.id].since for one in each if one.email is not None}
        of_obligations = notices(owed, each, protocol, now, self._ahead, since)
        return self._outbox.put([*others, *of_obligations])

    def _urgent(
        self,
        subscriptions: Sequence[Subscription],
        choices: Mapping[str, MailChoice],
        begun: Mapping[UUID, Begun],
        protocol: Protocol,
        now: datetime,
    ) -> Iterator[Notice]:
        urgent = [one for one in subscriptions if choice_of(one, choices).urgent]
        return urgent_notices(urgent, begun, protocol, self._arrived, now)

    def _digests(
        self,
        daily: Sequence[Subscription],
        due: Mapping[UUID, UUID],
        protocol: Protocol,
        now: datetime,
    ) -> Iterator[Notice]:
        return digest_notices(
            daily,
            protocol,
            self._duties,
            self._arrived,
            self._reminders,
            lambda agency: draft_counts(agency, self._drafts, self._database, now),
            due,
            now,
        )

    def send(self) -> int:
        """Send the notices that wait, and return how many were received.

        If one is not received, that subscription's other notices wait for the next time.
        """
        counts: list[int] = []
        for thread in self.start_sending(counts):
            thread.join()
        return sum(counts)

    def start_sending(self, counts: list[int] | None = None) -> Sequence[threading.Thread]:
        """Start to send the notices, in a thread for each webhook and one for all e-mail.

        So a slow webhook delays no other notice. A thread that is still busy from the last time
        goes on alone. Each adds to ``counts`` how many it sent. Returns the threads that began.
        """
        counts = [] if counts is None else counts
        lanes: dict[Hashable, set[UUID]] = defaultdict(set)
        for due in self._outbox.due() & self._subscriptions.keys():
            lanes[due if self._subscriptions[due].webhook is not None else "email"].add(due)
        self._sending = {lane: t for lane, t in self._sending.items() if t.is_alive()}
        begun = []
        for lane in lanes.keys() - self._sending.keys():
            work = threading.Thread(target=self._send_all, args=(lanes[lane], counts), name="send")
            self._sending[lane] = work
            work.start()
            begun.append(work)
        return begun

    def _send_all(self, subscriptions: set[UUID], counts: list[int]) -> None:
        sent = 0
        try:
            while subscriptions and not self.is_stopping:
                taken = self._outbox.take(self._lease, subscriptions)
                if taken is None:
                    break
                if not self._may_be_told(taken):
                    self._outbox.remove(taken.id)
                    continue
                if self._send(taken):
                    self._outbox.mark_sent(taken.id)
                    sent += 1
                else:
                    self._outbox.put_off(taken.id, pause_after(taken.attempts))
                    subscriptions.discard(taken.subscription)
        except Exception as error:
            _log.warning("notifying interrupted", error=type(error).__name__)
        finally:
            counts.append(sent)

    def _may_be_told(self, taken: TakenNotice) -> bool:
        """Return whether the agency still has to know of each case that a notice names.

        Its access may have ended since the notice was put in. A digest is made again at the next
        look, without the case.
        """
        cases = cases_told(taken.message)
        subscription = self._subscriptions.get(taken.subscription)
        if subscription is None or not cases:
            return True
        protocol = self._agreed()
        agency = protocol.agencies_by_id.get(subscription.agency)
        if agency is None or agency.retired_at is not None:
            return False
        return not is_bound(agency, protocol) or cases <= self._outbox.seen_by(agency.id, cases)

    def _agreed(self) -> Protocol:
        """Return the version in force, whose words a message has; before a registry, the first."""
        registry = self._registry()
        return registry.protocol_today(clock.now()) if registry is not None else self._protocol

    def _send(self, taken: TakenNotice) -> bool:
        subscription = self._subscriptions.get(taken.subscription)
        if subscription is None:
            return False  # another process's, or taken out at the next look
        subscription = in_language(subscription, self._choices.every())
        way = "webhook" if subscription.webhook is not None else "email"
        try:
            self._channels[way].send(subscription, taken.id, taken.message, self._agreed())
        except NotReceivedError as error:
            _log.warning(
                "a notice is not received",
                agency=subscription.agency,
                way=way,
                why=str(error),
                attempts=taken.attempts,
            )
            return False
        return True

    def _close(self) -> None:
        for thread in self._sending.values():
            thread.join()  # a notice under way takes seconds
        for channel in self._channels.values():
            if isinstance(channel, WebhookChannel):
                channel.close()


def check_notifications(settings: Settings) -> None:
    """Check that a notifier can be made of the settings.

    Raises ``OSError``, and ``ValueError`` if it cannot.
    """
    server, _ = _configured(settings)
    if server is not None:
        MailChannel(server)


def _configured(settings: Settings) -> tuple[MailServer | None, Sequence[Subscription]]:
    server = MailServer.of(settings)
    if settings.notifications is None:
        return server, ()
    subscriptions = subscriptions_of(settings)
    if server is None and any(one.email for one in subscriptions):
        raise ValueError("a subscription by e-mail needs CASE_LEDGER_SMTP_HOST")
    return server, subscriptions


def pause_after(attempts: int) -> timedelta:
    """Return the pause after so many attempts: twice as long each time, six hours at most."""
    doubled: int = 2 ** min(attempts - 1, 20)
    return min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)


def mailed_agencies(settings: Settings) -> frozenset[str]:
    """Return the agencies that have an e-mail address in the settings' file.

    Raises ``OSError``, and ``ValueError`` as :func:`check_notifications` does.
    """
    _, subscriptions = _configured(settings)
    return frozenset(one.agency for one in subscriptions if one.email is not None)
