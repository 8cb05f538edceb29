"""A country's node passes on what its agencies signed, until it knows what the ledger decided.

Only the ledger decides. A decision is signed by the log's key and names the action
(:mod:`ledger.log.signed_decision`). Every other answer leaves the action where it is: it is sent
again. An action counts as recorded once this node's own copy of the ledger has it, and as refused
once the copy has all events that the refusal stands on, and not the action. Its disclosures are
kept until then.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import structlog

from api.client import LedgerClient, RefusedError, WaitingError
from api.client.errors import UNREADABLE
from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from api.services.personal_data_access import write_down_refused
from api.services.refusal_problem import problem_of
from ledger.application import Ledger
from ledger.log.signed_decision import DecisionError, Recorded, Refused, SignedDecision
from ledger.publication.publisher import PolicyAt
from ledger.refusals import Ground, Refusal
from ledger.replication.false_decisions import (
    DecisionCheck,
    FalseDecisions,
    LedgerEvents,
    held_against,
)
from ledger.replication.outbox import Outbox, Outgoing
from ledger.replication.outcomes import OutboxState
from ledger.signing import signed_action
from ledger.signing.signed_action import Mark
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vaults

_AT_ONCE = 8
_BATCH = 32
_AGAIN_AFTER = timedelta(seconds=10)
_BACKOFF = Backoff(0.2, 2.0)
_EVERY_SECONDS = 5.0
"""A notice of the database wakes the relay at each action; this is for notices that are lost."""
_LATER_SECONDS = (0.2, 1.0, 3.0, 10.0)
"""When an action that met no decision is sent again, while others are decided on."""
_FORGOTTEN_SECONDS = 60.0
_OUTSIDE_REASONS = frozenset({429, 503, 507})
"""With a rule: the ledger node itself says that it takes nothing now."""
_OUTDATED = frozenset({f"422 {mark.value}" for mark in Mark if mark.is_newer})
"""Answers of a ledger node whose program is older than this one: it cannot read the action."""
_STRANGE_ANSWERS = 3
"""So many answers to one action without a decision are a trouble."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Attempts:
    """An action whose last answer was no decision."""

    times: int = 0
    strange: int = 0
    """How many answers in a row came that hold no decision."""
    again_at: float = 0.0
    said: str = ""


@dataclass
class _Answers:
    """The answers to the actions that were sent."""

    asked: dict[UUID, _Attempts] = field(default_factory=dict)
    unsure: set[UUID] = field(default_factory=set)
    """Actions with a request that met no decision: the request may still arrive somewhere."""
    unsigned: bool = False
    """Whether a receipt came last that nobody signed."""
    outdated_at: float | None = None
    """When the ledger node refused last what its program does not have, by ``time.monotonic()``."""

    def later(self, now: float) -> list[UUID]:
        """Return the actions that are not to be sent again yet."""
        self.asked = {k: a for k, a in self.asked.items() if a.again_at + _FORGOTTEN_SECONDS > now}
        return [action_id for action_id, asked in self.asked.items() if asked.again_at > now]

    def ask_again(self, action_id: UUID, now: float, said: str | None) -> None:
        """Note that no decision came; ``said`` is the answer that came instead of a decision."""
        self.unsure.add(action_id)
        asked = self.asked.setdefault(action_id, _Attempts())
        asked.again_at = now + _LATER_SECONDS[min(asked.times, len(_LATER_SECONDS) - 1)]
        asked.times += 1
        asked.strange = 0 if said is None else asked.strange + 1
        asked.said = said or asked.said

    def ask_all_now(self, now: float) -> None:
        """Let every action be sent again at once."""
        for asked in self.asked.values():
            asked.again_at = now

    def decided(self, action_id: UUID, *, is_recorded: bool) -> None:
        """Note that the ledger node decided on an action."""
        self.unsigned = False
        self.asked.pop(action_id, None)
        if is_recorded:
            self.unsure.discard(action_id)


class UndecidedError(RuntimeError):
    """The ledger node decided on nothing that was sent."""


