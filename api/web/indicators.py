"""The assessments of operational indicators on a page, combined by the publication's rule."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.web.case_text import case_values
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.operational_indicators import Combination, combine
from ledger.vault.held_fields import Held
from ledger.vocabulary.indicators import (
    IndicatorList,
    IndicatorObserver,
    IndicatorsAssessed,
    OperationalIndicator,
    TraffickingAct,
)
from projections.folds.audit_trail import TrailEntry


@dataclass(frozen=True, slots=True)
class AssessedIndicators:
    """One assessment: who made it, by whom the indicators were observed, and the rule's result."""

    by: str
    acted_at: datetime
    observers: tuple[IndicatorObserver, ...]
    observed: tuple[OperationalIndicator, ...]
    combination: Combination
    """Of no dimension where no list fits."""


def assessed_indicators(
    trail: Sequence[TrailEntry], held: Iterable[Held], agreement: Agreement
) -> tuple[AssessedIndicators, ...]:
    """Return the assessments in force whose fields this country holds, the newest first.

    Each is combined by the lists of the version of the protocol that was in force when it was
    recorded.
    """
    annulled, values = annulled_ids(trail), case_values(trail, held)
    found = []
    for entry in trail:
        told = values[entry.action_id]
        if entry.kind != IndicatorsAssessed.kind or entry.action_id in annulled:
            continue
        try:
            read = IndicatorsAssessed.model_validate({"acted_at": entry.acted_at, **told})
        except ValueError:
            continue  # fields that this country does not hold, or that were erased
        listed = agreement.at(entry.position, entry.recorded_at).indicators
        found.append(
            AssessedIndicators(
                by=entry.agency,
                acted_at=entry.acted_at,
                observers=read.observers,
                observed=read.observed or (),
                combination=combine(
                    IndicatorList(read.indicator_list),
                    read.observed or (),
                    tuple(map(TraffickingAct, read.acts_of_trafficking or ())),
                    listed,
                ),
            )
        )
    return tuple(found[::-1])
