"""The ledger node's decision on an action, signed with the log's key: a receipt or a refusal.

A decision is a compact JWS (RFC 7515) with a type of its own. The bytes that are signed have no
line end and the text of a checkpoint ends in one, so that neither can be taken for the other. The
decision names the action's id, the digest of the exact signed bytes, and:

- of a recorded action its position, its time of recording and its leaf hash (RFC 6962);
- of a refused one the rule, the field, the case version that the agency acted on, and how many
  events the ledger had when the action was refused.

So anybody who has the recorded policies and the events up to that size can say whether the
decision is true (:mod:`ledger.replication.false_decisions`).
"""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from ledger.events.event_bytes import seal
from ledger.log.merkle import leaf_hash
from ledger.log.note import SignerKey, VerifierKey
from ledger.log.policy import Policy
from ledger.signing import sd_jwt
from ledger.signing.sd_jwt import SdJwtError
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.canonical import CanonicalUuid
from ledger.vocabulary.types import UtcDatetime

TYPE = "case-ledger-decision+jwt"
HEADER = "Case-Ledger-Decision"
"""The header of an answer in which a decision travels."""
MAX_CHARACTERS = 4096
MAX_FIELD = 200
_MAX_FILE_CHARACTERS = 100_000
_Digest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
_Position = Annotated[int, Field(ge=1, le=2**53, strict=True)]


class DecisionError(ValueError):
    """The text is no decision, or no key that is trusted signed it."""


class _Statement(LedgerModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    iss: Annotated[str, Field(min_length=1, max_length=500)]
    """The origin of the log, as in its checkpoints."""
    action: CanonicalUuid
    digest: _Digest
    """SHA-256 of the signed action without disclosures, base64url."""

    def is_of(self, sd_jwt: str) -> bool:
        """Return whether the decision is on these signed bytes, given without disclosures."""
        return self.digest == action_digest(sd_jwt)


class Recorded(_Statement):
    """The action is an event of the ledger."""

    outcome: Literal["recorded"] = "recorded"
    position: _Position
    recorded_at: UtcDatetime
    leaf_hash: _Digest
    """RFC 6962 leaf hash of the event, base64url."""

    @property
    def size(self) -> int:
        """Return the size of the smallest ledger that has the event."""
        return self.position

    def is_consistent(self, sd_jwt: str) -> bool:
        """Return whether the leaf hash is the hash of the action at that time of recording."""
        return self.leaf_hash == _base64(leaf_hash(seal(sd_jwt, self.recorded_at)))


class Refused(_Statement):
    """The action was not recorded among the first ``size`` events, and ``rule`` refused it then."""

    outcome: Literal["refused"] = "refused"
    case: CanonicalUuid | None = None
    """``None`` for an act on the protocol."""
    acted_on: Annotated[int, Field(ge=0, le=2**53, strict=True)]
    """The case version that the agency acted on."""
    rule: Annotated[str, Field(min_length=1, max_length=300)]
    field: Annotated[str, Field(max_length=MAX_FIELD)] | None = None
    size: Annotated[int, Field(ge=0, le=2**53, strict=True)]
    decided_at: UtcDatetime
    """The time by which the rules decided: by the ledger node's clock."""


Statement = Recorded | Refused
_STATEMENT: TypeAdapter[Statement] = TypeAdapter(
    Annotated[Statement, Field(discriminator="outcome")]
)


@dataclass(frozen=True, slots=True)
class SignedDecision:
    """A decision as it reads. Reading verifies nothing; see :meth:`verify`."""

    jws: str
    key_id: str
    statement: Statement

    @classmethod
    def parse(cls, jws: str) -> Self:
        """Read a decision.

        Raises ``DecisionError`` if the text is no decision.
        """
        if len(jws) > MAX_CHARACTERS:
            raise DecisionError(f"a decision has at most {MAX_CHARACTERS} characters")
        try:
            parsed = sd_jwt.parse(f"{jws}~")
            if parsed.disclosures or parsed.jwt != jws:
                raise DecisionError("a decision is one compact JWS")
            header = dict(parsed.header)
            key_id = header.pop("kid", None)
            if header != {"alg": sd_jwt.ALGORITHM, "typ": TYPE} or not isinstance(key_id, str):
                raise DecisionError(f"a decision has the type {TYPE}")
            return cls(jws, key_id, _STATEMENT.validate_python(dict(parsed.payload)))
        except SdJwtError as error:
            raise DecisionError(f"this is no decision: it {error}") from error
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            raise DecisionError(f"the decision does not hold: {fields}") from None

    def verify(self, policy: Policy) -> None:
        """Check that a log key of ``policy`` signed the decision, under the log's name.

        ``policy`` is the one in force at the statement's size. Raises ``DecisionError`` if no such
        key signed the decision.
        """
        for key in policy.logs:
            if key.name == self.statement.iss and key_name(key) == self.key_id:
                self._verify(key)
                return
        raise DecisionError(
            f"no log key of the policy in force at size {self.statement.size} signed the decision"
        )

    def _verify(self, key: VerifierKey) -> None:
        signed, _, signature = self.jws.rpartition(".")
        padded = signature + "=" * (-len(signature) % 4)
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(
                base64.urlsafe_b64decode(padded), signed.encode("ascii")
            )
        except (InvalidSignature, ValueError):
            raise DecisionError("the signature of the decision does not verify") from None


class DecisionFile(LedgerModel):
    """A decision with its action: all that a third party needs beside the ledger.

    It holds no personal data: the action is as it is recorded, without its disclosures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+~([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2})?$", max_length=70_000
    )
    decision: str = Field(max_length=4096)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a file.

        Raises ``DecisionError`` if it is no decision file.
        """
        if len(text) > _MAX_FILE_CHARACTERS:
            raise DecisionError(f"a decision's file has at most {_MAX_FILE_CHARACTERS} characters")
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise DecisionError("this is no file with an action and a decision on it") from None


def sign(statement: Statement, signer: SignerKey) -> str:
    """Sign a statement with the log's key, as a compact JWS."""
    header = {"alg": sd_jwt.ALGORITHM, "typ": TYPE, "kid": key_name(signer.verifier)}
    payload = statement.model_dump_json(exclude_none=True).encode()
    signed = f"{_base64(to_json(header))}.{_base64(payload)}"
    return f"{signed}.{_base64(signer.private.sign(signed.encode('ascii')))}"


def recorded(
    origin: str, action_id: UUID, digest: str, position: int, at: Any, leaf: bytes
) -> Recorded:
    """State that an action is the event at ``position``, recorded ``at`` a time."""
    return Recorded(
        iss=origin,
        action=action_id,
        digest=digest,
        position=position,
        recorded_at=at,
        leaf_hash=_base64(leaf),
    )


def action_digest(sd_jwt: str) -> str:
    """Return the digest of a signed action, which is given without disclosures."""
    return _base64(sha256(sd_jwt.encode("ascii")).digest())


def key_name(key: VerifierKey) -> str:
    """Return how a decision names the key: as a verifier key without its key material."""
    return f"{key.name}+{key.key_id.hex()}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