class OutboxRelay(PeriodicWorker):
    """Sends what is due, in each case's order; what met no decision stays due."""

    def __init__(
        self,
        outbox: Outbox,
        vaults: Vaults,
        ledger: Ledger,
        client: LedgerClient,
        policy_at: PolicyAt,
        false_decisions: FalseDecisions,
        is_believed: Callable[[], bool],
        when_decided: Callable[[], None],
    ) -> None:
        self.reachable = True
        """Whether nothing was sent that the ledger node did not answer with a decision."""
        self._outbox = outbox
        self._vaults = vaults
        self._ledger = ledger
        self._client = client
        self._policy_at = policy_at
        self._false = false_decisions
        self._is_believed = is_believed
        self._when_decided = when_decided
        self._checking = threading.Lock()
        self._answers = _Answers()
        self._seq = 0
        """The last action that was in the outbox when this process began."""
        self._began = False
        self._senders = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="forward")
        super().__init__("forward", self._step, every=_EVERY_SECONDS, backoff=_BACKOFF)

    def copied(self) -> None:
        """Mark the actions of the outbox that have come into the copy of the ledger.

        It is called when the copy has grown.
        """
        self._outbox.confirm()
        self._check_decisions()
        self._when_decided()

    def troubles(self) -> Sequence[Trouble]:
        """Return the troubles with the answers of the ledger node."""
        strange = [a for a in list(self._answers.asked.values()) if a.strange >= _STRANGE_ANSWERS]
        outdated = [a for a in strange if a.said in _OUTDATED]
        at = self._answers.outdated_at
        if outdated or (at is not None and time.monotonic() < at + _FORGOTTEN_SECONDS):
            return (_outdated_trouble(),)
        if not strange and not self._answers.unsigned:
            return ()
        said = strange[-1].said if strange else "201, a receipt without a signature"
        message = (
            "Answers come from the ledger node's address that hold no signed decision "
            f"({said}). The actions are kept and sent again. If the ledger node runs an earlier "
            "version, update it. Otherwise look at the proxies on the way: one answers by itself, "
            "or removes the header Case-Ledger-Decision."
        )
        return (
            Trouble(
                rule="no-signed-decision",
                message=message,
                effect=Effect.WARNING,
                title="Answers that are not the ledger's",
            ),
        )

    def _step(self) -> float | None:
        """Send the actions that are due.

        Raises ``UndecidedError`` if the ledger node decided on nothing.
        """
        if not self._began:
            self._seq, self._began = self._outbox.last_seq(), True
        due = self._due()
        if not due:
            if not self.reachable:
                raise UndecidedError
            return self._pause()
        self._heard(any(list(self._senders.map(self._send, due))))
        self.copied()  # the copy may have been faster than the answer
        if not self.reachable:
            raise UndecidedError
        return 0.0

    def _close(self) -> None:
        self._senders.shutdown()

    def _pause(self) -> float:
        """Return how many seconds to wait for something to send."""
        waits = [asked.again_at for asked in list(self._answers.asked.values())]
        soonest = min(waits, default=math.inf) - time.monotonic()
        return min(_EVERY_SECONDS, max(0.05, soonest))

    def _heard(self, is_decided: bool) -> None:
        """Note whether anything that was sent was decided on."""
        if is_decided and not self.reachable:
            self._answers.ask_all_now(time.monotonic())
        self.reachable = is_decided

    def _due(self) -> list[Outgoing]:
        """Return the actions to send now, and none to a log that contradicts itself.

        While the ledger node decides nothing, one action is sent at a time, and another one each
        time.
        """
        if not self._is_believed():
            return []
        later = self._answers.later(time.monotonic())
        due = self._outbox.due(_BATCH if self.reachable else 1, _AGAIN_AFTER, later)
        if not due and not later and not self.reachable:
            # The action whose answer was lost came by the copy. No other answer would show that
            # the ledger node takes actions.
            self.reachable = True
            self._when_decided()
        return due

    def _send(self, action: Outgoing) -> bool:
        """Send one action. Returns whether the ledger node decided on it."""
        copied = self._ledger.head()
        said: str | None = None
        signed: str | None = None
        is_receipt = False
        try:
            answered = self._client.submit(action.sd_jwt, action.case_id, action.case_version)
            signed, said, is_receipt = answered.decision, "201", True
        except RefusedError as error:
            signed, problem = error.decision, error.problem
            if problem.rule == UNREADABLE or problem.status not in _OUTSIDE_REASONS:
                said = f"{problem.status} {problem.rule}"
        except WaitingError:
            said = "202"
        except httpx.RemoteProtocolError as error:
            said = str(error)
        except httpx.TransportError as error:
            _log.info("no answer", error=type(error).__name__)
        try:
            decision = None if signed is None else self._read(signed, action, copied)
        except DecisionError as error:
            decision, said = None, f"{said}: {error}"
        if decision is None:
            self._answers.unsigned = self._answers.unsigned or (is_receipt and signed is None)
            self._answers.ask_again(action.action_id, time.monotonic(), said)
            if said is not None:
                _log.warning("not passed on", why=said)
            return False
        is_recorded = isinstance(decision.statement, Recorded)
        self._outbox.mark_answered(action.action_id, decision)
        self._answers.decided(action.action_id, is_recorded=is_recorded)
        return True

    def _read(self, signed: str, action: Outgoing, copied: int) -> SignedDecision:
        """Read the decision on an action that was sent when ``copied`` events were here.

        Raises ``DecisionError`` where it is another's or on another action, and where it is older
        than the request.
        """
        decision = SignedDecision.parse(signed)
        statement = decision.statement
        if statement.action != action.action_id or not statement.is_of(action.sd_jwt):
            raise DecisionError("the decision is on another action")
        if isinstance(statement, Refused):
            if (statement.case, statement.acted_on) != (action.case_id, action.case_version):
                raise DecisionError("the decision is on another case or version of it")
            if statement.size < copied:
                raise DecisionError("the decision is older than the request")
        decision.verify(self._policy_at(statement.size))
        return decision

    def _check_decisions(self) -> None:
        """Compare each decision with the copy, if that has the events that the decision names."""
        with self._checking:
            events = LedgerEvents(self._ledger)
            for action in self._outbox.unchecked(events.size):
                if action.decision is not None:
                    self._check(action, SignedDecision.parse(action.decision), events)

    def _check(self, action: Outgoing, decision: SignedDecision, events: LedgerEvents) -> None:
        statement = decision.statement
        try:
            # The copy may have brought another policy than the one that was known before.
            decision.verify(self._policy_at(statement.size))
        except DecisionError:
            self._outbox.mark_checked(action.action_id, decision.jws)  # it is sent again
            return
        held = held_against(decision, action.sd_jwt, events)
        if held.is_outdated and action.state is not OutboxState.RECORDED:
            self._outbox.mark_checked(action.action_id, decision.jws)  # it is sent again
            self._answers.outdated_at = time.monotonic()
            return
        if held.untrue is not None:
            self._false.keep(decision, action.sd_jwt, held.untrue)
            _log.error("the ledger node signed what is not true", what=held.untrue)
        is_open = action.state is not OutboxState.RECORDED and held.position is None
        if isinstance(statement, Refused) and is_open:
            self._refused(action, statement, held)
        else:
            self._outbox.mark_checked(action.action_id, decision.jws)

    def _refused(self, action: Outgoing, statement: Refused, held: DecisionCheck) -> None:
        # In this order: what is not decided yet must keep its disclosures. Should this process
        # end in between, the sweep removes them.
        self._outbox.mark_refused(action.action_id, _problem(statement, held))
        is_sure = action.seq > self._seq and action.action_id not in self._answers.unsure
        self._answers.unsure.discard(action.action_id)
        if action.case_id is not None:
            signed = signed_action.read_recorded(action.sd_jwt)
            agency = self._ledger.adopted().agency(action.agency, clock.now())
            write_down_refused(self._vaults, agency, signed, action.case_id, statement.rule)
        # A request that met no decision may still arrive and be recorded: then the disclosures are
        # needed. The sweep removes them once no such request can be accepted any more.
        if action.deposit_id is not None and is_sure and held.untrue is None:
            self._vaults.of(action.party).withdraw(action.action_id, action.deposit_id)


def _outdated_trouble() -> Trouble:
    return Trouble(
        rule="ledger-node-outdated",
        message="The ledger node refuses an action that its program does not have yet. The action"
        " is kept, and sent again. Tell the operator of the ledger node to update it.",
        effect=Effect.WARNING,
        title="The ledger node must be updated",
    )


def _problem(statement: Refused, held: DecisionCheck) -> dict[str, Any]:
    """Return the refusal as problem details, in this program's words for the rule that was signed.

    Nothing that came with the decision and is not signed is shown to anybody.
    """
    refusal = held.refusal
    if refusal is None or refusal.rule != statement.rule:
        text = f"The ledger node refuses this action by the rule {statement.rule}."
        if held.untrue is not None:
            text += " This node's own copy of the ledger does not bear that out: tell the operator."
        refusal = Refusal(Ground.OUT_OF_PROCEDURE, statement.rule, text, statement.field)
    named = Refusal(refusal.ground, statement.rule, refusal.message, statement.field)
    return problem_of(named)
