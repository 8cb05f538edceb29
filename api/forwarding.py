"""A country's node passes on what its agencies signed, and keeps the answers."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import structlog

from api.background import Background
from api.client import LedgerClient, RefusedError
from api.disclosing import write_down_refused
from ledger import signing
from ledger.application import Ledger
from ledger.outbox import Outbox, Outgoing
from ledger.vault.disclosures import Vaults

_AT_ONCE = 8
_BATCH = 32
_AGAIN_AFTER = timedelta(seconds=10)
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_DECISIONS = frozenset({401, 403, 404, 409, 412, 413, 422, 428})
_log = structlog.get_logger(__name__)


class Forwarder(Background):
    """Sends what is due, in each case's order; what meets no answer stays due."""

    def __init__(
        self,
        outbox: Outbox,
        vaults: Vaults,
        ledger: Ledger,
        client: LedgerClient,
        is_believed: Callable[[], bool],
        when_decided: Callable[[], None],
    ) -> None:
        self.reachable = True
        """Whether the ledger node answered last time."""
        self._outbox = outbox
        self._vaults = vaults
        self._ledger = ledger
        self._client = client
        self._is_believed = is_believed
        self._when_decided = when_decided
        self._put = threading.Event()
        super().__init__(forward=self._run)

    def put(self) -> None:
        """Say that there is something to send."""
        self._put.set()

    def copied(self) -> None:
        """The copy of the ledger has grown: mark what of the outbox has come into it."""
        self._outbox.confirm()
        self._when_decided()

    def _wake(self) -> None:
        self._put.set()

    def _run(self) -> None:
        failures = 0
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="forward") as workers:
            while not self._stopping.is_set():
                try:
                    due = self._due()
                    answered = list(workers.map(self._send, due))
                    if due:
                        self.reachable = all(answered)
                        self.copied()  # the copy may have been faster than the answer
                    if due and self.reachable:
                        failures = 0
                        continue
                except Exception as error:
                    self.reachable = False
                    self._when_decided()
                    _log.warning("forwarding interrupted", error=type(error).__name__)
                if self.reachable:
                    self._put.wait(1.0)
                    self._put.clear()
                else:
                    self._stopping.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
                    failures += 1

    def _due(self) -> list[Outgoing]:
        """What is to be sent now: nothing, to a log that contradicts itself."""
        if not self._is_believed():
            return []
        return self._outbox.due(_BATCH if self.reachable else 1, _AGAIN_AFTER)

    def _send(self, action: Outgoing) -> bool:
        """Send one action. Returns whether the ledger node decided on it."""
        try:
            if action.case_id is None:
                self._client.send_to_registry(action.sd_jwt)
            else:
                self._client.send(action.sd_jwt, action.case_id, action.case_version)
        except httpx.TransportError:
            return False
        except RefusedError as error:
            problem = error.problem
            if problem.status not in _DECISIONS or problem.field == "Authorization":
                # It is this node that is refused, or nothing was decided.
                _log.warning("not passed on", status=problem.status, rule=problem.rule)
                return False
            self._refused(action, problem.model_dump(mode="json", exclude_none=True))
            return True
        self._outbox.mark_sent(action.action_id)
        return True

    def _refused(self, action: Outgoing, problem: Mapping[str, Any]) -> None:
        # In this order: what is not decided yet must keep its disclosures. Should this process
        # end in between, the sweep removes them.
        self._outbox.mark_refused(action.action_id, problem)
        if action.case_id is not None:
            signed = signing.read_recorded(action.sd_jwt)
            agency = self._ledger.adopted().agency(action.agency)
            write_down_refused(self._vaults, agency, signed, action.case_id, problem["rule"])
        if action.deposit_id is not None:
            self._vaults.of(action.party).withdraw(action.action_id, action.deposit_id)
