"""The signed decisions that a node gives with its receipts and refusals.

The ledger node signs them with the log's key, outside of every lock. A country's node hands on
those that the ledger node gave. They travel in the header ``Case-Ledger-Decision``.
"""

import base64
import time
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from api.client.schemas import Outcome, Receipt
from ledger.application import Ledger
from ledger.log import signed_decision
from ledger.log.note import SignerKey
from ledger.log.policy import Policy
from ledger.log.signed_decision import MAX_FIELD, Refused, Statement
from ledger.procedure.registry import policy_in_force
from ledger.refusals import Refusal
from ledger.replication.outbox import Outbox
from ledger.signing import sd_jwt
from ledger.signing.signed_action import SignedAction

_REGISTRY_SECONDS = 1.0


class DecidedRefusal(Refusal):
    """A refusal by the ledger's rules, with the decision that the ledger node signed."""

    def __init__(self, refusal: Refusal, signed: str) -> None:
        super().__init__(refusal.ground, refusal.rule, refusal.message, refusal.field)
        self.signed = signed


class Decisions(Protocol):
    """The source of a node's decisions."""

    def of(self, sent: str, recorded: Receipt | Outcome) -> str | None:
        """Return the signed decision on a signed action, or ``None`` if there is none."""


class ForwardedDecisions:
    """A country's node has the decisions that the ledger node answered with."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def of(self, sent: str, recorded: Receipt | Outcome) -> str | None:  # noqa: ARG002
        if isinstance(recorded, Outcome) and recorded.receipt is None and recorded.problem is None:
            return None
        found = self._outbox.get(recorded.action_id)
        return None if found is None else found.decision


class SignedDecisions:
    """The ledger node signs its decisions, with the log key that the policy in force names."""

    def __init__(self, ledger: Ledger, signers: Iterable[SignerKey], trusted: Policy) -> None:
        """Prepare the signing of decisions.

        ``trusted`` is the policy in force until the ledger records another.
        """
        self._ledger = ledger
        self._signers = signers
        self._trusted = trusted
        self._read_at: float | None = None
        """When this process read the registry last for a decision, by ``time.monotonic()``."""

    def of(self, sent: str, recorded: Receipt | Outcome) -> str | None:
        receipt = recorded if isinstance(recorded, Receipt) else recorded.receipt
        if receipt is None or (signer := self._signer(receipt.position)) is None:
            return None
        bare = sd_jwt.without_disclosures(sent)
        return signed_decision.sign(
            signed_decision.recorded(
                signer.name,
                receipt.action_id,
                signed_decision.action_digest(bare),
                receipt.position,
                receipt.recorded_at,
                base64.b64decode(receipt.leaf_hash),
            ),
            signer,
        )

    def refusal(
        self, action: SignedAction, case_id: UUID | None, case_version: int
    ) -> DecidedRefusal | None:
        """Decide again on a refused action, and sign why it is refused.

        Returns ``None`` where the action is recorded or would be accepted by now, and where no log
        key of this node is in the policy in force.
        """
        found = self._ledger.refused_at(action, case_id, case_version)
        if found is None or (signer := self._signer(found.size)) is None:
            return None
        statement: Statement = Refused(
            iss=signer.name,
            action=action.id,
            digest=signed_decision.action_digest(action.sd_jwt),
            case=case_id,
            acted_on=case_version,
            rule=found.refusal.rule,
            field=found.refusal.field and found.refusal.field[:MAX_FIELD],
            size=found.size,
            decided_at=found.at,
        )
        return DecidedRefusal(found.refusal, signed_decision.sign(statement, signer))

    def _signer(self, size: int) -> SignerKey | None:
        """Return the key to sign a decision with that is of a ledger of ``size`` events.

        An append has read the registry just before it. An action that was recorded before needs no
        registry to find its receipt, so the registry is read once a second besides.
        """
        now = time.monotonic()
        registry = self._ledger.known_registry
        if registry is None or self._read_at is None or now - self._read_at > _REGISTRY_SECONDS:
            registry, self._read_at = self._ledger.registry(), now
        accepted = policy_in_force(registry, size, self._trusted).logs
        return next((signer for signer in self._signers if signer.verifier in accepted), None)
