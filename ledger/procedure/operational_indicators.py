"""The rule of combination of the operational indicators, computed with its reasons.

Source: Operational indicators of trafficking in human beings: results from a Delphi survey
implemented by the ILO and the European Commission (ILO, 2009), as this program's authors read it.
The rule helps a person to decide. No rule of the ledger reads its result.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import model_serializer, model_validator

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.indicators import (
    PUBLISHED_LISTS,
    IndicatorList,
    OperationalIndicator,
    TraffickingAct,
)


class IndicatorDimension(StrEnum):
    DECEPTIVE_RECRUITMENT = "deceptive_recruitment"
    COERCIVE_RECRUITMENT = "coercive_recruitment"
    RECRUITMENT_BY_ABUSE = "recruitment_by_abuse_of_vulnerability"
    EXPLOITATION = "exploitation"
    COERCION_AT_DESTINATION = "coercion_at_destination"
    ABUSE_AT_DESTINATION = "abuse_of_vulnerability_at_destination"


class IndicatorStrength(StrEnum):
    STRONG = "strong"
    MEDIUM = "medium"
    WEAK = "weak"


_RECRUITMENT = frozenset(
    {
        IndicatorDimension.DECEPTIVE_RECRUITMENT,
        IndicatorDimension.COERCIVE_RECRUITMENT,
        IndicatorDimension.RECRUITMENT_BY_ABUSE,
    }
)
_OF_CHILDREN = frozenset({IndicatorList.CHILDREN_LABOUR})


_DIMENSIONS = {
    "deceptive": IndicatorDimension.DECEPTIVE_RECRUITMENT,
    "coercive": IndicatorDimension.COERCIVE_RECRUITMENT,
    "abuse": IndicatorDimension.RECRUITMENT_BY_ABUSE,
    "exploitation": IndicatorDimension.EXPLOITATION,
    "coercion": IndicatorDimension.COERCION_AT_DESTINATION,
    "dependence": IndicatorDimension.ABUSE_AT_DESTINATION,
}
"""The dimension of the indicators whose ids begin with a word."""


class ListedIndicator(LedgerModel):
    """One indicator of the protocol's lists."""

    indicator: OperationalIndicator
    dimension: IndicatorDimension
    strength: dict[IndicatorList, IndicatorStrength]
    """Its strength in each list that has it."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        """Read the short form of a recorded text: see :meth:`_short`."""
        if not isinstance(given, str):
            return given
        indicator, *dimension, listed = given.split(" ")
        if len(dimension) > 1 or len(listed) != len(PUBLISHED_LISTS):
            raise ValueError(f"indicators: {given!r} is no indicator, dimension and strengths")
        letters = {one.value[0]: one for one in IndicatorStrength}
        strength = {
            of: letters.get(letter, letter)
            for of, letter in zip(PUBLISHED_LISTS, listed, strict=True)
            if letter != "-"
        }
        named = dimension or [_DIMENSIONS.get(indicator.partition("_")[0], "")]
        return {"indicator": indicator, "dimension": named[0], "strength": strength}

    @model_serializer(mode="plain", when_used="json")
    def _short(self) -> str:
        """Write an indicator in one line of a text: its id, its dimension, and a letter per list.

        An adoption is one event with the whole text, and an event has 65,535 bytes at most. A dash
        stands for a list that does not have the indicator. The dimension is left out where the id
        begins with its word.
        """
        letters = "".join(
            self.strength[of].value[0] if of in self.strength else "-" for of in PUBLISHED_LISTS
        )
        if _DIMENSIONS.get(self.indicator.partition("_")[0]) is self.dimension:
            return f"{self.indicator} {letters}"
        return f"{self.indicator} {self.dimension} {letters}"

    @model_validator(mode="after")
    def _is_in_a_list(self) -> "ListedIndicator":
        if not self.strength:
            raise ValueError(f"indicators: {self.indicator} is in no list")
        return self


@dataclass(frozen=True, slots=True)
class DimensionResult:
    """The observed indicators of one dimension, counted by strength."""

    dimension: IndicatorDimension
    strong: int
    medium: int
    weak: int

    @property
    def is_positive(self) -> bool:
        return is_positive(self.strong, self.medium, self.weak)


@dataclass(frozen=True, slots=True)
class Combination:
    """The result of the rule, with its reasons."""

    indicator_list: IndicatorList
    dimensions: tuple[DimensionResult, ...]
    """Each dimension in which an indicator was observed."""
    acts: tuple[TraffickingAct, ...]
    points_to_trafficking: bool
    not_listed: tuple[OperationalIndicator, ...]
    """Observed indicators that the list does not have. They count nowhere."""


def is_positive(strong: int, medium: int, weak: int) -> bool:
    """Return whether a dimension is positive, given how many of its indicators were observed.

    It is with two strong indicators; with one strong and one of any other strength; with three
    medium; or with two medium and one weak.
    """
    if strong >= 2:
        return True
    if strong == 1:
        return medium + weak >= 1
    return medium >= 3 or (medium == 2 and weak >= 1)


def combine(
    indicator_list: IndicatorList,
    observed: Collection[OperationalIndicator],
    acts: Iterable[TraffickingAct],
    listed: Iterable[ListedIndicator],
) -> Combination:
    """Combine observed indicators by the protocol's lists.

    For an adult the rule needs exploitation, and recruitment or coercion by one of the means. For a
    child no means is needed: exploitation with recruitment, transport, transfer, harbouring or
    receipt is enough (Palermo Protocol, article 3 (c)).
    """
    by_id = {one.indicator: one for one in listed if indicator_list in one.strength}
    counts: dict[IndicatorDimension, Counter[IndicatorStrength]] = {}
    for indicator in dict.fromkeys(observed):
        one = by_id.get(indicator)
        if one is not None:
            counts.setdefault(one.dimension, Counter())[one.strength[indicator_list]] += 1
    results = tuple(_result(one, counts[one]) for one in IndicatorDimension if one in counts)
    known_acts = tuple(dict.fromkeys(acts))
    positive = {one.dimension for one in results if one.is_positive}
    means = positive - {IndicatorDimension.EXPLOITATION}
    if indicator_list in _OF_CHILDREN:
        means_or_acts = bool(known_acts) or bool(positive & _RECRUITMENT)
    else:
        means_or_acts = bool(means)
    return Combination(
        indicator_list=indicator_list,
        dimensions=results,
        acts=known_acts,
        points_to_trafficking=IndicatorDimension.EXPLOITATION in positive and means_or_acts,
        not_listed=tuple(one for one in dict.fromkeys(observed) if one not in by_id),
    )


def _result(
    dimension: IndicatorDimension, counts: Mapping[IndicatorStrength, int]
) -> DimensionResult:
    return DimensionResult(
        dimension,
        counts[IndicatorStrength.STRONG],
        counts[IndicatorStrength.MEDIUM],
        counts[IndicatorStrength.WEAK],
    )
