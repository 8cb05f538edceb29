"""Differential privacy: noise in the counts hides whether any one person is counted (OpenDP).

Every cell without totals gets discrete Laplace noise of the scale 1 / epsilon: one case more or
less changes one of them by one. Totals are sums of the noisy counts, so that they reveal no more.
Each further publication reveals more; the epsilons of a series add up, to a budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, exp, log, pi, sqrt
from typing import Any

from projections.statistics.cube import Cell, Counts, Cube

EPSILONS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Trade:
    """The loss of accuracy by one epsilon, and the privacy that it gives."""

    epsilon: float
    error_of_a_cell: float
    """The expected distance of a cell from the truth."""
    error_at_95: int
    """The distance that 19 of 20 cells keep within."""
    error_of_the_total: float
    """The expected distance of the grand total: of the sum of all cells' noise, about."""
    suppressed_share: float
    """How many of the cells with anyone in them are expected to come out below ``k``."""


def noisy(cube: Cube, counts: Counts, epsilon: float) -> dict[Cell, int]:
    """Return the count of every cell without totals, with noise.

    Raises ``ValueError`` if ``epsilon`` is not above 0 and at most 10.
    """
    cells = [cell for cell in cube.inner() if cell not in cube.impossible]
    measurement = _measurement(epsilon)
    released = measurement([counts.get(cell, 0) for cell in cells])
    return dict(zip(cells, map(int, released), strict=True))


def shown(cube: Cube, noisy_counts: Mapping[Cell, int], k: int) -> dict[Cell, int]:
    """Return every cell, totals too, whose noisy count is ``k`` or more."""
    return {cell: n for cell, n in cube.totals(noisy_counts).items() if n >= k}


def trade(cube: Cube, counts: Counts, k: int, epsilon: float) -> Trade:
    """Compute the accuracy that an epsilon costs for this table.

    The result depends on the exact counts, so it is for the publisher alone.
    """
    alpha = exp(-epsilon)
    variance = 2 * alpha / (1 - alpha) ** 2
    size = sum(1 for _ in cube.inner())
    occupied = [count for count in counts.values() if count]
    below = sum(_below(k - count, alpha) for count in occupied)
    return Trade(
        epsilon=epsilon,
        error_of_a_cell=2 * alpha / (1 - alpha**2),
        error_at_95=max(0, ceil(log(0.05 * (1 + alpha) / 2) / log(alpha)) - 1),
        error_of_the_total=sqrt(2 * variance * size / pi),
        suppressed_share=below / len(occupied) if occupied else 0.0,
    )


def _below(bound: int, alpha: float) -> float:
    """Return the probability that discrete Laplace noise is below ``bound``."""
    if bound <= 0:
        return alpha ** (1 - bound) / (1 + alpha)
    return 1 - alpha**bound / (1 + alpha)


def _measurement(epsilon: float) -> Any:
    if not 0 < epsilon <= 10:
        raise ValueError("epsilon lies above 0, and at 10 at most")
    import opendp.prelude as dp  # loading it takes as long as all else here

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    measurement = dp.m.make_laplace(*space, scale=1 / epsilon)
    map_of: Any = measurement.map
    if map_of(1) > epsilon * (1 + 1e-9):
        raise ValueError("the noise is less than this epsilon asks for")
    return measurement
