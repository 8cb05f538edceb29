"""The rule of combination of the operational indicators, as a table of every combination."""

from collections import Counter
from contextlib import nullcontext
from itertools import product

import pytest
from pydantic import ValidationError

from ledger.procedure.operational_indicators import (
    IndicatorDimension,
    IndicatorStrength,
    combine,
    is_positive,
)
from ledger.procedure.protocol import shipped_protocol
from ledger.vocabulary.indicators import (
    PUBLISHED_LISTS,
    IndicatorList,
    IndicatorsAssessed,
    OperationalIndicator,
    TraffickingAct,
)
from tests.support.actions import START

LISTED = shipped_protocol().indicators
LEAST = {(2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 3, 0), (0, 2, 1)}
"""The least numbers of strong, medium and weak indicators with which a dimension is positive."""


@pytest.mark.parametrize("counts", list(product(range(4), range(5), range(5))))
def test_a_dimension_is_positive_from_the_least_numbers_on(counts: tuple[int, int, int]) -> None:
    strong, medium, weak = counts
    reached = any(
        # A stronger indicator counts for a weaker one that the rule asks for.
        strong >= s and strong + medium >= s + m and strong + medium + weak >= s + m + w
        for s, m, w in LEAST
    )
    assert is_positive(*counts) is reached


def test_the_lists_are_those_of_the_publication() -> None:
    of_adults = [one for one in LISTED if IndicatorList.ADULTS_LABOUR in one.strength]
    of_children = [one for one in LISTED if IndicatorList.CHILDREN_LABOUR in one.strength]
    assert (len(LISTED), len(of_adults), len(of_children)) == (67, 67, 65)
    assert {one.indicator for one in LISTED} == set(OperationalIndicator)
    assert list(Counter(one.dimension for one in of_adults).values()) == [10, 10, 16, 9, 15, 7]


def some(
    dimension: IndicatorDimension, of: IndicatorList, strength: IndicatorStrength, number: int
) -> list[OperationalIndicator]:
    found = [
        one.indicator
        for one in LISTED
        if one.dimension is dimension and one.strength.get(of) is strength
    ]
    assert len(found) >= number
    return found[:number]


MEANS = [one for one in IndicatorDimension if one is not IndicatorDimension.EXPLOITATION]


@pytest.mark.parametrize("with_exploitation", [True, False])
@pytest.mark.parametrize("means", [None, *MEANS])
@pytest.mark.parametrize("of", PUBLISHED_LISTS)
@pytest.mark.parametrize("acts", [(), (TraffickingAct.HARBOURING,)])
def test_every_combination_of_dimensions(
    of: IndicatorList,
    means: IndicatorDimension | None,
    with_exploitation: bool,
    acts: tuple[TraffickingAct, ...],
) -> None:
    medium = IndicatorStrength.MEDIUM
    observed = some(IndicatorDimension.EXPLOITATION, of, medium, 3) if with_exploitation else []
    if means is not None:
        strong = [
            one.indicator
            for one in LISTED
            if one.dimension is means and one.strength.get(of) is IndicatorStrength.STRONG
        ][:1]
        observed += strong + some(means, of, medium, 3)
    found = combine(of, observed, acts, LISTED)
    is_recruitment = means is not None and "recruitment" in means
    if of is IndicatorList.ADULTS_LABOUR:
        expected = with_exploitation and means is not None
    else:
        expected = with_exploitation and (bool(acts) or is_recruitment)
    assert found.points_to_trafficking is expected
    positive = {one.dimension for one in found.dimensions if one.is_positive}
    assert positive == {
        *([IndicatorDimension.EXPLOITATION] if with_exploitation else []),
        *([means] if means is not None else []),
    }


def test_an_indicator_counts_once_and_only_in_a_list_that_has_it() -> None:
    only_adults = next(
        one.indicator for one in LISTED if IndicatorList.CHILDREN_LABOUR not in one.strength
    )
    found = combine(IndicatorList.CHILDREN_LABOUR, [only_adults] * 3, (), LISTED)
    assert (found.dimensions, found.not_listed) == ((), (only_adults,))
    strong = some(
        IndicatorDimension.EXPLOITATION, IndicatorList.ADULTS_LABOUR, IndicatorStrength.STRONG, 1
    )
    (one,) = combine(IndicatorList.ADULTS_LABOUR, strong * 2, (), LISTED).dimensions
    assert (one.strong, one.is_positive) == (1, False)


@pytest.mark.parametrize(
    ("chosen", "observed", "is_valid"),
    [
        ("none_fits", None, True),
        ("none_fits", ("exploitation_low_no_salary",), False),
        ("children_labour", None, False),
        ("children_labour", ("exploitation_low_no_salary",), True),
    ],
)
def test_a_screening_that_no_list_fits_names_no_indicator(
    chosen: str, observed: tuple[str, ...] | None, is_valid: bool
) -> None:
    told = {
        "acted_at": START,
        "protected_as": "PossibleVictimOfTrafficking",
        "indicator_list": chosen,
        "observed": observed,
        "observers": ("own_account",),
    }
    with nullcontext() if is_valid else pytest.raises(ValidationError, match="no list fits"):
        IndicatorsAssessed.model_validate(told)
