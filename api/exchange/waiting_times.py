"""Compare the waits of this country's actions for the ledger node with those of others.

Of its own actions the node knows when they came in and when its copy had them. Of others' it sees
the signed time (`iat`, which is the agency's word, in whole seconds) and the recorded time. Both
show no cause: a ledger node that is away delays everybody's, and one that records others' actions
meanwhile, and not these, leaves these out.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import httpx
import structlog

from api.client import LedgerClient, RefusedError
from api.client.schemas.health import Effect
from api.exchange.access_log_anchor import NodeKey, node_and_key
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.procedure.registry import Registry
from ledger.replication.outbox import Outbox, Outgoing
from ledger.replication.submissions import state
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker

RULE = "actions-waiting"
_LOOKED_AT = 200
"""So many of the last events are looked at for how long others' actions take."""
_COMPARED_SECONDS = 10.0
_STATE_EVERY_SECONDS = 60.0
AT_ONCE = 100
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WaitingTimes:
    """The waits of this country's actions, and those of other countries."""

    actions: int
    """How many have no outcome."""
    oldest_at: datetime | None
    """Since when the first of them waits."""
    own_seconds: float | None
    """The median time until an own action of the last day was in this node's copy."""
    others_seconds: float | None
    """The median time from signing to recording of other countries' last actions."""
    others_since: int
    """How many actions of other countries were recorded since ``oldest_at``, of the last events."""

    def oldest_seconds(self, now: datetime) -> float:
        """Return how long the first of them has waited."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())


class WaitingComparison:
    """Compares at most every ten seconds, however often it is asked."""

    def __init__(self, ledger: Ledger, outbox: Outbox, parties: Sequence[str]) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._parties = frozenset(parties)
        self._lock = threading.Lock()
        self._compared_at: float | None = None
        self._others: list[tuple[datetime, float]] = []
        """When each of others' last actions was recorded, and how many seconds it took."""
        self._own: float | None = None
        self._compared: tuple[Registry | None, int] | None = None
        """The registry and the ledger's head when others' last actions were read."""

    def now(self) -> WaitingTimes:
        """Return how actions wait now."""
        with self._lock:
            if self._compared_at is None or (
                time.monotonic() - self._compared_at >= _COMPARED_SECONDS
            ):
                self._compare()
                self._own = self._outbox.median_seconds()
                self._compared_at = time.monotonic()
            others = self._others
        actions, oldest_at = self._outbox.standing()
        return WaitingTimes(
            actions=actions,
            oldest_at=oldest_at,
            own_seconds=self._own,
            others_seconds=median(taken for _, taken in others) if others else None,
            others_since=sum(oldest_at is not None and at > oldest_at for at, _ in others),
        )

    def _compare(self) -> None:
        """Read others' last actions again, if the ledger has grown."""
        registry, size = self._ledger.registry(), self._ledger.head()
        if registry is None:
            self._others, self._compared = [], None
            return
        known, known_size = self._compared or (None, -1)
        if known is not registry or known_size != size:
            self._others = self._read_others(registry, size)
            self._compared = registry, size

    def _read_others(self, registry: Registry, size: int) -> list[tuple[datetime, float]]:
        agencies = registry.directory.agencies_by_id
        found = []
        for row in self._ledger.rows_after(max(0, size - _LOOKED_AT), _LOOKED_AT):
            action = row.event().action
            agency = agencies.get(action.agency)
            if agency is not None and agency.party not in self._parties:
                taken = (row.recorded_at - action.signed_at).total_seconds()
                found.append((row.recorded_at, max(0.0, taken)))
        return found


def outbox_troubles(waiting: WaitingTimes, limit: timedelta, now: datetime) -> Sequence[Trouble]:
    """Return the trouble of actions that wait for longer than the limit."""
    seconds = waiting.oldest_seconds(now)
    if seconds <= limit.total_seconds():
        return ()
    others = (
        "nothing of other countries was recorded meanwhile"
        if not waiting.others_since
        else f"{waiting.others_since} or more actions of other countries were recorded meanwhile"
    )
    message = (
        f"{waiting.actions} actions of this country have no outcome, the first one for "
        f"{seconds / 60:.0f} minutes; {others}. Look at the way to the ledger node and ask its "
        "operator. `case-ledger node submitted` states to the other countries since when they wait."
    )
    return (
        Trouble(rule=RULE, message=message, effect=Effect.WARNING, title="Actions are waiting"),
    )


def statement(ledger: Ledger, waiting: Outgoing, node_key: NodeKey) -> str | None:
    """Sign since when an action waits; ``None`` where its country's node has no key here."""
    protocol = ledger.adopted().protocol_today(clock.now())
    found = node_and_key(node_key, protocol, waiting.party)
    if found is None:
        return None
    _, key = found
    return state(waiting, protocol.id, key)


class WaitingStatements(PeriodicWorker):
    """States to the other countries' nodes what has waited longer than the limit.

    It goes to the addresses that the policy in force has of their witnesses, past the ledger node.
    """

    def __init__(
        self,
        outbox: Outbox,
        limit: timedelta,
        statement: Callable[[Outgoing], str | None],
        clients: Callable[[], Mapping[str, LedgerClient]],
    ) -> None:
        """Prepare the statements of waiting actions.

        ``statement`` signs one, or returns ``None`` if the node's key is not here. ``clients``
        returns the clients by country.
        """
        self._outbox = outbox
        self._limit = limit
        self._statement = statement
        self._clients = clients
        every = min(_STATE_EVERY_SECONDS, limit.total_seconds() + 1)
        super().__init__("state", self._step, every=every, first_after=every)

    def _step(self) -> None:
        self.state()

    def state(self) -> int:
        """Hand over statements of the actions that wait too long.

        Returns how many countries took them.
        """
        due = self._outbox.waiting_since(clock.now() - self._limit, AT_ONCE)
        statements = [text for one in due if (text := self._statement(one)) is not None]
        if not statements:
            return 0
        count = 0
        for party, client in self._clients().items():
            try:
                with client:
                    client.state_submissions(statements)
                count += 1
            except (RefusedError, httpx.TransportError) as error:
                _log.warning("not stated", country=party, error=type(error).__name__)
        return count
