"""Keyed blind indexes, which two countries compare instead of a name and a birth date.

A token is an HMAC under the key of two countries. A holder of that key can test a guess, above all
the other country. Without the key, a token reveals only that it exists.
"""

import hmac
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import product

from ledger.vault.duplicates.normalising import parts, turned
from ledger.vocabulary.duplicates import MatchKind

TOKEN_BYTES = 16
COUNT = 36
"""Each case has so many tokens, whatever is known of the person; random ones fill up."""
THRESHOLD = 40
"""From this strength on two cases are reported."""
_CITIZENSHIPS = 3


WEIGHTS: Mapping[MatchKind, int] = {
    MatchKind.NAMES_AND_BIRTHDATE: 100,
    MatchKind.NAMES_AND_TURNED_BIRTHDATE: 80,
    MatchKind.NAMES_AND_YEAR: 60,
    MatchKind.GIVEN_NAME_BIRTHDATE_CITIZENSHIP: 40,
}


@dataclass(frozen=True, slots=True)
class ComparedIdentity:
    """The parts of a person's identity that are compared.

    A middle name is not compared: it is often a parent's name, and twins have that name, the family
    name and the birth date in common.
    """

    first_name: str | None = None
    second_name: str | None = None
    birthdate: date | None = None
    citizenship: tuple[str, ...] = ()


def forms(identity: ComparedIdentity) -> Iterator[tuple[MatchKind, str]]:
    """Yield each text to hash, with its kind, from the known parts of an identity."""
    given, family = parts(identity.first_name), parts(identity.second_name)
    born = identity.birthdate
    if born is None:
        return
    for pair in product(given, family):
        names = "|".join(sorted(pair))  # so that exchanged fields give the same
        yield MatchKind.NAMES_AND_BIRTHDATE, f"{names}|{born.isoformat()}"
        yield MatchKind.NAMES_AND_TURNED_BIRTHDATE, f"{names}|{turned(born)}"
        yield MatchKind.NAMES_AND_YEAR, f"{names}|{born.year:04}"
    for name, country in product(given, sorted(identity.citizenship)[:_CITIZENSHIPS]):
        yield MatchKind.GIVEN_NAME_BIRTHDATE_CITIZENSHIP, f"{name}|{born.isoformat()}|{country}"


def token(key: bytes, kind: MatchKind, form: str) -> bytes:
    """Return the first 16 bytes of HMAC-SHA256 of kind and form, under the key of two countries."""
    return hmac.digest(key, f"{kind}\0{form}".encode(), "sha256")[:TOKEN_BYTES]


def tokens(key: bytes, identity: ComparedIdentity) -> Mapping[bytes, MatchKind | None]:
    """Return a person's tokens with their kinds.

    Random tokens bring the number to ``COUNT``; their kind is ``None``.
    """
    found: dict[bytes, MatchKind | None] = {
        token(key, kind, form): kind for kind, form in forms(identity)
    }
    while len(found) < COUNT:
        found.setdefault(secrets.token_bytes(TOKEN_BYTES), None)
    return found


def strength(agreements: Collection[MatchKind]) -> int:
    """Return the strength of a match: the weight of its strongest agreement, or 0 without any."""
    return max((WEIGHTS[one] for one in agreements), default=0)
