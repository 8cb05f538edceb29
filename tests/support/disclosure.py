"""Someone who tries to find a person in published counts: by linking, and by exact arithmetic."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm

from projections.statistics.cube import Cell, Cube

Row = list[int]


@dataclass(frozen=True)
class Attacker:
    """Knows the table's form, the counts that are shown, and how to solve equations."""

    cube: Cube
    shown: Mapping[Cell, int]

    def range(self, cell: Cell) -> tuple[Fraction, Fraction | None]:
        """The least and the greatest count that a cell can have; ``None`` for no bound."""
        variables = {inner: n for n, inner in enumerate(self.cube.inner())}
        equations = [([0] * len(variables), count) for count in self.shown.values()]
        for (row, _), shown in zip(equations, self.shown, strict=True):
            for inner in self.cube.below(shown):
                row[variables[inner]] = 1
        goal = [0] * len(variables)
        for inner in self.cube.below(cell):
            goal[variables[inner]] = 1
        least = maximum([-g for g in goal], equations)
        assert least is not None
        return -least, maximum(goal, equations)

    def finds(self, people: Sequence[Cell], k: int) -> set[tuple[Cell, Cell]]:
        """People whom what is known of them, some attributes or all, links to a small group.

        That is a group that surely has someone in it, and surely fewer than ``k``.
        """
        ranges: dict[Cell, tuple[Fraction, Fraction | None]] = {}
        found = set()
        for person in set(people):
            for group in _groups(person):
                if group not in ranges:
                    ranges[group] = self.range(group)
                least, most = ranges[group]
                if least >= 1 and most is not None and most < k:
                    found.add((person, group))
        return found


def _groups(person: Cell) -> Iterator[Cell]:
    for size in range(len(person) + 1):
        for known in combinations(range(len(person)), size):
            yield tuple(value if n in known else None for n, value in enumerate(person))


def maximum(goal: Sequence[int], equations: Sequence[tuple[Row, int]]) -> Fraction | None:
    """The greatest value of a sum over numbers that are not negative; ``None`` for no bound.

    The simplex method by Bland's rule. It is exact: each row has whole numbers, which count as
    divided by the positive number of its basic variable. Fractions would take ten times as long.
    """
    size, count = len(goal), len(equations)
    table = [
        [*row, *(int(n == m) for m in range(count)), value]
        for n, (row, value) in enumerate(equations)
    ]
    basis = [size + n for n in range(count)]
    artificial = [0] * size + [-1] * count
    assert _improve(table, basis, artificial, size + count)
    assert all(table[n][-1] == 0 for n, v in enumerate(basis) if v >= size), "there is no table"
    for n in range(count):  # an artificial number that stayed, at 0, must not grow again
        if basis[n] >= size:
            column = next((c for c in range(size) if table[n][c] != 0), None)
            if column is not None:
                _pivot(table, basis, n, column)
    if not _improve(table, basis, [*goal, *([0] * count)], size):
        return None
    return sum(
        (
            Fraction(goal[v] * row[-1], row[v])
            for row, v in zip(table, basis, strict=True)
            if v < size
        ),
        Fraction(0),
    )


def _improve(table: list[Row], basis: list[int], goal: Row, usable: int) -> bool:
    """Improve as far as it goes; ``False`` where there is no bound."""
    gains = _gains(table, basis, goal)
    while True:
        inside = set(basis)
        entering = next((c for c in range(usable) if gains[c] > 0 and c not in inside), None)
        if entering is None:
            return True
        ratios = [
            (Fraction(row[-1], row[entering]), basis[n], n)
            for n, row in enumerate(table)
            if row[entering] > 0
        ]
        if not ratios:
            return False
        at = min(ratios)[2]
        _pivot(table, basis, at, entering)
        gains = _without(gains, table[at], entering)


def _gains(table: list[Row], basis: list[int], goal: Row) -> Row:
    """A positive multiple of the sum's growth with each number, by the present basis."""
    common = lcm(*(row[v] for row, v in zip(table, basis, strict=True)))
    gains = [common * value for value in (*goal, 0)]
    for row, v in zip(table, basis, strict=True):
        if goal[v] != 0:
            times = goal[v] * (common // row[v])
            gains = [a - times * b for a, b in zip(gains, row, strict=True)]
    return gains


def _pivot(table: list[Row], basis: list[int], at: int, column: int) -> None:
    if table[at][column] < 0:
        table[at] = [-value for value in table[at]]
    for n, row in enumerate(table):
        if n != at:
            table[n] = _without(row, table[at], column)
    basis[at] = column


def _without(row: Row, pivot: Row, column: int) -> Row:
    """A positive multiple of the row, less the multiple of the pivot's that clears a column."""
    times, by = row[column], pivot[column]
    if times == 0:
        return row
    changed = [by * a - times * b for a, b in zip(row, pivot, strict=True)]
    shared = gcd(*changed)
    return [value // shared for value in changed] if shared > 1 else changed
