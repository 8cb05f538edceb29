"""Ed25519 verification (RFC 8032) by libsodium, which takes half of OpenSSL's time.

It releases the interpreter's lock while it works, so that threads verify on all cores. OpenSSL
accepts every signature that it accepts; it also refuses points of small order and second encodings.
"""

from joserfc.jwk import OKPKey
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey


def verifies(key: OKPKey, signature: bytes, message: bytes) -> bool:
    """Return whether ``signature`` is of ``message`` by ``key``.

    The result is ``False`` for a key of a curve other than Ed25519.
    """
    if key.curve_name != "Ed25519":
        return False
    public = key.public_key.public_bytes_raw()
    try:
        VerifyKey(public).verify(message, signature)
    except CryptoError:  # also where it has another length than a signature has
        return False
    return True
