"""Webhooks for what happens in cases: each event once received, in the order of positions.

A message is made when it is sent, of what the agency sees then, and is stored nowhere. It has ids,
the kind of the action and its agency, and nothing of a person.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self
from uuid import UUID, uuid5

import structlog

from api.notifying.case_hook_rows import CaseHookRows, HookedEvent
from api.notifying.channels import Channel, NotReceivedError, WebhookChannel
from api.notifying.notifier import pause_after
from api.notifying.subscriptions import Events, Subscription, subscriptions_of
from api.runtime.settings import Settings
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vocabulary.types import format_utc
from projections.tables.duty_lists import viewer_of

PATIENCE = timedelta(days=5)
"""A webhook that has received nothing for so long is disabled."""
TYPE = "case.action_recorded"
_LEASE = timedelta(minutes=5)
_AT_ONCE = 20
"""Messages that are sent before the lease is taken anew: each takes ten seconds at most."""
_LOOK_SECONDS = 5.0
_log = structlog.get_logger(__name__)


def message_of(event: HookedEvent) -> Mapping[str, Any]:
    """Return the message on an event. Sent again, it is the same."""
    return {
        "type": TYPE,
        "timestamp": format_utc(event.recorded_at),
        "data": {
            "position": event.position,
            "case_id": str(event.case_id),
            "case_version": event.version,
            "action_id": str(event.action_id),
            "kind": event.kind,
            "agency": event.agency,
            "party": event.party,
        },
    }


def _follows_cases(agency: Agency, protocol: Protocol) -> bool:
    """Return whether an agency lists cases of its country: then it may follow them."""
    return (
        agency.retired_at is None
        and not agency.international
        and not protocol.sees_figures_alone(agency)
    )


def message_id(subscription: UUID, event: HookedEvent) -> UUID:
    """Return the id of a message, which stays the same in retries and replays."""
    return uuid5(subscription, f"case {event.action_id}")


class CaseHooks(PeriodicWorker):
    """Sends to each webhook in a thread of its own, so that a slow one delays no other."""

    def __init__(
        self,
        database: Database,
        subscriptions: Sequence[Subscription],
        registry: Callable[[], Registry | None],
        channel: Channel | None = None,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._rows = CaseHookRows(database)
        self._subscriptions = {one.id: one for one in subscriptions if Events.CASES in one.events}
        self._registry = registry
        self._channel = channel or WebhookChannel()
        self._patience = patience
        self._lanes: dict[UUID, threading.Thread] = {}
        self._rows.begin((one.id, one.agency) for one in self._subscriptions.values())
        super().__init__("send case webhooks", self._step, every=_LOOK_SECONDS)

    @classmethod
    def of(
        cls, settings: Settings, database: Database, registry: Callable[[], Registry | None]
    ) -> Self | None:
        """Return the worker of the settings; ``None`` if the file has no webhook for cases.

        Raises ``OSError``, and ``ValueError`` that names the fault.
        """
        found = [one for one in subscriptions_of(settings) if Events.CASES in one.events]
        if not found:
            CaseHookRows(database).begin(())
            return None
        return cls(database, found, registry)

    def _step(self) -> None:
        self.start_sending()

    def send(self) -> None:
        """Send what there is now, and wait until every thread has ended."""
        for lane in self.start_sending():
            lane.join()

    def start_sending(self) -> Sequence[threading.Thread]:
        """Start a thread for each webhook that is due and has none, and return these threads."""
        self._lanes = {one: lane for one, lane in self._lanes.items() if lane.is_alive()}
        begun = []
        for due in (self._rows.due() & self._subscriptions.keys()) - self._lanes.keys():
            lane = threading.Thread(target=self._send_to, args=(due,), name="case webhook")
            self._lanes[due] = lane
            lane.start()
            begun.append(lane)
        return begun

    def _send_to(self, subscription: UUID) -> None:
        try:
            while not self.is_stopping and self._send_some(self._subscriptions[subscription]):
                pass
        except Exception as error:
            _log.warning("sending to a webhook is interrupted", error=type(error).__name__)

    def _send_some(self, to: Subscription) -> bool:
        """Send a few messages. Return whether there may be more to send now."""
        registry = self._registry()
        taken = self._rows.take(to.id, _LEASE)
        if registry is None or taken is None:
            return False
        position, attempts = taken
        protocol = registry.protocol_today(clock.now())
        agency = protocol.agencies_by_id.get(to.agency)
        if agency is None or not _follows_cases(agency, protocol):
            return False
        bound_to = agency.id if is_bound(agency, protocol) else None
        events, upto = self._rows.next_events(position, viewer_of(agency), bound_to)
        for event in events[:_AT_ONCE]:
            try:
                self._channel.send(to, message_id(to.id, event), message_of(event))
            except NotReceivedError as error:
                self._note_failure(to, position, attempts, error)
                return False
            if not self._rows.advance(to.id, position, event.position):
                break
            position, attempts = event.position, 0
        else:
            if len(events) <= _AT_ONCE and upto > position:
                self._rows.advance(to.id, position, upto)
        self._rows.release(to.id)
        return bool(events) or upto > position

    def _note_failure(
        self, to: Subscription, position: int, attempts: int, error: NotReceivedError
    ) -> None:
        is_disabled = self._rows.failed(
            to.id, position, pause_after(attempts + 1), self._patience, gone=error.is_gone
        )
        _log.warning(
            "a webhook for cases is disabled" if is_disabled else "a webhook received nothing",
            agency=to.agency,
            why=str(error),
            attempts=attempts + 1,
        )

    def _close(self) -> None:
        for lane in self._lanes.values():
            lane.join()
        if isinstance(self._channel, WebhookChannel):
            self._channel.close()
