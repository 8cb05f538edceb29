"""An approval: a second member's signature over an action that another member signed.

It is a JWT of its own, which follows the last ``~`` of the signed action. RFC 9901 has that place
for a key binding of the holder. It names the action by its id and by the digest of its exact signed
text, so it counts for no other action.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic import ConfigDict, Field, ValidationError

from ledger.refusals import Ground, Refusal
from ledger.signing import sd_jwt
from ledger.signing.keys import key_id
from ledger.signing.sd_jwt import SdJwtError
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.canonical import CanonicalUuid
from ledger.vocabulary.registration import KeyId
from ledger.vocabulary.types import AgencyId, UnixTime

TYPE = "action-approval+jwt"


class ApprovalHeader(LedgerModel):
    """The protected header of an approval."""

    alg: Literal["Ed25519"]
    typ: Literal["action-approval+jwt"]
    kid: KeyId


class ApprovalClaims(LedgerModel):
    """The payload that the member who approves signs, in canonical form."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    iss: AgencyId
    iat: UnixTime
    protocol: str
    action: CanonicalUuid
    """The id of the action."""
    sd_hash: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    """The digest of the action as its author signed it: see :func:`digest_of`."""


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval as signed."""

    jwt: str
    agency: str
    key_id: str
    signed_at: datetime
    protocol: str
    action: UUID
    digest: str


def digest_of(signed: str) -> str:
    """Return the base64url SHA-256 of a signed action's JWT and the ``~`` that follows it.

    ``signed`` may have disclosures and an approval, which the digest leaves out: the JWT has the
    digest of each disclosure.
    """
    bare = f"{signed.partition('~')[0]}~"
    return urlsafe_b64encode(hashlib.sha256(bare.encode("ascii")).digest()).decode("ascii")


def sign(
    signed: str,
    *,
    agency: str,
    key: OKPKey,
    signed_at: datetime | None = None,
) -> str:
    """Approve a signed action, with its disclosures or without, and return the approval.

    Raises ``Refusal`` (``malformed-sd-jwt``) if the text is no signed action.
    """
    try:
        parsed = sd_jwt.parse(signed, may_be_approved=True)
        claims = ApprovalClaims.model_validate(
            {
                "iss": agency,
                "iat": int((signed_at or datetime.now(UTC)).timestamp()),
                "protocol": parsed.payload.get("protocol"),
                "action": parsed.payload.get("jti"),
                "sd_hash": digest_of(signed),
            }
        )
    except (SdJwtError, ValidationError) as error:
        raise Refusal(
            Ground.INVALID, "malformed-sd-jwt", "This is no signed action that can be approved."
        ) from error
    header = {"typ": TYPE, "kid": key_id(key)}
    return sd_jwt.issue(header, claims.model_dump(mode="json"), (), key).jwt


def approved(signed: str, approval: str) -> str:
    """Return a signed action, with its disclosures if it has any, with an approval."""
    return f"{signed.rpartition('~')[0]}~{approval}"


def read(text: str) -> Approval:
    """Read an approval, which must be in canonical form. Its signature is not checked here.

    Raises ``Refusal`` (``approval-malformed``).
    """
    try:
        parsed = sd_jwt.parse(f"{text}~")
        header = ApprovalHeader.model_validate(dict(parsed.header))
        claims = ApprovalClaims.model_validate(parsed.payload)
    except (SdJwtError, ValidationError) as error:
        raise Refusal(
            Ground.INVALID,
            "approval-malformed",
            "The approval is not in its one form; let the colleague approve the action again.",
            "approval",
        ) from error
    if parsed.disclosures:
        raise Refusal(
            Ground.INVALID, "approval-malformed", "An approval discloses nothing.", "approval"
        )
    return Approval(
        jwt=text,
        agency=claims.iss,
        key_id=header.kid,
        signed_at=datetime.fromtimestamp(claims.iat, UTC),
        protocol=claims.protocol,
        action=claims.action,
        digest=claims.sd_hash,
    )


def verifies(approval: Approval, key: OKPKey) -> bool:
    """Return whether the signature of an approval holds."""
    try:
        return sd_jwt.verifies(approval.jwt, key)
    except SdJwtError:
        return False
