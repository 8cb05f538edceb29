"""Who is asking: short-lived JWT assertions (RFC 7519, after RFC 7523) by an agency's key."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger import sd_jwt
from ledger.keys import key_id
from ledger.protocol import Agency
from ledger.refusals import Ground, Refusal
from ledger.registry import Registry
from ledger.sd_jwt import SdJwtError
from ledger.store.database import Database
from ledger.vocabulary.registration import KeyId
from ledger.vocabulary.types import AgencyId, UnixTime

TYPE = "agency-assertion+jwt"  # explicit typing, RFC 8725 section 3.11
LIFETIME = timedelta(minutes=1)
MAX_LIFETIME = timedelta(minutes=5)
CLOCK_SKEW = timedelta(seconds=30)
_MAX_BYTES = 4096
_JWS = JWSRegistry(algorithms=["Ed25519"])


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    alg: Literal["Ed25519"]
    typ: Literal["agency-assertion+jwt"]
    kid: KeyId


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    iss: AgencyId
    aud: Annotated[str, Field(max_length=200)]
    iat: UnixTime
    exp: UnixTime
    jti: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


def make_assertion(agency: str, key: OKPKey, audience: str, now: datetime | None = None) -> str:
    """A new assertion, good for one request within a minute."""
    issued = now or datetime.now(UTC)
    claims: dict[str, Any] = {
        "iss": agency,
        "aud": audience,
        "iat": int(issued.timestamp()),
        "exp": int((issued + LIFETIME).timestamp()),
        "jti": str(uuid4()),
    }
    header = {"alg": "Ed25519", "typ": TYPE, "kid": key_id(key)}
    return jwt.encode(header, claims, key, registry=_JWS)


class Assertions:
    """Verifies assertions, each once."""

    def __init__(self, database: Database, audience: str) -> None:
        self._database = database
        self._audience = audience

    def authenticate(self, token: str, registry: Registry) -> tuple[Agency, str]:
        """Who made this assertion, and the id of the key. Raises ``Refusal`` (unauthentic)."""
        now = datetime.now(UTC)
        header, claims = _read(token)
        try:
            key = registry.signing_key(header.kid, claims.iss, now)
        except Refusal as refusal:
            raise _refused(refusal.rule, refusal.message) from None
        try:
            jwt.decode(token, key, registry=_JWS)
        except JoseError:
            raise _refused("assertion-signature", "The signature does not verify.") from None
        self._check_claims(claims, now)
        self._use(claims)
        agency = registry.protocol.agencies_by_id.get(claims.iss)
        if agency is None:
            raise _refused("unknown-agency", "This is no agency of the protocol.")
        return agency, header.kid

    def _check_claims(self, claims: _Claims, now: datetime) -> None:
        if claims.aud != self._audience:
            raise _refused("assertion-audience", "The assertion is meant for another ledger.")
        issued = datetime.fromtimestamp(claims.iat, UTC)
        expires = datetime.fromtimestamp(claims.exp, UTC)
        if expires <= now - CLOCK_SKEW:
            raise _refused("assertion-expired", "The assertion has expired; make a new one.")
        if issued > now + CLOCK_SKEW:
            raise _refused("assertion-early", "The assertion was issued in the future.")
        if not timedelta() < expires - issued <= MAX_LIFETIME:
            raise _refused(
                "assertion-lifetime",
                f"An assertion lives at most {int(MAX_LIFETIME.total_seconds())} seconds.",
            )

    def _use(self, claims: _Claims) -> None:
        # Kept for as long as the assertion could be accepted, with the skew on both sides.
        until = datetime.fromtimestamp(claims.exp, UTC) + 2 * CLOCK_SKEW
        with self._database.connection() as connection:
            used = connection.execute(
                "INSERT INTO access.used_assertions (agency, jti, expires_at)"
                " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (claims.iss, claims.jti, until),
                prepare=True,
            ).rowcount
        if used == 0:
            raise _refused("assertion-replayed", "This assertion was used; make a new one.")

    def forget_expired(self) -> int:
        """Remove what can no longer be replayed. Returns how many."""
        with self._database.connection() as connection:
            return connection.execute(
                "DELETE FROM access.used_assertions WHERE expires_at < now()"
            ).rowcount


def _read(token: str) -> tuple[_Header, _Claims]:
    if len(token) > _MAX_BYTES:
        raise _refused("assertion-malformed", "The assertion is too long.")
    try:
        parsed = sd_jwt.parse(f"{token}~")  # JSON and base64url in their one reading alone
        if parsed.disclosures:
            raise SdJwtError("an assertion discloses nothing")
        return _Header.model_validate(parsed.header), _Claims.model_validate(parsed.payload)
    except ValidationError as error:
        known = {*_Header.model_fields, *_Claims.model_fields}
        wrong = sorted({str(part) for e in error.errors() for part in e["loc"]} & known)
        named = ", ".join(wrong) or "a name that has no place here"
        raise _refused("assertion-malformed", f"Wrong or missing: {named}.") from None
    except SdJwtError:
        raise _refused("assertion-malformed", "It is no JWT (RFC 7519).") from None


def _refused(rule: str, message: str) -> Refusal:
    return Refusal(Ground.UNAUTHENTIC, rule, message, "Authorization")
