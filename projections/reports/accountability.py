"""Questions over obligations: how fast each answers, what is overdue, and each two's balance.

Pure functions of rows and a moment. The times are those that agencies signed (``acted_at``), as
deadlines are; both times are in each obligation. Shares are in thousandths, so that every number
here is whole and two programs find the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations

from ledger.procedure.conditions import Standing
from ledger.vocabulary.action import LedgerModel
from projections.folds.obligation_terms import (
    Dimension,
    ObligationKind,
    ObligationOutcome,
    ObligationState,
    is_over,
)
from projections.folds.obligations import Obligation

ANY = "any"
"""Stands for a country or an agency where any may do what is owed."""
UNMARKED = "unmarked"
"""Stands for the mark of a deadline without one."""
_SECOND = timedelta(seconds=1)


class ObligationStanding(StrEnum):
    """The state of an obligation at a moment."""

    ON_TIME = "on_time"
    LATE = "late"
    UNDATED = "undated"
    """Discharged, and nobody had said by when."""
    OPEN = "open"
    PAST_EXPECTED = "past_expected"
    """Open, and past the day of a deadline that the protocol only assumes. Nobody is late."""
    OVERDUE = "overdue"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Debt:
    """The part of an obligation that reports need."""

    kind: ObligationKind
    debtor: str | None
    agency: str | None
    creditors: Sequence[str]
    opened_at: datetime
    due: datetime | None
    closed_at: datetime | None
    state: ObligationState
    late: bool | None
    expected_by: datetime | None = None
    mark: Standing | None = None
    """The mark of the deadline, where the protocol has one."""
    action: str = ""
    """The kind of action that is owed."""

    @classmethod
    def of(cls, obligation: Obligation) -> "Debt | None":
        """Return the debt of an obligation, or ``None`` if the obligation was annulled.

        An obligation that stood on an annulled action was never owed.
        """
        if obligation.outcome is ObligationOutcome.ANNULLED:
            return None
        closed = obligation.closed
        return cls(
            kind=obligation.kind,
            debtor=obligation.debtor,
            agency=obligation.debtor_agency,
            creditors=obligation.creditors,
            opened_at=obligation.opened.acted_at,
            due=obligation.due,
            closed_at=closed.acted_at if closed is not None else None,
            state=obligation.state,
            late=obligation.late,
            expected_by=obligation.expected_by,
            mark=obligation.standing,
            action=obligation.action,
        )

    def standing(self, moment: datetime) -> ObligationStanding | None:
        """Return how the debt stood at ``moment``, or ``None`` before it was opened.

        The answer uses all that is recorded now.
        """
        if self.opened_at > moment:
            return None
        if self.closed_at is None or self.closed_at > moment:
            if is_over(self.action, self.due, self.expected_by, moment):
                return ObligationStanding.LAPSED
            if self.due is not None and self.due < moment:
                return ObligationStanding.OVERDUE
            is_past = self.expected_by is not None and self.expected_by < moment
            return ObligationStanding.PAST_EXPECTED if is_past else ObligationStanding.OPEN
        if self.state is ObligationState.LAPSED and not self.late:
            return ObligationStanding.LAPSED
        if self.late is None:
            return ObligationStanding.UNDATED
        return ObligationStanding.LATE if self.late else ObligationStanding.ON_TIME

    @property
    def seconds(self) -> int | None:
        """Return the seconds from the opening to the closing, or ``None`` while the debt is open.

        The value is 0 if the agencies signed that the step was done before it was asked for.
        """
        if self.closed_at is None:
            return None
        return max(0, (self.closed_at - self.opened_at) // _SECOND)


class ObligationTally(LedgerModel):
    """The numbers of obligations in each state."""

    owed: int = 0
    """All of the others together."""
    on_time: int = 0
    late: int = 0
    undated: int = 0
    """Discharged, and nobody had said by when."""
    open: int = 0
    """Neither overdue nor past an expected day."""
    past_expected: int = 0
    """Open, and past the day of a deadline that the protocol only assumes. Nobody is late."""
    overdue: int = 0
    lapsed: int = 0

    @property
    def on_time_permille(self) -> int | None:
        """Return how many of a thousand obligations due by then were discharged on time."""
        were_due = self.on_time + self.late + self.overdue
        return self.on_time * 1000 // were_due if were_due else None


class ResponseTimes(ObligationTally):
    """The times in which some obligations were discharged."""

    country: str | None = None
    """``any``: those that any party to a case may discharge. ``None``: all countries' together."""
    agency: str | None = None
    """``any``: those that are no one agency's. ``None``: all agencies' together."""
    kind: ObligationKind | None = None
    """``None``: of every kind."""
    standing: str | None = None
    """The mark of the deadlines; ``unmarked`` where the protocol has no mark, or an action of the
    case set the day. ``None``: all together."""
    share_on_time: int | None = None
    """In thousandths, of those that were due by then."""
    median_seconds: int | None = None
    p90_seconds: int | None = None
    max_seconds: int | None = None


