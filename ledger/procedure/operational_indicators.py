"""The rule of combination of the operational indicators, computed with its reasons.

Source: Operational indicators of trafficking in human beings: results from a Delphi survey
implemented by the ILO and the European Commission (ILO, 2009), as this program's authors read it.
The rule helps a person to decide. No rule of the ledger reads its result.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import model_validator

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.indicators import IndicatorList, OperationalIndicator, TraffickingAct


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


class ListedIndicator(LedgerModel):
    """One indicator of the protocol's lists."""

    indicator: OperationalIndicator
    dimension: IndicatorDimension
    strength: dict[IndicatorList, IndicatorStrength]
    """Its strength in each list that has it."""

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
