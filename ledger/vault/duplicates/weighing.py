"""Weigh the evidence that two cases are of one person, in bits.

An agreement of ``n`` bits is found by chance in about one of ``2**n`` pairs of different persons.
Bits of independent parts of an identity add up (Fellegi and Sunter 1969). A difference in a known
part takes bits away. How rare a pair of names is comes from the compared cases themselves. The
weights were fitted to an invented population (``benchmarks/matching.py``, seeds 1 to 3). Each is a
logarithm: how much more often pairs of one person agree so than pairs of two that have as much in
common otherwise. They are a regression's, rounded. Two weights were not fitted, since the
population has no brothers, sisters and twins: another given name, and a family name alone.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.vault.duplicates.identity_forms import Evidence, Form
from ledger.vocabulary.duplicates import MatchKind

_FALSE_OF_CASES = 10_000
"""At most about one false report is wanted in so many cases."""
_WEIGHTS_ARE_LOW_BY = 5.95
"""Measured: at this distance from the exact bound one false report came in so many cases."""
_LEAST_BITS = 15.5
"""Below this nothing is reported, however few cases there are."""
_PRIOR_NAME_BITS = 15.0
"""Bits of a given and a family name whose share of the population is not known."""
_PRIOR_CASES = 30_000
"""The prior counts as much as so many cases."""
_MOST_NAME_BITS = 19.0
_GIVEN_BITS, _FAMILY_BITS, _SIMILAR_COSTS = 7.0, 3.5, 4.0
_SHORT_FORM_COSTS = 6.5
"""A given name of which only the first letters are equal."""
_ANOTHER_GIVEN_NAME = -14.0
"""Brothers, sisters and twins have all but the given name in common."""
_ANOTHER_FAMILY_NAME = -4.0
_OTHER_NAMES = -8.0
_DIFFERENT_DATE, _DIFFERENT_YEAR = -9.0, -9.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """The parts in which two cases agree, and the bits of all that agrees and differs."""

    bits: float
    agrees: tuple[MatchKind, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The bits of one part of the identity: where it agrees, and where two known values differ."""

    evidence: Evidence
    agreement: MatchKind
    bits: float
    difference: float


_PARTS: Sequence[_Part] = (
    _Part(Evidence.NUMBER, MatchKind.IDENTITY_NUMBER, 48.0, -6.0),
    _Part(Evidence.MIDDLE, MatchKind.MIDDLE_NAME, 5.5, -8.0),
    _Part(Evidence.CITIZENSHIP, MatchKind.CITIZENSHIP, 1.5, -7.0),
    _Part(Evidence.GENDER, MatchKind.GENDER, 0.3, -6.0),
)
_DATES: Sequence[tuple[frozenset[Evidence], MatchKind, float]] = (
    (frozenset({Evidence.BIRTHDATE}), MatchKind.BIRTHDATE, 12.5),
    (frozenset({Evidence.TURNED_BIRTHDATE}), MatchKind.TURNED_BIRTHDATE, 6.5),
    (
        frozenset({Evidence.DAY_AND_MONTH, Evidence.NEAR_YEAR}),
        MatchKind.SIMILAR_BIRTHDATE,
        7.5,
    ),
    (frozenset({Evidence.MONTH_OF_YEAR}), MatchKind.SIMILAR_BIRTHDATE, 4.0),
    (frozenset({Evidence.DAY_OF_YEAR}), MatchKind.SIMILAR_BIRTHDATE, 0.0),
    (frozenset({Evidence.DAY_AND_MONTH}), MatchKind.SIMILAR_BIRTHDATE, -3.0),
)
"""From the most telling agreement to the least."""
_YEARS: Sequence[tuple[Evidence, MatchKind, float]] = (
    (Evidence.YEAR, MatchKind.BIRTH_YEAR, 5.5),
    (Evidence.NEAR_YEAR, MatchKind.NEAR_BIRTH_YEAR, 3.5),
)


def threshold(others: int) -> float:
    """Return the bits from which on a pair is reported, among ``others`` cases of one country."""
    exact = math.log2(max(others, 1)) + math.log2(_FALSE_OF_CASES)
    return max(_LEAST_BITS, exact - _WEIGHTS_ARE_LOW_BY)


def strength(bits: float, least: float) -> int:
    """Return the strength that people are shown, of 100: 50 at the threshold, 3 for each bit."""
    return max(0, min(100, round(50 + 3 * (bits - least))))


def name_bits(with_the_names: int, cases: int) -> float:
    """Return how much two equal names say.

    ``with_the_names`` counts the cases of both countries with these names, the two included, and
    ``cases`` counts all of them.
    """
    others = max(with_the_names - 2, 0) + _PRIOR_CASES * 2.0**-_PRIOR_NAME_BITS
    return min(_MOST_NAME_BITS, -math.log2(others / (cases + _PRIOR_CASES)))


def weigh(own: Sequence[Form], agreed: Collection[Form], equal_names: float) -> Weighed:
    """Weigh what agrees.

    ``own`` has all forms of evidence of the own case, ``agreed`` those that the other case has too,
    and ``equal_names`` the bits of the names where both are equal.
    """
    kinds = {form.kind for form in agreed}
    known = {form.text for form in agreed if form.kind is Evidence.KNOWN}
    found: dict[MatchKind, float] = {}
    against = _weigh_names(own, agreed, known, equal_names, found)
    against += _weigh_birth(kinds, known, found)
    for part in _PARTS:
        if part.evidence in kinds:
            found[part.agreement] = part.bits
        elif part.evidence.value in known:
            against += part.difference
    return Weighed(sum(found.values()) + against, tuple(found))


def _weigh_names(
    own: Sequence[Form],
    agreed: Collection[Form],
    known: Collection[str],
    equal_names: float,
    found: dict[MatchKind, float],
) -> float:
    """Add what the names agree in, and return what differences take away."""
    exact = {form.text for form in agreed if form.kind is Evidence.NAME}
    similar = {form.about for form in agreed if form.kind is Evidence.SIMILAR} - exact
    if len(exact) >= 2:
        found[MatchKind.NAMES] = equal_names
    elif len(exact) + len(similar) >= 2:
        found[MatchKind.SIMILAR_NAMES] = equal_names - _SIMILAR_COSTS * len(similar)
    elif exact or similar:
        costs = _SIMILAR_COSTS if similar else 0.0
        given = {form.text for form in own if form.kind is Evidence.GIVEN}
        both_known = "given" in known
        if (exact | similar) & given:
            found[MatchKind.GIVEN_NAME] = _GIVEN_BITS - costs
            return _ANOTHER_FAMILY_NAME if both_known else 0.0
        if exact and both_known and any(form.kind is Evidence.SHORT_GIVEN for form in agreed):
            found[MatchKind.SIMILAR_NAMES] = equal_names - _SHORT_FORM_COSTS
            return 0.0
        found[MatchKind.FAMILY_NAME] = _FAMILY_BITS - costs
        return _ANOTHER_GIVEN_NAME if both_known else 0.0
    elif "names" in known:
        return _OTHER_NAMES
    return 0.0


def _weigh_birth(
    kinds: Collection[Evidence], known: Collection[str], found: dict[MatchKind, float]
) -> float:
    """Add what the birth dates agree in, and return what differences take away."""
    for needed, agreement, bits in _DATES:
        if needed <= set(kinds):
            found[agreement] = bits
            return 0.0
    for kind, agreement, bits in _YEARS:
        if kind in kinds:
            found[agreement] = bits
            return _DIFFERENT_DATE if "birthdate" in known else 0.0
    return _DIFFERENT_YEAR if "year" in known else 0.0
