"""A table of counts by some dimensions, with every total that there is of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

Cell = tuple[str | None, ...]
"""A value for each dimension; ``None`` where it is the total over that dimension."""
Counts = Mapping[Cell, int]
"""Of cells without totals; what is not named is 0."""
MOST_CELLS = 20_000


class TooLargeError(ValueError):
    """A table has more cells than can be protected."""


@dataclass(frozen=True)
class Cube:
    """The cells of a table. Its categories are known to everyone, whatever is counted."""

    dimensions: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    impossible: frozenset[Cell] = frozenset()
    """The cells without a total that everyone knows to be empty, such as a country in a year in
    which it was no party. No table lists them, and they protect no other count."""

    def __post_init__(self) -> None:
        size = prod(len(values) + 1 for values in self.categories)
        if size > MOST_CELLS:
            raise TooLargeError(
                f"a table by {', '.join(self.dimensions)} has {size} cells with its totals, and "
                f"{MOST_CELLS} are the most; choose fewer dimensions"
            )

    def inner(self) -> Iterator[Cell]:
        """Yield every cell without a total."""
        yield from product(*self.categories)

    def cells(self) -> Iterator[Cell]:
        """Yield every cell, totals included."""
        yield from product(*((None, *values) for values in self.categories))

    def listed(self) -> Iterator[Cell]:
        """Yield every cell that a table lists, totals included: not those that must be empty."""
        for cell in self.cells():
            if not self.impossible or any(one not in self.impossible for one in self.below(cell)):
                yield cell

    def below(self, cell: Cell) -> Iterator[Cell]:
        """Yield the cells without a total whose sum is a cell."""
        yield from product(
            *(
                values if value is None else (value,)
                for value, values in zip(cell, self.categories, strict=True)
            )
        )

    def parts(self, cell: Cell, dimension: int) -> list[Cell]:
        """Return the cells whose sum is a total over one dimension."""
        return [
            (*cell[:dimension], value, *cell[dimension + 1 :])
            for value in self.categories[dimension]
        ]

    def totals(self, counts: Counts) -> dict[Cell, int]:
        """Return the count of every cell, totals included."""
        made = dict.fromkeys(self.cells(), 0)
        for cell, count in counts.items():
            for above in above_of(cell):
                made[above] += count
        return made


def above_of(cell: Cell) -> Iterator[Cell]:
    """Yield a cell without a total, and every total that includes it."""
    yield from product(*((value, None) for value in cell))
