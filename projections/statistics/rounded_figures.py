"""Figures in which no small count can be worked out: each count is rounded down.

An analyst reads the figures at any time and chooses countries and stages. So each finest count is
rounded, before any choice or sum: sums and differences of rounded counts tell nothing more.
"""

from dataclasses import replace
from decimal import Decimal

from projections.folds.caseload_indicators import Figures
from projections.statistics.cell_suppression import FLOOR

_QUARTERS = 4
_WEEK = Decimal(7)


def rounded(figures: Figures, k: int = FLOOR) -> Figures:
    """Return figures with each count rounded down to a multiple of ``k``.

    A count below ``k`` is left out, as 0 is. Times to return are those of countries that received
    so many persons that each quarter has ``k`` of them. They are in whole weeks, because from day
    to day an exact one tells of the person who was received. The shortest and the longest time, and
    the single cases, are left out.
    """
    down = {
        name: tuple(
            replace(one, cases=one.cases // k * k)
            for one in getattr(figures, name)
            if one.cases >= k
        )
        for name in ("caseload", "flows")
    }
    times = tuple(
        replace(
            one,
            cases=one.cases // k * k,
            shortest=None,
            lower=_in_weeks(one.lower),
            median=_in_weeks(one.median),
            upper=_in_weeks(one.upper),
            longest=None,
        )
        for one in figures.times
        if one.cases >= _QUARTERS * k
    )
    return Figures(down["caseload"], down["flows"], returned=(), times=times)


def _in_weeks(days: Decimal) -> Decimal:
    """Return days rounded to whole weeks, as days."""
    return _WEEK * (days / _WEEK).to_integral_value()
