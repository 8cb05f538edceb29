"""Publications of one table over time: the counts that may be shown next, after all earlier ones.

The record of a series holds the counts that were used, small ones too: it is not for publication.
From one publication to the next

- a count without totals stays as it was used before, unless it has changed by ``k`` or more;
- so do the counts under a shown total, if that total, or the sum of its hidden parts, would change
  by less than ``k``, or fall below it;
- a cell that was shown once is shown from then on, and a cell that was small stays protected in all
  publications together, even from a reader who knows which counts have changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ledger.vocabulary.action import LedgerModel
from projections.statistics.cell_suppression import FLOOR, Protection
from projections.statistics.cube import Cell, Counts, Cube

CountedCell = tuple[tuple[str | None, ...], int]


class SeriesError(ValueError):
    """A publication does not go with those before it; the message says why."""


class Series(LedgerModel):
    """The publications of one table so far."""

    format: Literal[1] = 1
    dimensions: tuple[str, ...]
    k: Annotated[int, Field(ge=FLOOR)]
    categories: tuple[tuple[str, ...], ...]
    first_categories: tuple[tuple[str, ...], ...] = ()
    """Those of the first publication."""
    publications: int = 0
    position: int = 0
    """How far the ledger was counted in the last one."""
    used: tuple[CountedCell, ...] = ()
    """The counts without totals that the last one used."""
    floor: tuple[CountedCell, ...] = ()
    """The least that each was in any one; 0 where there is none."""
    shown: tuple[tuple[str | None, ...], ...] = ()
    small: tuple[tuple[str | None, ...], ...] = ()
    """The cells that were hidden with a small count in any one."""


@dataclass(frozen=True, slots=True)
class Published:
    """A table as it may be seen: a count for each cell that is shown."""

    cube: Cube
    k: int
    counts: Mapping[Cell, int]


def begin(dimensions: tuple[str, ...], k: int) -> Series:
    """Return a series without a publication.

    Raises ``SeriesError`` if ``k`` is too small.
    """
    if k < FLOOR:
        raise SeriesError(f"groups of fewer than {FLOOR} are never shown; choose a larger k")
    return Series(dimensions=dimensions, k=k, categories=tuple(() for _ in dimensions))


def publish(series: Series, cube: Cube, counts: Counts, position: int) -> tuple[Published, Series]:
    """Return the next publication of ``counts``, and the series that includes it.

    Raises ``SeriesError`` if the publication does not go with the earlier ones.
    """
    if cube.dimensions != series.dimensions:
        raise SeriesError(
            f"this series is by {', '.join(series.dimensions)}; tables by other dimensions of the "
            "same cases could be held against it, so publish none"
        )
    if position < series.position:
        raise SeriesError(f"the last publication counted up to position {series.position}")
    cube = _grown(series, cube)
    before = dict(series.used)
    is_first = series.publications == 0
    shown = set(series.shown)
    used = dict(counts) if is_first else _stepped(cube, series.k, before, counts, shown)
    protection, left = _protected(cube, series, used)
    if left and not is_first:
        # What protects a small count must not shrink under it.
        used = _without_falls(before, used, {c for c in cube.inner() if c not in shown})
        used = _stepped(cube, series.k, before, used, shown)
        protection, left = _protected(cube, series, used)
    if left and not is_first:
        used = before
        protection, left = _protected(cube, series, used)
    if left:
        raise SeriesError("these counts cannot be protected; nothing is published")
    totals = cube.totals(used)
    earlier = cube.totals(before)
    protection.show_what_can_be(
        {
            cell: count
            for cell, count in totals.items()
            if cell in protection.hidden
            and count >= series.k
            and _is_step(count - earlier[cell], series.k)
            and cell not in protection.small
        }
    )
    now_shown = set(totals) - protection.hidden
    published = Published(
        cube, series.k, {cell: totals[cell] for cell in sorted(now_shown, key=_key)}
    )
    return published, series.model_copy(
        update={
            "categories": cube.categories,
            "first_categories": series.first_categories if not is_first else cube.categories,
            "publications": series.publications + 1,
            "position": position,
            "used": _listed(used),
            "floor": _listed(protection.floor),
            "shown": tuple(sorted(now_shown, key=_key)),
            "small": tuple(sorted(protection.small, key=_key)),
        }
    )


def _grown(series: Series, cube: Cube) -> Cube:
    """Return the table with the categories of all publications."""
    merged = (
        tuple(dict.fromkeys((*before, *now)))
        for before, now in zip(series.categories, cube.categories, strict=True)
    )
    return Cube(cube.dimensions, tuple(merged), cube.impossible)


def _protected(cube: Cube, series: Series, used: Counts) -> tuple[Protection, list[Cell]]:
    floor = dict(used)
    if series.publications:
        known = dict(series.floor)
        floor = {c: min(n, known.get(c, 0)) for c, n in used.items() if known.get(c, 0)}
    totals = cube.totals(used)
    shown = set(series.shown)
    hidden = {cell for cell in totals if cell not in shown}
    small = {cell for cell in hidden if 0 < totals[cell] < series.k} | set(series.small)
    wanted = frozenset(cell for cell in hidden - small if totals[cell] >= series.k)
    movable = series.first_categories if series.publications else cube.categories
    protection = Protection(cube, series.k, floor, hidden, frozenset(small), movable, wanted)
    return protection, protection.protect_all()


def _stepped(
    cube: Cube, k: int, before: Counts, counts: Counts, shown: Iterable[Cell]
) -> dict[Cell, int]:
    """Return counts that differ from the counts before by 0, or by ``k`` or more.

    This holds for each count alone and for the shown totals.
    """
    used = dict(before)
    for cell in {*before, *counts}:
        count = counts.get(cell, 0)
        if _is_step(count - before.get(cell, 0), k):
            used[cell] = count
    watched, shown = sorted(shown, key=_key), set(shown)
    is_settled = False
    while not is_settled:
        is_settled = True
        totals, earlier = cube.totals(used), cube.totals(before)
        for cell in watched:
            if _may_follow(cube, k, cell, totals, earlier, shown):
                continue
            for inner in cube.below(cell):
                used[inner] = before.get(inner, 0)
            is_settled = False
            break
    return {cell: count for cell, count in used.items() if count}


def _may_follow(
    cube: Cube,
    k: int,
    cell: Cell,
    totals: Mapping[Cell, int],
    earlier: Mapping[Cell, int],
    shown: set[Cell],
) -> bool:
    """Return whether a shown cell changes by 0 or by a step of ``k`` or more.

    The sum of the cell's hidden parts must do so too.
    """
    if totals[cell] < k or not _unchanged_or_step(totals[cell] - earlier[cell], k):
        return False
    for dimension, value in enumerate(cell):
        if value is None:
            left = [part for part in cube.parts(cell, dimension) if part not in shown]
            change = sum(totals[part] - earlier[part] for part in left)
            if not _unchanged_or_step(change, k):
                return False
    return True


def _without_falls(before: Counts, used: Counts, hidden: set[Cell]) -> dict[Cell, int]:
    """Return the counts, with each hidden count no lower than it was before."""
    return {
        cell: max(used.get(cell, 0), before.get(cell, 0)) if cell in hidden else used.get(cell, 0)
        for cell in {*before, *used}
    }


def _is_step(change: int, k: int) -> bool:
    return abs(change) >= k


def _unchanged_or_step(change: int, k: int) -> bool:
    return change == 0 or _is_step(change, k)


def _listed(counts: Counts) -> tuple[CountedCell, ...]:
    return tuple((cell, counts[cell]) for cell in sorted(counts, key=_key) if counts[cell])


def _key(cell: Cell) -> tuple[str, ...]:
    return tuple(value or "" for value in cell)
