"""Parties that are away: witnesses that cosign nothing, and own countries with an absence."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta

import structlog
from joserfc.jwk import OKPKey

from api.client.schemas.health import Effect
from api.exchange.access_log_anchor import NodeKey, append_node_act, node_and_key
from api.runtime.trouble import Trouble
from api.services.append_service import AppendService
from ledger.application import Ledger
from ledger.procedure.absence import Announcement
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.publication import publisher
from ledger.publication.publisher import PolicyAt
from ledger.refusals import Refusal
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vocabulary.registration import PresenceDeclared

AWAY_AFTER = timedelta(minutes=1)
"""A witness counts as away once it has not cosigned for so long what the log signed."""
_LOOK_SECONDS = 5.0
_log = structlog.get_logger(__name__)


def away_witnesses(
    database: Database, policy_at: PolicyAt, now: Callable[[], datetime] = clock.now
) -> Sequence[Trouble]:
    """Return the trouble that names the witnesses that are away: a question to the ledger node."""
    standing = publisher.standing(database, policy_at)
    policy = policy_at(standing.signed)
    away = {}
    for name, size in standing.witnesses.items():
        since = publisher.signed_since(database, size)
        if since is not None and now() - since > AWAY_AFTER:
            away[name] = f"{name} (stands at size {size}, since {since:%d %b %Y %H:%M} UTC)"
    if not away:
        return ()
    present = [name for name in standing.witnesses if name not in away]
    goes_on = policy.is_met(dict.fromkeys(present))
    effect = (
        f"{', '.join(present)} publish without it."
        if goes_on
        else "The others are no quorum: nothing is published until one of them is back."
    )
    message = (
        f"Witnesses that cosign nothing: {', '.join(away.values())}. {effect} Recording goes on."
        " Ask the operators of their nodes. `case-ledger absence show PARTY` lists what a party"
        " misses meanwhile."
    )
    return (Trouble(rule="witness-away", message=message, effect=Effect.WARNING, title="Away"),)


def announced_absences(registry: Registry | None, parties: Collection[str]) -> Sequence[Trouble]:
    """Return the trouble that this node's own country is announced as absent."""
    return [
        Trouble(
            rule="absence-announced",
            message=(
                f"{one.by} announced on {one.recorded_at:%d %b %Y %H:%M} UTC that {one.party} is"
                f" away, for votes on {', '.join(sorted(one.subjects))}. This node declares"
                f" {one.party} present by itself if it has the key of its node agency. Otherwise"
                " any act of its coordinator on the protocol ends the announcement:"
                " `case-ledger absence end`."
            ),
            effect=Effect.WARNING,
            title="Absence announced",
        )
        for one in _open(registry, parties)
    ]


class PresenceDeclarer(PeriodicWorker):
    """Declares each own country present, by its node's key, while its absence is announced."""

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
        super().__init__("presence", self._step, every=_LOOK_SECONDS, first_after=_LOOK_SECONDS)

    def _step(self) -> None:
        self.declare()

    def declare(self) -> int:
        """Declare the presence of own parties that are announced as absent.

        Returns how many declarations.
        """
        registry = self._ledger.registry()
        if registry is None:
            return 0
        protocol = registry.protocol_today(clock.now())
        count = 0
        for one in _open(registry, self._parties):
            found = node_and_key(self._node_key, protocol, one.party)
            if found is not None:
                self._declare(protocol, one, found)
                count += 1
        return count

    def _declare(
        self, protocol: Protocol, one: Announcement, signer: tuple[Agency, OKPKey]
    ) -> None:
        act = PresenceDeclared(acted_at=clock.now())
        try:
            append_node_act(self._append_service, protocol, signer, act, f"present {one.action}")
        except Refusal as refusal:
            _log.warning("presence not declared", rule=refusal.rule)


def _open(registry: Registry | None, parties: Collection[str]) -> Iterator[Announcement]:
    for one in registry.announced if registry is not None else ():
        if one.party in parties and one.ended_at is None:
            yield one
