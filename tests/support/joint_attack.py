"""Someone who has every table that countries published, one after another, and a solver.

The solver is HiGHS. It answers in whole numbers, as counts of persons are: what least and what
greatest count can a cell have, given all that was published?
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import highspy
import numpy as np

from projections.statistics.cube import Cell, Cube


@dataclass(frozen=True)
class JointTold:
    """A joint table as it is published: the counts that are whole, and the least of the others."""

    counts: Mapping[Cell, int]
    at_least: Mapping[Cell, int]


class JointAttacker:
    """Knows one table of each country at one moment, and the joint one.

    ``told`` has each country's shown counts. Counts below a known bound are not assumed: a hidden
    count may be any number from 0 on.
    """

    def __init__(
        self, cube: Cube, told: Mapping[str, Mapping[Cell, int]], joint: JointTold | None = None
    ) -> None:
        self._cube, self._told = cube, told
        self._inner = [cell for cell in cube.inner() if cell not in cube.impossible]
        self._columns = {
            (country, cell): n
            for n, (country, cell) in enumerate(
                (country, cell) for country in told for cell in self._inner
            )
        }
        self._solver = highspy.Highs()
        self._solver.setOptionValue("output_flag", False)
        for _ in self._columns:
            self._solver.addVar(0, highspy.kHighsInf)
        size = len(self._columns)
        self._solver.changeColsIntegrality(
            size,
            np.arange(size, dtype=np.int32),
            np.full(size, highspy.HighsVarType.kInteger),
        )
        for country, shown in told.items():
            for cell, count in shown.items():
                self._row(self._of(cell, [country]), count, count)
        if joint is not None:
            for cell, count in joint.counts.items():
                self._row(self._of(cell, told), count, count)
            for cell, least in joint.at_least.items():
                self._row(self._of(cell, told), least, highspy.kHighsInf)

    def range(self, country: str, cell: Cell) -> tuple[int, int | None]:
        """Return the least and the greatest count of a cell of one country."""
        return self._bounds(self._of(cell, [country]))

    def joint_range(self, cell: Cell) -> tuple[int, int | None]:
        """Return the least and the greatest count of a cell of all countries together."""
        return self._bounds(self._of(cell, self._told))

    def _of(self, cell: Cell, countries: Iterable[str]) -> list[int]:
        return [
            self._columns[country, one]
            for country in countries
            for one in self._cube.below(cell)
            if (country, one) in self._columns
        ]

    def _row(self, columns: Sequence[int], least: float, most: float) -> None:
        index = np.array(columns, dtype=np.int32)
        self._solver.addRow(least, most, len(columns), index, np.ones(len(columns)))

    def _bounds(self, columns: Sequence[int]) -> tuple[int, int | None]:
        size = len(self._columns)
        costs = np.zeros(size)
        costs[list(columns)] = 1.0
        self._solver.changeColsCost(size, np.arange(size, dtype=np.int32), costs)
        found: list[int | None] = []
        for sense in (highspy.ObjSense.kMinimize, highspy.ObjSense.kMaximize):
            self._solver.changeObjectiveSense(sense)
            self._solver.run()
            status = self._solver.getModelStatus()
            if status in (
                highspy.HighsModelStatus.kUnbounded,
                highspy.HighsModelStatus.kUnboundedOrInfeasible,
            ):
                found.append(None)
                continue
            assert status == highspy.HighsModelStatus.kOptimal, status
            found.append(round(self._solver.getObjectiveValue()))
        least, most = found
        assert least is not None
        return least, most
