"""Detect that the parties made another node the ledger node while this one was away.

A ledger node asks the nodes of its witnesses when it starts, before it records anything, and every
half minute then. Each tells the adopted policies with their proofs
(:mod:`ledger.replication.failover`). A decision that verifies is remembered in the mark: this node
records nothing from then on.

Where a witness only shows that it cosigns for another log key, this node warns and goes on: one
party's word must not make it unready. If the key is of an earlier policy that is recorded here, it
is the witness that did not follow the decision.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256

import httpx
import structlog

from api.client.bounded_answers import bounded_client
from api.client.schemas.health import Effect
from api.continuity.history_guard import TAKEN_OVER, HistoryGuard
from api.exchange.witness_clients import LATEST, Witnesses
from api.keys.log_keys import log_keys
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteError, VerifierKey, verify
from ledger.log.policy import TrustedWitness
from ledger.publication.publisher import PolicyAt
from ledger.replication.failover import decided_elsewhere
from ledger.replication.history_mark import TakenOver
from ledger.system.periodic_worker import PeriodicWorker
from ledger.verification.policy_history import PolicyHistory

_EVERY_SECONDS = 30.0
_ANSWER_SECONDS = 3.0
_ANSWER_BYTES = 4 * 1024 * 1024
OF_A_NODE = re.compile(r"(?P<node>.+)/witness/[A-Za-z]{2}/?")
"""The witness of a country's node is at this address of the node."""
_log = structlog.get_logger(__name__)


class TakeoverWatch(PeriodicWorker):
    """Asks in a thread of its own for as long as the block runs; :meth:`look` asks once."""

    def __init__(
        self,
        settings: Settings,
        policy_at: PolicyAt,
        earlier_keys: Callable[[], Collection[VerifierKey]],
        witnesses: Witnesses,
        history: HistoryGuard,
    ) -> None:
        """Prepare the watch for a takeover.

        ``earlier_keys`` gives the log keys of earlier policies, as they are recorded here.
        """
        self._settings = settings
        self._earlier_keys = earlier_keys
        self._policy_at = policy_at
        self._witnesses = witnesses
        self._history = history
        self._claims: Mapping[str, Trouble] = {}
        """Witnesses that cosign for another log key, and do not prove a decision."""
        super().__init__("takeover", self.look, every=_EVERY_SECONDS, first_after=_EVERY_SECONDS)

    def look(self) -> None:
        """Ask every witness's node once, all at the same time, for three seconds at most."""
        asked = {
            name: trusted
            for name, trusted in self._policy_at(LATEST).witnesses.items()
            if trusted.url is not None and not self._witnesses.is_here(trusted)
        }
        if not asked:
            return
        with ThreadPoolExecutor(len(asked), thread_name_prefix="takeover") as workers:
            found = workers.map(self._ask, asked.values())
        said = dict(zip(asked, found, strict=True))
        for told in said.values():
            if isinstance(told, TakenOver):
                self._history.another_leads(told)
        self._claims = {name: told for name, told in said.items() if isinstance(told, Trouble)}

    def claims(self) -> Sequence[Trouble]:
        """Return the witnesses' claims without a proof, as troubles.

        It is a check of readiness.
        """
        return list(self._claims.values())

    def _ask(self, trusted: TrustedWitness) -> TakenOver | Trouble | None:
        url = trusted.url or ""
        try:
            with bounded_client(
                timeout=_ANSWER_SECONDS, limit=_ANSWER_BYTES, seconds=_ANSWER_SECONDS
            ) as http:
                return self._decided(http, url) or self._claimed(http, url, trusted)
        except (httpx.HTTPError, NoteError, ValueError) as error:
            _log.info("a witness's node tells nothing", error=type(error).__name__)
            return None

    def _decided(self, http: httpx.Client, url: str) -> TakenOver | None:
        of_node = OF_A_NODE.fullmatch(url)
        if of_node is None:
            return None  # a witness that runs alone has no events
        answer = http.get(f"{of_node['node']}/log/policies")
        if answer.status_code != httpx.codes.OK:
            return None
        try:
            own = [signer.verifier for signer in log_keys(self._settings)]
            decided = decided_elsewhere(
                PolicyHistory.parse(answer.text), self._policy_at(LATEST), own
            )
        except NoteError:
            return None
        if decided is None:
            return None
        return TakenOver(
            found_at=datetime.now(UTC),
            told_by=of_node["node"],
            since=decided.since,
            log_keys=tuple(map(str, decided.policy.logs)),
        )

    def _claimed(self, http: httpx.Client, url: str, trusted: TrustedWitness) -> Trouble | None:
        policy = self._policy_at(LATEST)
        own = {*policy.logs, *(signer.verifier for signer in log_keys(self._settings))}
        origin = next(iter(policy.logs)).name
        answer = http.get(f"{url.rstrip('/')}/{sha256(origin.encode()).hexdigest()}/checkpoint")
        if answer.status_code != httpx.codes.OK:
            return None
        note = Note.parse(answer.text)
        checkpoint = Checkpoint.parse(note.text)
        if checkpoint.origin != origin or verify(note, own) or not verify(note, [trusted.key]):
            return None
        if verify(note, [key for key in self._earlier_keys() if key.name == origin]):
            return Trouble(
                rule="witness-follows-earlier-log",
                message=f"The witness {trusted.key.name} cosigns checkpoints of an earlier log "
                "key. The decision by which that key counts no more is recorded here. Its "
                "node follows the old ledger node: ask the operator to run `case-ledger node "
                "rejoin` there.",
                effect=Effect.WARNING,
                title="A witness follows the old ledger node",
            )
        return Trouble(
            rule=TAKEN_OVER,
            effect=Effect.WARNING,
            message=f"The witness {trusted.key.name} cosigns checkpoints that another log key "
            "signed. No decision of the parties is proven to this node, so recording goes on. Ask "
            "the other parties whether another node is the ledger node now.",
            title="Another node may be the ledger node",
        )