class Balance(LedgerModel):
    """The obligations of two countries towards each other."""

    countries: tuple[str, str]
    first_owes: ObligationTally
    """The obligations of the first to the second, open and closed."""
    second_owes: ObligationTally


def tally(standings: Iterable[ObligationStanding]) -> ObligationTally:
    """Count the obligations of each standing."""
    return ObligationTally(**_counts(standings))


def overdue(obligations: Iterable[Obligation], moment: datetime) -> list[Obligation]:
    """Return the obligations that were due before ``moment`` and open then.

    The longest overdue is first.
    """
    late = (o for o in obligations if o.is_overdue(moment))
    return sorted(late, key=lambda o: (o.due or moment, o.id))


def response_times(
    debts: Iterable[Debt],
    moment: datetime,
    by: Sequence[Dimension] = (Dimension.COUNTRY, Dimension.KIND),
) -> list[ResponseTimes]:
    """Return how fast obligations were discharged by ``moment``, grouped by some dimensions.

    Quantiles are nearest ranks: each is a time that was measured, not a value between two times.
    """
    groups: dict[tuple[str, ...], tuple[list[ObligationStanding], list[int]]] = {}
    for debt in debts:
        standing = debt.standing(moment)
        if standing is None:
            continue
        key = tuple(_DIMENSIONS[dimension](debt) for dimension in by)
        standings, seconds = groups.setdefault(key, ([], []))
        standings.append(standing)
        if standing in _DISCHARGED and debt.seconds is not None:
            seconds.append(debt.seconds)
    return [_times(dict(zip(by, key, strict=True)), *groups[key]) for key in sorted(groups)]


def reciprocity(debts: Iterable[Debt], moment: datetime, countries: Iterable[str]) -> list[Balance]:
    """Return the debts between each two of ``countries`` at ``moment``, by standing.

    A step that any party may do is not counted, and neither is one owed within a country.
    """
    directions: dict[tuple[str, str], list[ObligationStanding]] = {}
    for debt in debts:
        standing = debt.standing(moment)
        if standing is not None and debt.debtor is not None:
            for creditor in debt.creditors:
                directions.setdefault((debt.debtor, creditor), []).append(standing)
    return [
        Balance(
            countries=(one, other),
            first_owes=tally(directions.get((one, other), ())),
            second_owes=tally(directions.get((other, one), ())),
        )
        for one, other in combinations(sorted(countries), 2)
    ]


_DISCHARGED = (ObligationStanding.ON_TIME, ObligationStanding.LATE, ObligationStanding.UNDATED)
_DIMENSIONS: Mapping[Dimension, Callable[[Debt], str]] = {
    Dimension.COUNTRY: lambda debt: debt.debtor or ANY,
    Dimension.AGENCY: lambda debt: debt.agency or ANY,
    Dimension.KIND: lambda debt: debt.kind.value,
    Dimension.STANDING: lambda debt: debt.mark or UNMARKED,
}


def _times(
    group: Mapping[str, str], standings: Sequence[ObligationStanding], seconds: Sequence[int]
) -> ResponseTimes:
    ranked = sorted(seconds)
    counts = _counts(standings)
    return ResponseTimes.model_validate(
        {
            **group,
            **counts,
            "share_on_time": ObligationTally(**counts).on_time_permille,
            "median_seconds": _rank(ranked, 50),
            "p90_seconds": _rank(ranked, 90),
            "max_seconds": ranked[-1] if ranked else None,
        }
    )


def _counts(standings: Iterable[ObligationStanding]) -> dict[str, int]:
    counts = dict.fromkeys((standing.value for standing in ObligationStanding), 0)
    for standing in standings:
        counts[standing.value] += 1
    return {"owed": sum(counts.values()), **counts}


def _rank(ranked: Sequence[int], percent: int) -> int | None:
    """Return the nearest rank: the least item that ``percent`` of the items do not exceed."""
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else None
