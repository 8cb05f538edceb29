"""ID tokens (OpenID Connect Core 1.0): who signed in, for which agency, and by what factors."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.refusals import Ground, Refusal

ALGORITHMS = ("RS256", "ES256", "Ed25519", "EdDSA")
"""The algorithms of an ID token's signature: never ``none``, nor one with a shared secret."""
CLOCK_SKEW = timedelta(seconds=30)
MAX_AGE = timedelta(minutes=10)
_MAX_BYTES = 16 * 1024
_JWS = JWSRegistry(algorithms=list(ALGORITHMS))
_KINDS_OF_FACTOR: Mapping[str, frozenset[str]] = {
    "knowledge": frozenset({"pwd", "pin", "kba"}),
    "possession": frozenset({"otp", "hwk", "swk", "sc", "pop", "sms", "tel"}),
    "inherence": frozenset({"face", "fpt", "iris", "retina", "vbm"}),
}
"""RFC 8176 section 2, by what each shows."""
_KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "Ed25519": "OKP", "EdDSA": "OKP"}
ProviderKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class Expected:
    """The values of this node's request to the provider, which a token must repeat."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None
    agency_claim: str
    acr: str | None


@dataclass(frozen=True, slots=True)
class SignedInPerson:
    """A signed-in person: a pseudonym, and the agency that the provider names."""

    person: str
    agency: str


class UnknownKeyError(Exception):
    """None of the provider's keys that are known here fits the token."""


class _IdTokenClaims(BaseModel):
    # A provider puts more into its tokens, names and addresses among it; it is not read.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    iss: str
    sub: Annotated[str, Field(min_length=1, max_length=255)]
    aud: str | list[str]
    exp: int
    iat: int
    nonce: str
    azp: str | None = None
    acr: str | None = None
    amr: list[str] = []
    at_hash: str | None = None


def provider_keys(document: Mapping[str, Any]) -> Sequence[ProviderKey]:
    """Return the signature keys of a JWK set (RFC 7517 section 5), without unusable keys."""
    listed = document.get("keys")
    keys: list[ProviderKey] = []
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(each)
        except (JoseError, ValueError, TypeError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            keys.append(key)
    return keys


def verify(
    token: str, keys: Sequence[ProviderKey], expected: Expected, now: datetime
) -> SignedInPerson:
    """Return the person whom an ID token identifies (OpenID Connect Core 1.0 section 3.1.3.7).

    Raises ``UnknownKeyError`` if no key has the token's key id, and ``Refusal``: ``id-token`` if
    the token does not hold, ``second-factor`` if the token proves none, ``sign-in-agency`` if the
    token names no agency.
    """
    key = _key_for(token, keys)
    try:
        decoded = jwt.decode(token, key, registry=_JWS)
    except JoseError:
        raise _refused("Its signature does not verify.") from None
    claims = _checked(decoded, expected, now)
    if not proves_second_factor(claims.acr, claims.amr, expected.acr):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "second-factor",
            "The provider does not say that a second factor was used; sign in with one.",
        )
    agency = decoded.claims.get(expected.agency_claim)
    if not isinstance(agency, str):
        raise Refusal(
            Ground.NOT_ALLOWED, "sign-in-agency", "The provider names no agency for this person."
        )
    return SignedInPerson(pseudonym(claims.iss, claims.sub), agency)


def proves_second_factor(acr: str | None, amr: Sequence[str], asked: str | None) -> bool:
    """Return whether a token says that two factors were used.

    The proof is either the context class that was asked for (``acr``), or the methods (``amr``, RFC
    8176): ``mfa``, or methods of two kinds, such as a password and a one-time password.
    """
    if asked is not None and acr is not None and acr in asked.split():
        return True
    kinds = {kind for kind, methods in _KINDS_OF_FACTOR.items() if methods.intersection(amr)}
    return "mfa" in amr or len(kinds) >= 2


def pseudonym(issuer: str, subject: str) -> str:
    """Return a person's stable pseudonym: a hash of the issuer and the subject."""
    digest = hashlib.sha256(f"{issuer}\n{subject}".encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key_for(token: str, keys: Sequence[ProviderKey]) -> ProviderKey:
    try:
        if len(token) > _MAX_BYTES:
            raise ValueError
        header = jws.extract_compact(token.encode("ascii"), registry=_JWS).headers()
    except (JoseError, ValueError):
        raise _refused("It is no signed JWT (RFC 7519).") from None
    # The algorithm is settled before any key is: no key is tried for what it is not.
    needed = _KEY_TYPES.get(str(header.get("alg")))
    if needed is None:
        raise _refused("It is signed with another algorithm than is accepted.")
    kid = header.get("kid")
    fitting = [k for k in keys if k.key_type == needed and (kid is None or k.kid == kid)]
    if len(fitting) != 1:
        raise UnknownKeyError
    return fitting[0]


def _checked(token: jwt.Token, expected: Expected, now: datetime) -> _IdTokenClaims:
    try:
        claims = _IdTokenClaims.model_validate(token.claims)
    except ValidationError as error:
        wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
        raise _refused(f"Wrong or missing: {', '.join(sorted(wrong))}.") from None
    id_token = CodeIDToken(
        token.claims,
        token.header,
        {
            "iss": {"essential": True, "value": expected.issuer},
            "aud": {"essential": True, "value": expected.client_id},
        },
        {
            "nonce": expected.nonce,
            "client_id": expected.client_id,
            "access_token": expected.access_token,
        },
    )
    moment = int(now.timestamp())
    try:
        id_token.validate(moment, int(CLOCK_SKEW.total_seconds()))
    except JoseError as error:
        # The error's own text may repeat the claim; which one it is says enough.
        named = getattr(error, "claim", None) or type(error).__name__
        raise _refused(f"This claim does not hold: {named}.") from None
    if claims.iat < moment - int((MAX_AGE + CLOCK_SKEW).total_seconds()):
        raise _refused("This claim does not hold: iat.")
    return claims


def _refused(message: str) -> Refusal:
    return Refusal(Ground.UNAUTHENTIC, "id-token", f"The ID token is not accepted. {message}")
