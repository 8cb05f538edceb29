"""Acknowledgements: a receiving country's node signs one on a parcel, for the sending country.

An acknowledgement is a compact JWS (RFC 7515, https://www.rfc-editor.org/rfc/rfc7515) by the key of
the receiving country's node. It names the parcel, the SHA-256 of the bytes that arrived, and the
outcome. The mailbox passes it on. The sender verifies it with the key that the registry holds, so
that the operator of the mailbox cannot claim that a parcel arrived.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Self
from uuid import UUID

from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.procedure.protocol import NODE
from ledger.procedure.registry import Registry
from ledger.refusals import Ground, Refusal
from ledger.signing import sd_jwt
from ledger.signing.keys import key_id
from ledger.signing.sd_jwt import SdJwtError
from ledger.vault.sealed_parcels import Parcel
from ledger.vocabulary.types import Country, UnixTime

TYPE = "parcel-acknowledgement+jwt"
MAX_BYTES = 4096


class ParcelOutcome(StrEnum):
    """The receiver's answer to a parcel."""

    TAKEN_IN = "taken_in"
    """The vault has what it holds."""
    ERASED = "erased"
    """The receiver erased this person's data, or the action is annulled: nothing is taken in."""
    DAMAGED = "damaged"
    """It did not open. The sender sends it again."""
    NOT_UNDERSTOOD = "not_understood"
    """It is of a kind that the receiver's program does not have. The sender tries again later."""
    NOT_BELIEVED = "not_believed"
    """It contradicts the ledger or the protocol. ``reason`` names the rule."""


class Acknowledgement(BaseModel):
    """The claims of an acknowledgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Annotated[str, Field(max_length=200)]
    parcel: UUID
    sender: Country
    recipient: Country
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the sealed bytes that arrived, in hexadecimal."""
    outcome: ParcelOutcome
    reason: Annotated[str, Field(pattern="^[a-z-]{1,60}$")] | None = None
    iat: UnixTime

    @classmethod
    def of(
        cls,
        parcel: Parcel,
        outcome: ParcelOutcome,
        reason: str | None,
        *,
        protocol: str,
        at: datetime,
    ) -> Self:
        """Return the acknowledgement to sign for ``parcel`` as it arrived."""
        return cls(
            protocol=protocol,
            parcel=parcel.id,
            sender=parcel.sender,
            recipient=parcel.recipient,
            digest=digest_of(parcel).hex(),
            outcome=outcome,
            reason=reason,
            iat=int(at.timestamp()),
        )


@dataclass(frozen=True, slots=True)
class Signed:
    """An acknowledgement with its text."""

    content: Acknowledgement
    text: str


def digest_of(parcel: Parcel) -> bytes:
    """Return the SHA-256 of a parcel's sealed bytes."""
    return sha256(parcel.sealed).digest()


def sign(content: Acknowledgement, key: OKPKey) -> Signed:
    """Sign an acknowledgement with the key of the receiving country's node."""
    header = {"typ": TYPE, "kid": key_id(key)}
    claims = content.model_dump(mode="json", exclude_none=True)
    return Signed(content, sd_jwt.issue(header, claims, (), key).jwt)


def unsigned(content: Acknowledgement) -> Signed:
    """Return an acknowledgement between two countries whose node is one process.

    Such a process need not prove anything to itself. No other process accepts this text.
    """
    return Signed(content, content.model_dump_json(exclude_none=True))


def read_unsigned(text: str) -> Acknowledgement:
    """Read an acknowledgement that :func:`unsigned` wrote.

    Raises ``Refusal`` (``acknowledgement``) if the text is none.
    """
    try:
        return Acknowledgement.model_validate_json(text)
    except ValidationError as error:
        raise not_accepted("it is malformed") from error


def verify(text: str, registry: Registry, at: datetime) -> Signed:
    """Read an acknowledgement that a registered key of the recipient's node signed.

    Raises ``Refusal`` (``acknowledgement``) for every other text.
    """
    try:
        if len(text) > MAX_BYTES:
            raise SdJwtError("it is too long")
        parsed = sd_jwt.parse(f"{text}~")
        if parsed.disclosures:
            raise SdJwtError("it has disclosures")
        content = Acknowledgement.model_validate(dict(parsed.payload))
    except SdJwtError as error:
        raise not_accepted(str(error)) from error
    except ValidationError as error:
        raise not_accepted("its claims are malformed") from error
    kid: Any = parsed.header.get("kid")
    if dict(parsed.header) != {"alg": sd_jwt.ALGORITHM, "typ": TYPE, "kid": kid}:
        raise not_accepted("its header is of something else")
    if content.protocol != registry.protocol_id:
        raise not_accepted("it is of another protocol")
    registered = registry.keys.get(kid) if isinstance(kid, str) else None
    agency = (
        registry.protocol_today(at).agencies_by_id.get(registered.agency) if registered else None
    )
    if registered is None or agency is None:
        raise not_accepted("its key is not registered")
    if agency.role != NODE or agency.party != content.recipient:
        raise not_accepted("its key is not of the recipient's node")
    try:
        sd_jwt.verify(parsed, registry.signing_key(registered.id, agency.id, at))
    except (Refusal, SdJwtError) as error:
        raise not_accepted(
            "its key does not count now, or the signature does not verify"
        ) from error
    return Signed(content, text)


def not_accepted(why: str) -> Refusal:
    """Return the refusal of an acknowledgement."""
    return Refusal(Ground.INVALID, "acknowledgement", f"The acknowledgement is refused: {why}.")
