"""Choose the cells of a table that can be shown without revealing the others.

Everything is hidden to begin with. A cell is shown if its count is large enough and every small
cell stays protected without it. A small cell is protected by a *move*: another table in which the
shown cells have the same counts. A move adds and subtracts one number at the corners of a box of
cells, so that no shown total changes. The largest such number, before a count would be negative, is
the width of the range in which the hidden count can lie, for all that anyone can work out. (The
method is known as the hypercube method of cell suppression.)

A count of 0 is hidden like any small count: a reader of the table does not learn which of the two
it is. The numbers themselves prove a move; no solver has to be trusted.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

from projections.statistics.cube import Cell, Counts, Cube

FLOOR = 5
"""The smallest ``k`` that may be asked for."""


@dataclass(frozen=True, slots=True)
class Move:
    """Another table that would show the same: these cells differ, and no other."""

    touched: frozenset[Cell]
    down: int
    """How far the protected count can be lowered."""
    up: int | None
    """How far it can be raised; ``None`` where there is no bound."""

    def is_as_wide_as(self, k: int) -> bool:
        return self.up is None or self.down + self.up >= k


@dataclass
class Protection:
    """The hidden cells of a table, and the move that protects each small one.

    ``floor`` has the least count that each cell without totals had in any publication: a move
    has to be possible in every one of them at once.
    """

    cube: Cube
    k: int
    floor: Counts
    hidden: set[Cell]
    small: frozenset[Cell]
    """The cells that need protection: with a count of 1 to ``k`` - 1."""
    movable: tuple[tuple[str, ...], ...]
    """The categories that every publication had: a move in all of them has no others."""
    wanted: frozenset[Cell] = frozenset()
    """The cells that are large enough to be shown."""
    moves: dict[Cell, Move] = field(default_factory=dict)
    _users: dict[Cell, set[Cell]] = field(default_factory=dict)

    def protect_all(self) -> list[Cell]:
        """Find a move for each small cell, and return the cells for which there is none."""
        unprotected = []
        for cell in sorted(self.small, key=_in_order):
            move = self.find(cell)
            if move is None:
                unprotected.append(cell)
            else:
                self._use(cell, move)
        return unprotected

    def show_what_can_be(self, candidates: Mapping[Cell, int]) -> None:
        """Show as many of the candidates as can be: totals first, and the largest first."""
        order = sorted(candidates, key=lambda c: (-c.count(None), -candidates[c], _in_order(c)))
        while shown := [cell for cell in order if self._show(cell)]:
            order = [cell for cell in order if cell not in set(shown)]

    def _show(self, cell: Cell) -> bool:
        self.hidden.discard(cell)
        found: dict[Cell, Move] = {}
        for user in sorted(self._users.get(cell, ()), key=_in_order):
            move = self.find(user)
            if move is None:
                self.hidden.add(cell)
                return False
            found[user] = move
        for user, move in found.items():
            self._use(user, move)
        return True

    def _use(self, cell: Cell, move: Move) -> None:
        before = self.moves.get(cell)
        for touched in before.touched if before is not None else ():
            self._users[touched].discard(cell)
        self.moves[cell] = move
        for touched in move.touched:
            self._users.setdefault(touched, set()).add(cell)

    def find(self, cell: Cell) -> Move | None:
        """Return a move of hidden cells that protects a cell, or ``None`` if there is none."""
        values = zip(cell, self.movable, strict=True)
        if cell not in self.hidden or any(v is not None and v not in known for v, known in values):
            return None
        fixed = [n for n, value in enumerate(cell) if value is not None]
        for size in range(len(fixed), -1, -1):
            moves = (
                move
                for turned in combinations(fixed, size)
                for move in self._moves(cell, turned)
                if move.is_as_wide_as(self.k)
            )
            # Of those, the one that keeps the fewest counts from being shown.
            best = min(moves, key=lambda move: len(move.touched & self.wanted), default=None)
            if best is not None:
                return best
        return None

    def _moves(self, cell: Cell, turned: Sequence[int]) -> Iterator[Move]:
        """Yield the moves of each box that spans the dimensions ``turned`` from the cell.

        The cell is a corner of the box.
        """
        free = [n for n, value in enumerate(cell) if value is None]
        others = [[value for value in self.movable[n] if value != cell[n]] for n in turned]
        for carried in product(*(self.movable[n] for n in free)):
            start: list[str | None] = list(cell)
            for n, value in zip(free, carried, strict=True):
                start[n] = value
            for other in product(*others):
                corners = list(_corners(tuple(start), turned, other))
                touched = self._touched(corners, turned)
                if touched is not None:
                    yield self._move(corners, touched)

    def _touched(
        self, corners: Iterable[tuple[Cell, bool]], turned: Collection[int]
    ) -> frozenset[Cell] | None:
        """Return the corners and the totals that change with them, or ``None`` if one is shown.

        The totals are those over other dimensions than ``turned``.
        """
        touched = set()
        for corner, _ in corners:
            if corner in self.cube.impossible:
                return None
            choices = ((value,) if n in turned else (value, None) for n, value in enumerate(corner))
            for changed in product(*choices):
                if changed not in self.hidden:
                    return None
                touched.add(changed)
        return frozenset(touched)

    def _move(self, corners: Sequence[tuple[Cell, bool]], touched: frozenset[Cell]) -> Move:
        with_it = [self.floor.get(corner, 0) for corner, same in corners if same]
        against = [self.floor.get(corner, 0) for corner, same in corners if not same]
        return Move(touched, min(with_it), min(against) if against else None)


def _corners(
    start: Cell, turned: Sequence[int], other: Sequence[str]
) -> Iterator[tuple[Cell, bool]]:
    """Yield the corners of a box, and whether each changes in the direction of the first."""
    for turns in product((False, True), repeat=len(turned)):
        corner = list(start)
        for n, value, turn in zip(turned, other, turns, strict=True):
            if turn:
                corner[n] = value
        yield tuple(corner), sum(turns) % 2 == 0


def _in_order(cell: Cell) -> tuple[str, ...]:
    return tuple(value or "" for value in cell)
