"""Sign actions, and record them on a case or on the protocol."""

import time
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from api.client.connection import Connection
from api.client.errors import RefusedError, WaitingError
from api.client.schemas import OutboxPage, Outcome, ProtocolDocument, Receipt
from ledger.log.signed_decision import HEADER
from ledger.signing import sd_jwt, signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action

CREATED, ACCEPTED = 201, 202
D = TypeVar("D", bound=BaseModel)
T = TypeVar("T", Receipt, Outcome)


@dataclass(frozen=True, slots=True)
class Answered:
    """A receipt, and the decision that the ledger node signed with it, where it came along."""

    receipt: Receipt
    decision: str | None
    """Not verified here: see :mod:`ledger.log.signed_decision`."""


class ActionsClient(Connection):
    """Signs an agency's actions, sends them, and asks what became of them."""

    def sign(self, action: Action, case_id: UUID | None, action_id: UUID | None = None) -> SdJwt:
        """Sign ``action`` with this agency's key."""
        return signed_action.sign(
            action,
            agency=self.agency,
            key=self._key,
            protocol=self._protocol_id(),
            case_id=case_id,
            action_id=action_id or new_id(),
        )

    def _protocol_id(self) -> str:
        if self._protocol is None:
            self._protocol = self._get("/v1/protocol", ProtocolDocument).id
        return self._protocol

    def open_case(self, action: Action, case_id: UUID | None = None) -> Receipt:
        """Open a case with its first action. Raises ``RefusedError``."""
        return self.append(action, case_id or new_id(), 0)

    def append(
        self, action: Action, case_id: UUID, case_version: int, action_id: UUID | None = None
    ) -> Receipt:
        """Sign ``action``, taken on ``case_version``, and record it. Raises ``RefusedError``."""
        return self.send(self.sign(action, case_id, action_id), case_id, case_version)

    def send(self, signed: SdJwt | str, case_id: UUID, case_version: int) -> Receipt:
        """Record an action that was signed before; the same again gives the same receipt."""
        return self.submit(signed, case_id, case_version).receipt

    def submit(self, signed: SdJwt | str, case_id: UUID | None, case_version: int) -> Answered:
        """Record a signed action, on a case or on the protocol, and return the signed receipt.

        Raises ``RefusedError``, ``WaitingError``, and ``httpx.RemoteProtocolError`` for an answer
        that is no node's: then the client cannot tell whether the action is recorded.
        """
        if case_id is None:
            return self._post("/v1/protocol/actions", signed, {})
        condition = {"If-Match": f'"{case_version}"'} if case_version else {"If-None-Match": "*"}
        return self._post(f"/v1/cases/{case_id}/actions", signed, condition)

    def append_to_registry(self, action: Action) -> Receipt:
        """Record an act on the protocol itself. Raises ``RefusedError``."""
        return self.send_to_registry(self.sign(action, None))

    def send_to_registry(self, signed: SdJwt | str) -> Receipt:
        """Record an act on the protocol that was signed before. Raises ``RefusedError``."""
        return self.submit(signed, None, 0).receipt

    def outcome(self, action_id: UUID) -> Outcome:
        """Return the outcome of an action that was handed in at this node."""
        return self._get(f"/v1/outbox/{action_id}", Outcome)

    def outbox(self) -> OutboxPage:
        """Return the actions that were handed in last at this node, with their outcomes."""
        return self._get("/v1/outbox", OutboxPage)

    def _post(self, path: str, signed: SdJwt | str, condition: dict[str, str]) -> Answered:
        headers = {"Content-Type": "application/sd-jwt", **condition}
        response = self._request("POST", path, content=str(signed), headers=headers)
        decision = response.headers.get(HEADER)
        if response.status_code == ACCEPTED:
            outcome = _answer(Outcome, response)
            return Answered(*self._await(_about(signed, outcome), decision))
        if response.status_code != CREATED:
            raise _no_node(response)
        return Answered(_about(signed, _answer(Receipt, response)), decision)

    def _await(self, outcome: Outcome, decision: str | None) -> tuple[Receipt, str | None]:
        """Ask for the outcome of an action that waits in the node's outbox, while patient."""
        deadline = time.monotonic() + self._patience
        while outcome.receipt is None:
            if outcome.problem is not None:
                raise RefusedError(outcome.problem, decision)
            if time.monotonic() > deadline:
                raise WaitingError(outcome)
            time.sleep(0.1)
            response = self._request("GET", f"/v1/outbox/{outcome.action_id}")
            outcome, decision = _answer(Outcome, response), response.headers.get(HEADER)
        return outcome.receipt, decision


def _answer(model: type[D], response: httpx.Response) -> D:
    """Read an answer to a signed action. Raises ``httpx.RemoteProtocolError`` for another's."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise _no_node(response) from None


def _about(signed: SdJwt | str, answer: T) -> T:
    """Return the answer if it is about this action.

    Raises ``httpx.RemoteProtocolError`` if the answer is about another action.
    """
    if answer.action_id != _action_id(signed):
        raise httpx.RemoteProtocolError("the answer is about another action")
    return answer


def _action_id(signed: SdJwt | str) -> UUID:
    return signed_action.read_recorded(sd_jwt.without_disclosures(str(signed))).id


def _no_node(response: httpx.Response) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(
        f"the answer ({response.status_code}) is no receipt of a node; it may be a proxy's"
    )
