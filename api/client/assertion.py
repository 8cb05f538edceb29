"""Make an assertion: a JWT by which an agency says who asks (RFC 7519, after RFC 7523)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from ledger.signing.keys import key_id

TYPE = "agency-assertion+jwt"
"""The explicit type of the token (RFC 8725, section 3.11)."""
LIFETIME = timedelta(minutes=1)
_JWS = JWSRegistry(algorithms=["Ed25519"])


def make_assertion(agency: str, key: OKPKey, audience: str, now: datetime | None = None) -> str:
    """Return a new assertion, which is good for one request within a minute."""
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
