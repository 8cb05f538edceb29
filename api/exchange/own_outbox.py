"""Records what waits in a ledger node's own outbox, from the time when it was a country's node.

A country's node that takes the ledger over may have actions in its outbox that the lost ledger node
never decided on. Nobody else passes them on: this node decides on them itself.
"""

from datetime import timedelta

from api.services.append_service import AppendService
from api.services.personal_data_access import write_down_refused
from api.services.refusal_problem import problem_of
from ledger.application import Ledger
from ledger.refusals import Refusal
from ledger.replication.outbox import Outbox, Outgoing
from ledger.signing import signed_action
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import NothingMoreToDo, PeriodicWorker
from ledger.vault.vault import Vaults

_AT_ONCE = 32
_NOW = timedelta()


class OwnOutbox(PeriodicWorker):
    """One thread, which ends once every action in the outbox is decided on."""

    def __init__(
        self, outbox: Outbox, ledger: Ledger, vaults: Vaults, append_service: AppendService
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._vaults = vaults
        self._append_service = append_service
        # A problem that says that nothing is recorded now is a failure like others.
        super().__init__("own_outbox", self._step, every=0.0, backoff=Backoff(0.2, 2.0))

    def _step(self) -> None:
        if not self.step():
            raise NothingMoreToDo

    def step(self) -> bool:
        """Decide on some actions, each case's in order. Returns whether any wait."""
        self._outbox.confirm()
        due = self._outbox.due(_AT_ONCE, _NOW)
        for action in due:
            self._decide(action)
        self._outbox.confirm()
        return bool(due)

    def _decide(self, waiting: Outgoing) -> None:
        action = signed_action.read(signed_action.parse(waiting.sd_jwt))
        agency = self._ledger.adopted().agency(waiting.agency, clock.now())
        try:
            self._append_service.of_node(agency, action, waiting.case_id, waiting.case_version)
        except Refusal as refusal:
            # In the order of the forwarder: what is not decided yet must keep its disclosures.
            self._outbox.mark_refused(waiting.action_id, problem_of(refusal))
            if waiting.case_id is not None:
                write_down_refused(self._vaults, agency, action, waiting.case_id, refusal.rule)
            if waiting.deposit_id is not None:
                self._vaults.of(waiting.party).withdraw(action.id, waiting.deposit_id)
