"""Seals one disclosure under a person's data key, bound to where it belongs (AES-256-GCM)."""

import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.signing.country_key import SealError

_NONCE_BYTES = 12
"""Random: NIST SP 800-38D allows 2^32 of them under one key, and a key is one person's."""


def seal(
    data_key: bytes, disclosure: str, *, case_id: UUID, action_id: UUID, digest: str, field: str
) -> bytes:
    """Encrypt a disclosure for its place, and return the nonce and the ciphertext."""
    (sealed,) = seal_together(
        data_key, [(disclosure, digest, field)], case_id=case_id, action_id=action_id
    )
    return sealed


def seal_together(
    data_key: bytes,
    disclosures: Sequence[tuple[str, str, str]],
    *,
    case_id: UUID,
    action_id: UUID,
) -> list[bytes]:
    """Encrypt the disclosures of one action, each for its place; return nonces and ciphertexts.

    Each of ``disclosures`` is the text, the digest and the field. One call of the operating system
    gives the random bytes of all nonces.
    """
    cipher = AESGCM(data_key)
    random = secrets.token_bytes(_NONCE_BYTES * len(disclosures))
    sealed = []
    for place, (disclosure, digest, field) in enumerate(disclosures):
        nonce = random[place * _NONCE_BYTES : (place + 1) * _NONCE_BYTES]
        bound = _bound(case_id, action_id, digest, field)
        sealed.append(nonce + cipher.encrypt(nonce, disclosure.encode(), bound))
    return sealed


def unseal(
    data_key: bytes, sealed: bytes, *, case_id: UUID, action_id: UUID, digest: str, field: str
) -> str:
    """Decrypt a disclosure at its place.

    Raises ``SealError`` if the disclosure belongs to another place, or was altered.
    """
    nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    bound = _bound(case_id, action_id, digest, field)
    try:
        return AESGCM(data_key).decrypt(nonce, content, bound).decode()
    except (InvalidTag, ValueError) as error:
        raise SealError(f"the disclosure of {field} does not open at its place") from error


def _bound(case_id: UUID, action_id: UUID, digest: str, field: str) -> bytes:
    return f"case-ledger disclosure 1\n{case_id}\n{action_id}\n{digest}\n{field}\n".encode()
