"""Proof that an agency holds the private half of a key that is to be registered for it.

The proof is a compact JWS (RFC 7515, https://www.rfc-editor.org/rfc/rfc7515) that the new key
signs. It names the protocol and the agency, so that it holds for no other registration. Without
it, a coordinator could register the key of another agency, or a key that nobody holds.
"""

from datetime import datetime

from joserfc.jwk import OKPKey

from ledger.refusals import Ground, Refusal
from ledger.signing import sd_jwt
from ledger.signing.keys import from_public, key_id, public_part
from ledger.signing.sd_jwt import SdJwtError
from ledger.vocabulary.registration import KeyGrant, KeyRequest

TYPE = "key-possession+jwt"


def request_of(key: OKPKey, *, protocol: str, agency: str) -> KeyRequest:
    """Return an agency's request to its coordinator: its public key, with the proof."""
    return KeyRequest(
        agency=agency, key=public_part(key), proof=proof_of(key, protocol=protocol, agency=agency)
    )


def grant_of(request: KeyRequest, *, valid_from: datetime, valid_until: datetime) -> KeyGrant:
    """Return the grant that a coordinator signs for a request."""
    return KeyGrant(
        agency=request.agency,
        key=request.key,
        valid_from=valid_from,
        valid_until=valid_until,
        proof=request.proof,
    )


def proof_of(key: OKPKey, *, protocol: str, agency: str) -> str:
    """Sign the proof for a key of ``agency`` in ``protocol``."""
    header = {"typ": TYPE, "kid": key_id(key)}
    return sd_jwt.issue(header, {"protocol": protocol, "agency": agency}, (), key).jwt


def check_proof(grant: KeyGrant, protocol: str, field: str) -> None:
    """Check the proof of a grant.

    Raises ``Refusal`` (``proof-missing``) if there is none, and (``proof``) if it was not signed
    with the key, for this agency, in this protocol.
    """
    if grant.proof is None:
        raise Refusal(
            Ground.INVALID,
            "proof-missing",
            "A registration needs a proof that the agency holds the key: register the whole text"
            " that `case-ledger keys public` or the page of sign-in shows, not the key alone.",
            f"{field}.proof",
        )
    key = from_public(grant.key)
    try:
        parsed = sd_jwt.parse(f"{grant.proof}~")
        sd_jwt.verify(parsed, key)
    except SdJwtError as error:
        raise _does_not_hold(f"it {error}", field) from error
    if dict(parsed.header) != {"alg": sd_jwt.ALGORITHM, "typ": TYPE, "kid": key_id(key)}:
        raise _does_not_hold("its header is of something else", field)
    if dict(parsed.payload) != {"protocol": protocol, "agency": grant.agency}:
        raise _does_not_hold("it was signed for another agency or protocol", field)


def _does_not_hold(why: str, field: str) -> Refusal:
    return Refusal(
        Ground.INVALID,
        "proof",
        f"The proof that the agency holds the key is refused: {why}.",
        f"{field}.proof",
    )
