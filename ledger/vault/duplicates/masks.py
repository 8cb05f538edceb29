"""A country's secret masks, by which two countries compare without telling each other the values.

Each country has one secret number for each other country, its mask. A form of an identity becomes a
point of edwards25519, and a mask multiplies the point. The order of two masks makes no difference,
so a form that both countries masked is equal for both, and nobody can test a guess without the
other country's mask (Meadows 1986; ``draft-ecdh-psi``). A country proves that it multiplied another
one's points by its mask and did nothing else, so that it cannot make two cases look alike. The
points come from libsodium's Elligator map, in the group of prime order.

Masks lie in files apart from the database, sealed to the own country's key, so that tokens in an
old backup are of no use once the mask that they were made with is gone.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_from_uniform,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_scalar_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

from ledger.signing.country_key import CountryKey
from ledger.system.fsync import sync_directory

SECRET_BYTES = 32
TOKEN_BYTES = 16
_SUFFIX = "mask"
_NO_POINT = "not a point of the group of prime order"


@dataclass(frozen=True, slots=True)
class Mask:
    """One country's secret number for one other country, and its public key, which names it."""

    id: str
    scalar: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        return bytes.fromhex(self.id)

    def apply(self, points: Iterable[bytes]) -> list[bytes]:
        """Return the points multiplied by the mask. Raises ``ValueError`` if one is no point."""
        return [_multiply(self.scalar, point) for point in points]

    def of_pair(self, pair: str) -> "Mask":
        """Return the mask for the evidence of one pair of cases, which serves for nothing else."""
        text = b"case-ledger evidence 1\n" + pair.encode()
        return _mask(crypto_core_ed25519_scalar_reduce(hmac.digest(self.scalar, text, "sha512")))

    def filler(self, about: bytes, number: int) -> bytes:
        """Return a point of no form, which is the same each time for what it fills up."""
        text = b"case-ledger filler 1\n" + about + number.to_bytes(2)
        return crypto_core_ed25519_from_uniform(hmac.digest(self.scalar, text, "sha256"))

    def prove(self, points: Sequence[bytes], multiples: Sequence[bytes]) -> bytes:
        """Return a proof that ``multiples`` are ``points`` under this mask, all of them.

        It is a Chaum-Pedersen proof on a weighted sum, as RFC 9497, section 2.2, has it.
        """
        sums = _sums(self.public, points, multiples)
        nonce = crypto_core_ed25519_scalar_reduce(secrets.token_bytes(64))
        challenge = _challenge(
            self.public,
            *sums,
            crypto_scalarmult_ed25519_base_noclamp(nonce),
            _multiply(nonce, sums[0]),
        )
        answer = crypto_core_ed25519_scalar_sub(
            nonce, crypto_core_ed25519_scalar_mul(challenge, self.scalar)
        )
        return challenge + answer


def check_proof(
    public: bytes, points: Sequence[bytes], multiples: Sequence[bytes], proof: bytes
) -> None:
    """Check that ``multiples`` are ``points`` under the mask of a public key.

    Raises ``ValueError`` if the proof does not hold.
    """
    challenge, answer = proof[:SECRET_BYTES], proof[SECRET_BYTES:]
    point_sum, multiple_sum = _sums(public, points, multiples)
    add = crypto_core_ed25519_add
    try:
        expected = _challenge(
            public,
            point_sum,
            multiple_sum,
            add(crypto_scalarmult_ed25519_base_noclamp(answer), _multiply(challenge, public)),
            add(_multiply(answer, point_sum), _multiply(challenge, multiple_sum)),
        )
    except (CryptoError, ValueError, TypeError) as error:
        raise ValueError("the proof is none") from error
    if not hmac.compare_digest(expected, challenge):
        raise ValueError("the points were not all multiplied by the mask that is named")


