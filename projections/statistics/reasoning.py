"""The conclusions that a reader of a published table can draw by adding and subtracting.

This checks :mod:`projections.statistics.cell_suppression` by other means. It works out, from the
shown counts alone, the range in which each hidden count must lie.
"""

from collections.abc import Iterable, Mapping
from math import inf

from projections.statistics.cube import Cell, Cube

Range = tuple[float, float]
_ROUNDS = 200


class NotSafeError(ValueError):
    """A hidden count can be worked out; nothing is published."""


def ranges(cube: Cube, shown: Mapping[Cell, int]) -> dict[Cell, Range]:
    """Return the range in which each cell's count must lie.

    Counts are not negative, and parts add up to their total.
    """
    found: dict[Cell, Range] = {
        cell: (shown[cell], shown[cell]) if cell in shown else (0, inf) for cell in cube.cells()
    }
    sums = [
        (cell, cube.parts(cell, n))
        for cell in found
        for n, value in enumerate(cell)
        if value is None
    ]
    for _ in range(_ROUNDS):
        changed = [_narrow(found, total, parts) for total, parts in sums]
        if not any(changed):
            break
    return found


def check_bounds(cube: Cube, shown: Mapping[Cell, int], small: Iterable[Cell], k: int) -> None:
    """Check that each small cell's range is at least ``k`` wide.

    Raises ``NotSafeError`` if one is narrower.
    """
    found = ranges(cube, shown)
    for cell in small:
        least, most = found[cell]
        if most - least < k:
            raise NotSafeError("a hidden count could be worked out; nothing is published")


def _narrow(found: dict[Cell, Range], total: Cell, parts: list[Cell]) -> bool:
    """Narrow the ranges of a total and of its parts by each other.

    Returns whether any range became narrower.
    """
    least, most = sum(found[p][0] for p in parts), sum(found[p][1] for p in parts)
    changed = _set(found, total, least, most)
    total_least, total_most = found[total]
    for part in parts:
        own_least, own_most = found[part]
        others_most = (
            sum(found[p][1] for p in parts if p != part) if most == inf else most - own_most
        )
        low = total_least - others_most if others_most != inf else 0
        changed |= _set(found, part, low, total_most - (least - own_least))
        new_least, new_most = found[part]
        least += new_least - own_least
        if most != inf:
            most += new_most - own_most
    return changed


def _set(found: dict[Cell, Range], cell: Cell, least: float, most: float) -> bool:
    before = found[cell]
    found[cell] = (max(before[0], least), min(before[1], most))
    return found[cell] != before
