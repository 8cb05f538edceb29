"""Selective Disclosure JWTs (RFC 9901) over Ed25519 (RFC 8037, RFC 9864).

JWS work is ``joserfc``'s; this module adds the salted disclosures. Only object
properties are made selectively disclosable, all at one level, which is all that
case actions need.
"""

import binascii
import hashlib
import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from joserfc import jws
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic_core import from_json, to_json

from ledger.signing import ed25519

ALGORITHM = "Ed25519"
DIGEST_ALGORITHM = "sha-256"
MAX_BYTES = 256 * 1024
_MAX_HEADER = 1024
_SALT_BYTES = 16  # 128 bits, RFC 9901 section 9.3
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.max_payload_length = MAX_BYTES
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")


class SdJwtError(ValueError):
    """The text is not a well-formed SD-JWT, or does not verify."""


@dataclass(frozen=True)
class Disclosure:
    """One salted claim, which is hashed into the signed part (RFC 9901, section 4.2.1)."""

    encoded: str
    name: str
    value: Any

    @cached_property
    def digest(self) -> str:
        """Return the digest of the encoded text, which is hashed once, when it is first needed."""
        return digest(self.encoded)


@dataclass(frozen=True, slots=True)
class SdJwt:
    """A parsed SD-JWT. Parsing verifies nothing; see :func:`verify`."""

    jwt: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]
    disclosures: tuple[Disclosure, ...]
    approval: str = ""
    """A JWT of another key at the place that RFC 9901 has for a key binding."""

    def without_disclosures(self) -> str:
        """Return the issuer-signed JWT, and the approval if there is one."""
        return f"{self.jwt}~{self.approval}"

    def __str__(self) -> str:
        return "~".join((self.jwt, *(d.encoded for d in self.disclosures), self.approval))


def digest(encoded_disclosure: str) -> str:
    """Return the base64url SHA-256 of an encoded disclosure (RFC 9901, section 4.2.3)."""
    return _b64(hashlib.sha256(encoded_disclosure.encode("ascii")).digest())


def make_disclosure(name: str, value: Any) -> Disclosure:
    """Salt one claim with 128 random bits."""
    salt = secrets.token_urlsafe(_SALT_BYTES)
    text = json.dumps([salt, name, value], ensure_ascii=False, separators=(",", ":"))
    return Disclosure(_b64(text.encode()), name, value)


def decoy_digest() -> str:
    """Return a decoy digest (RFC 9901, section 4.2.5).

    It belongs to no disclosure, so that the number of digests reveals nothing.
    """
    return _b64(hashlib.sha256(secrets.token_bytes(32)).digest())


def issue(
    header: Mapping[str, Any],
    payload: Mapping[str, Any],
    disclosures: Sequence[Disclosure],
    key: OKPKey,
) -> SdJwt:
    """Sign ``payload``, which already contains the disclosures' digests."""
    protected = {"alg": ALGORITHM, **header}
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    jwt = jws.serialize_compact(protected, body, key, registry=_REGISTRY)
    return SdJwt(jwt, protected, dict(payload), tuple(disclosures))


def without_disclosures(text: str) -> str:
    """Return the text of an SD-JWT without what it discloses. Nothing is checked."""
    jwt, _, rest = text.partition("~")
    return f"{jwt}~{rest.rpartition('~')[2]}"


def with_disclosures(text: str, encoded: Iterable[str]) -> str:
    """Return the text of an SD-JWT with more disclosures, before its approval if it has one."""
    rest, _, approval = text.rpartition("~")
    return "~".join((rest, *encoded, approval))


