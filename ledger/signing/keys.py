"""Agencies' Ed25519 keys as JWKs (RFC 7517, RFC 8037), named by thumbprint (RFC 7638)."""

import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode
from nacl.bindings import crypto_core_ed25519_is_valid_point

from ledger.vocabulary.registration import PublicKey

_PUBLIC_KEY_BYTES = 32
_KEYS_KEPT = 4096


def generate() -> OKPKey:
    """Return a new private key."""
    return OKPKey.generate_key("Ed25519")


def key_id(key: OKPKey) -> str:
    """Return the SHA-256 thumbprint of a key (RFC 7638)."""
    return str(key.thumbprint())


def public_part(key: OKPKey) -> PublicKey:
    """Return the public part of a key, which is registered."""
    return PublicKey(x=str(key.as_dict(private=False)["x"]))


@lru_cache(maxsize=_KEYS_KEPT)
def from_public(public: PublicKey) -> OKPKey:
    """Return a key that can verify.

    The keys used last are kept: to read one takes a quarter of the time of verifying a signature.

    Raises ``ValueError`` if the public key is no point of the curve.
    """
    try:
        return OKPKey.import_key(public.model_dump())
    except JoseError as error:
        raise ValueError("is not an Ed25519 public key") from error


def check_grantable(public: PublicKey) -> None:
    """Check that a key may be registered.

    Raises ``ValueError`` if the key is no point of the curve, binds no one, or has a second name by
    another encoding.
    """
    raw = urlsafe_b64decode(public.x.encode())
    if urlsafe_b64encode(raw).decode() != public.x or not binds_signer(raw):
        raise ValueError("is no Ed25519 public key that binds whoever signs with it")


def binds_signer(encoded: bytes) -> bool:
    """Return whether these bytes are, in canonical form, a point of the curve's main subgroup.

    Anyone can make signatures that a point of small order verifies. The holder of such a key could
    deny every signature. Libraries that only verify signatures accept such a point as a key.
    """
    return len(encoded) == _PUBLIC_KEY_BYTES and crypto_core_ed25519_is_valid_point(encoded)


def save(key: OKPKey, path: Path) -> None:
    """Write a private key as JWK, readable by its owner alone, and never over another file."""
    write_private(path, json.dumps(key.as_dict(private=True)).encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone reads, whole or not at all, durably.

    Raises ``FileExistsError`` if there is one already.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(written, path)  # whole, or not at all
    finally:
        Path(written).unlink()


def load(path: Path) -> OKPKey:
    """Read a private key written by :func:`save`. Raises ``ValueError`` for anything else."""
    try:
        content: Any = json.loads(path.read_text())
        key = OKPKey.import_key(content)
    except (JoseError, ValueError, TypeError) as error:
        raise ValueError(f"{path} does not hold a JWK") from error
    if key.curve_name != "Ed25519" or not key.is_private:
        raise ValueError(f"{path} does not hold a private Ed25519 key")
    return key
