"""Has the log's policy follow the parties, by an act of a country's node."""

import time
from collections.abc import Collection, Sequence

import structlog

from api.client.schemas.health import Effect
from api.exchange.access_log_anchor import NodeKey, append_node_act, node_and_key
from api.runtime.trouble import Trouble
from api.services.append_service import AppendService
from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vocabulary.registration import WitnessesAligned

_LOOK_SECONDS = 2.0
_TURN_SECONDS = 10.0
"""For so long each party's node leaves the act to the node of the party before it."""
_log = structlog.get_logger(__name__)


def vote_troubles(registry: Registry | None) -> Sequence[Trouble]:
    """Return the trouble that the log's policy follows the parties by a vote alone."""
    refusal = registry.alignment_refusal(clock.now()) if registry is not None else None
    if refusal is None:
        return ()
    return (
        Trouble(
            rule="witnesses-need-vote",
            message=refusal.message,
            effect=Effect.WARNING,
            title="The policy needs a vote",
        ),
    )


class WitnessAligner(PeriodicWorker):
    """Records ``witnesses_aligned`` once a party that joined or left is in or out of the policy.

    The nodes of the parties take turns, in the order of the parties' codes: one act is enough.
    """

    def __init__(
        self,
        ledger: Ledger,
        parties: Collection[str],
        append_service: AppendService,
        node_key: NodeKey,
    ) -> None:
        self._ledger = ledger
        self._parties = parties
        self._append_service = append_service
        self._node_key = node_key
        self._due_since: float | None = None
        """Since when the policy is behind the parties, by ``time.monotonic()`` in seconds."""
        super().__init__("align", self._step, every=_LOOK_SECONDS, first_after=_LOOK_SECONDS)

    def _step(self) -> None:
        self.align()

    def align(self) -> bool:
        """Record the act if it is due and this node's turn, and return whether it handed one in."""
        registry, now = self._ledger.registry(), clock.now()
        if registry is None or not registry.is_alignment_due(now):
            self._due_since = None
            return False
        since = self._due_since = self._due_since or time.monotonic()
        protocol = registry.protocol_today(now)
        turns = (time.monotonic() - since) / _TURN_SECONDS
        own = [
            party
            for place, party in enumerate(sorted(protocol.party_codes))
            if place <= turns and party in self._parties
        ]
        return any(self._record(protocol, party, len(registry.policies)) for party in own)

    def _record(self, protocol: Protocol, party: str, policies: int) -> bool:
        found = node_and_key(self._node_key, protocol, party)
        if found is None:
            return False
        parties = " ".join(sorted(protocol.party_codes))
        try:
            append_node_act(
                self._append_service,
                protocol,
                found,
                WitnessesAligned(acted_at=clock.now()),
                f"witnesses {policies} {parties}",
            )
        except Refusal as refusal:
            _log.warning("the policy does not follow the parties yet", rule=refusal.rule)
            return False
        return True