def parse(text: str, *, may_be_approved: bool = False) -> SdJwt:
    """Parse an SD-JWT with its disclosures and no key binding.

    With ``may_be_approved`` a JWT may follow the last ``~``; it is not read here. Raises
    ``SdJwtError`` if the text is too long, not in the form ``<JWT>~<disclosure>~...~``, holds JSON
    with repeated names, or could be encoded otherwise.
    """
    if len(text) > MAX_BYTES:
        raise SdJwtError(f"is longer than {MAX_BYTES} bytes")
    jwt, *rest = text.split("~")
    if not rest or (rest[-1] != "" and not may_be_approved):
        raise SdJwtError("must end with '~' (an SD-JWT without key binding, RFC 9901 section 4)")
    parts = jwt.split(".")
    if len(parts) != 3:
        raise SdJwtError("must begin with a JWT of three parts")
    header = header_of(parts[0])
    payload = _json_object(_unb64(parts[1]), "the payload")
    _unb64(parts[2])
    disclosures = tuple(parse_disclosure(encoded) for encoded in rest[:-1])
    return SdJwt(jwt, header, payload, disclosures, rest[-1])


@lru_cache(maxsize=1024)
def header_of(encoded: str) -> Mapping[str, Any]:
    """Decode a JWT's header, once for each header: a key signs under one header.

    Raises ``SdJwtError`` if it is malformed or too long.
    """
    if len(encoded) > _MAX_HEADER:
        raise SdJwtError(f"has a header longer than {_MAX_HEADER} bytes")
    return MappingProxyType(_json_object(_unb64(encoded), "the header"))


def parse_disclosure(encoded: str) -> Disclosure:
    """Parse one encoded disclosure.

    Raises ``SdJwtError`` if it is malformed.
    """
    content = _json(_unb64(encoded), "a disclosure")
    match content:
        case [str(), str(name), value] if name not in ("_sd", "..."):
            return Disclosure(encoded, name, value)
    raise SdJwtError("a disclosure must be an array of salt, name and value")


def verify(sd_jwt: SdJwt, key: OKPKey) -> None:
    """Check the signature.

    Raises ``SdJwtError`` if it does not hold.
    """
    if sd_jwt.header.get("alg") != ALGORITHM:
        raise SdJwtError(f"must be signed with alg {ALGORITHM}")
    if not verifies(sd_jwt.jwt, key):
        raise SdJwtError("the signature does not verify")


def verifies(text: str, key: OKPKey) -> bool:
    """Return whether the signature of an SD-JWT holds; its ``alg`` must be checked already.

    Raises ``SdJwtError`` if the text has no signature.
    """
    signed, _, signature = text.partition("~")[0].rpartition(".")
    return ed25519.verifies(key, _unb64(signature), signed.encode("ascii"))


def check_disclosures(disclosures: Sequence[Disclosure], digests: Sequence[str]) -> None:
    """Check that each disclosure is one of the signed digests, once.

    Raises ``SdJwtError``, which repeats no name: it could be anything.
    """
    if len(set(digests)) != len(digests):
        raise SdJwtError("the signed digests are not distinct")
    seen: set[str] = set()
    for disclosure in disclosures:
        if disclosure.digest not in digests:
            raise SdJwtError("it is not among the signed ones")
        if disclosure.name in seen:
            raise SdJwtError("its field is disclosed twice")
        seen.add(disclosure.name)


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        written = text.encode("ascii")
        encoded = written.translate(_FROM_URL)
        data = binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4))
    except ValueError as error:
        raise SdJwtError("is not base64url") from error
    again = binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)
    if again != written:  # one encoding only, so that one content has one digest
        raise SdJwtError("is not canonical base64url")
    return data


def _compact_json(data: bytes) -> Any:
    """Return the value of JSON in the compact form, or ``None`` for any other JSON.

    Compact JSON gives the same bytes when it is written again: it has no repeated name, and nothing
    that the strict decoder refuses. It is read in half the time.
    """
    try:
        content = from_json(data, allow_inf_nan=False)
        return content if to_json(content) == data else None
    except ValueError:
        return None


def _json(data: bytes, what: str) -> Any:
    try:
        return _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise SdJwtError(f"{what} is not valid JSON") from error


def _json_object(data: bytes, what: str) -> dict[str, Any]:
    if isinstance(content := _compact_json(data), dict):
        return content
    content = _json(data, what)
    if not isinstance(content, dict):
        raise SdJwtError(f"{what} is not a JSON object")
    try:
        to_json(content)
    except ValueError as error:  # an escaped half of a surrogate pair has no UTF-8
        raise SdJwtError(f"{what} has half of a character") from error
    return content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated name")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite
)
