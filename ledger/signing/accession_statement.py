"""The statement by which a joining party accepts the text that makes it a party.

The party signs no event before that text is in force: no key of it is registered. So its
coordinator signs a statement apart, a compact JWS (RFC 7515,
https://www.rfc-editor.org/rfc/rfc7515), with the key that the text names. The statement names the
protocol, the proposal, the text's digest and the party, so that it holds for nothing else.
"""

from collections.abc import Iterable
from uuid import UUID

from joserfc.jwk import OKPKey

from ledger.refusals import Ground, Refusal
from ledger.signing import sd_jwt
from ledger.signing.keys import from_public, key_id
from ledger.signing.sd_jwt import SdJwtError
from ledger.vocabulary.registration import KeyGrant

TYPE = "accession-statement+jwt"


def sign_statement(
    key: OKPKey, *, protocol: str, proposal: UUID, digest: str, party: str, agency: str
) -> str:
    """Sign the acceptance of a proposed text for ``party``, as its coordinator ``agency``."""
    header = {"typ": TYPE, "kid": key_id(key)}
    payload = _payload(protocol, proposal, digest, party, agency)
    return sd_jwt.issue(header, payload, (), key).jwt


def check_statement(
    statement: str,
    grants: Iterable[KeyGrant],
    *,
    protocol: str,
    proposal: UUID,
    digest: str,
    party: str,
) -> None:
    """Check that one of the keys in ``grants`` signed the statement for this proposal.

    ``grants`` are those of the party's coordinators, as the text names them. Raises ``Refusal``
    (``accession-statement``).
    """
    try:
        parsed = sd_jwt.parse(f"{statement}~")
        header = dict(parsed.header)
        for grant in grants:
            key = from_public(grant.key)
            if header.get("kid") == key_id(key):
                break
        else:
            raise _refused(f"it was not signed with a key that the text names for {party}")
        sd_jwt.verify(parsed, key)
    except SdJwtError as error:
        raise _refused(f"it {error}") from error
    if header != {"alg": sd_jwt.ALGORITHM, "typ": TYPE, "kid": key_id(key)}:
        raise _refused("its header is of something else")
    if dict(parsed.payload) != _payload(protocol, proposal, digest, party, grant.agency):
        raise _refused("it was signed for another proposal, text or party")


def _payload(protocol: str, proposal: UUID, digest: str, party: str, agency: str) -> dict[str, str]:
    return {
        "protocol": protocol,
        "proposal": str(proposal),
        "digest": digest,
        "party": party,
        "agency": agency,
    }


def _refused(why: str) -> Refusal:
    return Refusal(
        Ground.UNAUTHENTIC,
        "accession-statement",
        f"The joining party's statement is refused: {why}. Let its coordinator sign it by"
        " `case-ledger protocol join-statement`.",
        "act.statement",
    )