def _sums(
    public: bytes, points: Sequence[bytes], multiples: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the weighted sums of points and of their multiples."""
    if len(points) != len(multiples) or not points:
        raise ValueError("there are not as many multiples as points")
    seed = hashlib.sha512(b"".join((public, *points, *multiples))).digest()
    sums: list[bytes] = []
    for listed in (points, multiples):
        weighted = [
            _multiply(_scalar(b"weight", seed, number.to_bytes(2)), one)
            for number, one in enumerate(listed)
        ]
        total = weighted[0]
        for one in weighted[1:]:
            total = crypto_core_ed25519_add(total, one)
        sums.append(total)
    return sums[0], sums[1]


def _challenge(*parts: bytes) -> bytes:
    return _scalar(b"challenge", *parts)


def _scalar(label: bytes, *parts: bytes) -> bytes:
    text = b"case-ledger proof 1 " + label + b"\n" + b"".join(parts)
    return crypto_core_ed25519_scalar_reduce(hashlib.sha512(text).digest())


def _mask(scalar: bytes) -> Mask:
    return Mask(crypto_scalarmult_ed25519_base_noclamp(scalar).hex(), scalar)


def mask(secret: bytes, protocol: str, party: str, other: str) -> Mask:
    """Derive a country's mask for another country from its secret (HKDF-SHA512)."""
    context = f"case-ledger mask 1\n{protocol}\n{party}\n{other}\n".encode()
    derived = HKDF(SHA512(), length=64, salt=None, info=context).derive(secret)
    return _mask(crypto_core_ed25519_scalar_reduce(derived))


def point(form: str) -> bytes:
    """Return the point of a form."""
    digest = hashlib.sha256(b"case-ledger form 1\n" + form.encode()).digest()
    return crypto_core_ed25519_from_uniform(digest)


def check_points(points: Iterable[bytes]) -> None:
    """Raise ``ValueError`` if one of them is no point of the group."""
    if not all(map(crypto_core_ed25519_is_valid_point, points)):
        raise ValueError(_NO_POINT)


def token(doubled: bytes) -> bytes:
    """Return the token of a point that both countries masked: 16 bytes of its SHA-256."""
    return hashlib.sha256(b"case-ledger token 1\n" + doubled).digest()[:TOKEN_BYTES]


def own_token(secret: bytes, form: str) -> bytes:
    """Return the token of a form for comparing a country's cases with each other (HMAC-SHA256)."""
    text = b"case-ledger own token 1\n" + form.encode()
    return hmac.digest(secret, text, "sha256")[:TOKEN_BYTES]


def _multiply(scalar: bytes, one: bytes) -> bytes:
    try:
        return crypto_scalarmult_ed25519_noclamp(scalar, one)
    except (CryptoError, ValueError, TypeError) as error:  # libsodium checks the point
        raise ValueError(_NO_POINT) from error


class Masks:
    """One country's secrets for the others. Several processes may share the directory."""

    def __init__(self, directory: Path, party: str, key: CountryKey) -> None:
        self._directory = directory
        self._party = party
        self._key = key
        self._opened: dict[bytes, bytes] = {}

    def secret(self, other: str) -> bytes:
        """Return the secret for a country, which may be the own one; make it if there is none.

        Raises ``SealError`` if the secret does not open.
        """
        known = self._get(other)
        if known is None:
            self.renew(other)
            known = self._get(other)
        if known is None:
            raise FileNotFoundError(f"the mask for {other} is not where it was just put")
        return known

    def mask(self, protocol: str, other: str) -> Mask:
        """Return the mask for another country. Raises ``SealError`` if it does not open."""
        return mask(self.secret(other), protocol, self._party, other)

    def renew(self, other: str) -> None:
        """Replace the secret for a country, so that the old one is of no more use."""
        self._put(other, secrets.token_bytes(SECRET_BYTES))

    def reseal(self) -> int:
        """Seal every secret to the country's newest key, and return how many there are.

        Raises ``SealError`` if a secret does not open.
        """
        count = 0
        for path in sorted(self._directory.glob(f"*.{_SUFFIX}")):
            other = path.stem.upper()
            if (known := self._get(other)) is not None:
                self._put(other, known)
                count += 1
        return count

    def _get(self, other: str) -> bytes | None:
        try:
            sealed = self._path(other).read_bytes()
        except FileNotFoundError:
            return None
        if sealed not in self._opened:
            opened = self._key.open(sealed, self._context(other))
            self._opened = {**self._opened, sealed: opened}
        return self._opened[sealed]

    def _put(self, other: str, secret: bytes) -> None:
        path = self._path(other)
        sealed = self._key.public.seal(secret, self._context(other))
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, written = tempfile.mkstemp(dir=self._directory, prefix=".mask-")  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        Path(written).replace(path)
        sync_directory(self._directory)

    def _path(self, other: str) -> Path:
        return self._directory / f"{other.lower()}.{_SUFFIX}"

    def _context(self, other: str) -> bytes:
        return f"case-ledger mask 1\n{self._party}\n{other}\n".encode()
