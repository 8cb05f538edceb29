"""Figures in which no small count can be worked out: each count is rounded down.

An analyst reads the figures at any time and chooses countries and stages. So each finest count is
rounded, before any choice or sum: sums and differences of rounded counts tell nothing more.
"""

from dataclasses import replace

from projections.folds.caseload_indicators import Figures
from projections.statistics.cell_suppression import FLOOR

_QUARTERS = 4


def rounded(figures: Figures, k: int = FLOOR) -> Figures:
    """Return figures with each count rounded down to a multiple of ``k``.

    A count below ``k`` is left out, as 0 is. Times to return are those of countries that received
    so many persons that each quarter has ``k`` of them. The shortest and the longest time, and the
    single cases, are left out.
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
        replace(one, cases=one.cases // k * k, shortest=None, longest=None)
        for one in figures.times
        if one.cases >= _QUARTERS * k
    )
    return Figures(down["caseload"], down["flows"], returned=(), times=times)
