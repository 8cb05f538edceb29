"""Tables of several countries together, made of what each country published.

A country counts and protects its own persons first; nobody needs another country's records. So a
joint table tells nothing that the published tables do not tell together. A cell has a count where
every country shows its own. Where some hide theirs, the sum of the others is the least that it can
be.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet
from pydantic import Field, ValidationError

from ledger.system.bounded_files import NotReadableError, read_ordinary
from ledger.vocabulary.action import LedgerModel
from projections.columnar.manifest import write_durably
from projections.statistics import ctdc
from projections.statistics.cube import Cell, Cube
from projections.statistics.publication_files import (
    TOTAL,
    PublicationMetadata,
    write_table,
)

_MOST_BYTES = 16_000_000
NOTE = (
    "A count is the sum of the counts that the countries published, where all of them show one. "
    "at_least is the sum of those that are shown; shown_by is how many countries show one."
)
NOISY_NOTE = " The published counts have random noise, which adds up."


class JointError(ValueError):
    """Publications do not go together; the message says why."""


@dataclass(frozen=True, slots=True)
class ReadPublication:
    """A publication as its files tell it."""

    about: PublicationMetadata
    cube: Cube
    told: Mapping[Cell, int]
    sha256: str
    """Of ``table.parquet``."""


class JoinedPublication(LedgerModel):
    """The publication of one country that a joint table has."""

    number: int
    position: int
    root: str | None
    epsilon: float | None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class JointMetadata(LedgerModel):
    """The metadata of a joint table beside its files."""

    dimensions: tuple[str, ...]
    k: int
    """The largest of the countries' groups: a smaller count is shown by none of them."""
    countries: Mapping[str, JoinedPublication]
    cells: int
    shown: int
    note: str


@dataclass(frozen=True, slots=True)
class JointCell:
    """The sum that the countries together tell of one cell."""

    at_least: int
    shown_by: int
    count: int | None
    """``None`` where a country hides its own."""


@dataclass(frozen=True, slots=True)
class JointTable:
    """A table of several countries."""

    cube: Cube
    cells: Mapping[Cell, JointCell]

    @property
    def counts(self) -> Mapping[Cell, int]:
        """Return the counts of the cells that every country shows."""
        return {cell: one.count for cell, one in self.cells.items() if one.count is not None}


def read_publication(directory: Path) -> ReadPublication:
    """Read what ``statistics publish`` wrote into a directory.

    Raises ``JointError`` if its files are no publication.
    """
    try:
        about = PublicationMetadata.model_validate_json(
            read_ordinary(directory / "about.json", most_bytes=_MOST_BYTES)
        )
        content = read_ordinary(directory / "table.parquet", most_bytes=_MOST_BYTES)
        rows = parquet.read_table(pa.BufferReader(content)).to_pylist()
    except (NotReadableError, ValidationError, pa.ArrowInvalid) as error:
        raise JointError(
            f"{directory} is no publication; name a directory such as DIR/0001, which "
            "`statistics publish` wrote"
        ) from error
    names = about.dimensions
    if rows and set(rows[0]) != {*names, "count"}:
        raise JointError(f"the table in {directory} has other columns than its about.json says")
    listed: list[Cell] = []
    told: dict[Cell, int] = {}
    for row in rows:
        cell = tuple(None if row[name] == TOTAL else row[name] for name in names)
        listed.append(cell)
        if row["count"] is not None:
            told[cell] = row["count"]
    if any(not isinstance(count, int) or count < about.k for count in told.values()):
        raise JointError(f"{directory} shows a count below its k of {about.k}")
    categories = tuple(
        tuple(dict.fromkeys(cell[n] for cell in listed if cell[n] is not None))
        for n in range(len(names))
    )
    cube = Cube(names, categories)  # type: ignore[arg-type]
    impossible = frozenset(cube.inner()) - frozenset(listed)
    return ReadPublication(
        about,
        Cube(names, cube.categories, impossible),
        told,
        hashlib.sha256(content).hexdigest(),
    )


def join(publications: Mapping[str, ReadPublication]) -> JointTable:
    """Return the joint table of the publications of several countries.

    Raises ``JointError`` if there are fewer than two, if they have other dimensions, or if some are
    exact and some have noise.
    """
    if len(publications) < 2:
        raise JointError(
            "name the publications of two countries or more, each as COUNTRY=DIRECTORY"
        )
    dimensions = {one.cube.dimensions for one in publications.values()}
    if len(dimensions) > 1:
        said = "; ".join(
            f"{name}: {', '.join(one.cube.dimensions)}" for name, one in publications.items()
        )
        raise JointError(f"all must have the same dimensions in the same order; {said}")
    if len({one.about.epsilon is None for one in publications.values()}) > 1:
        raise JointError("some tables are exact and some have noise; join those of one sort")
    cubes = [one.cube for one in publications.values()]
    merged = tuple(
        tuple(dict.fromkeys(value for cube in cubes for value in cube.categories[n]))
        for n in range(len(cubes[0].dimensions))
    )
    # A cell that cannot be in one country, and is in no other's table, is in none.
    everywhere = Cube(cubes[0].dimensions, merged)
    cube = Cube(
        cubes[0].dimensions,
        merged,
        frozenset(c for c in everywhere.inner() if all(_is_impossible(one, c) for one in cubes)),
    )
    return JointTable(cube, {cell: _told(publications, cell) for cell in cube.listed()})


def _told(publications: Mapping[str, ReadPublication], cell: Cell) -> JointCell:
    found = [
        0 if _is_impossible(one.cube, cell) else one.told.get(cell) for one in publications.values()
    ]
    shown = [count for count in found if count is not None]
    is_whole = len(shown) == len(found)
    return JointCell(sum(shown), len(shown), sum(shown) if is_whole else None)


def _is_impossible(cube: Cube, cell: Cell) -> bool:
    """Return whether everyone knows that a country has nobody in a cell.

    A category that its table does not have yet is not such a cell.
    """
    if any(
        value is not None and value not in known
        for value, known in zip(cell, cube.categories, strict=True)
    ):
        return False
    return bool(cube.impossible) and all(one in cube.impossible for one in cube.below(cell))


def write_joint(
    directory: Path, table: JointTable, publications: Mapping[str, ReadPublication]
) -> JointMetadata:
    """Write a joint table into a directory, with its records for CTDC, and return its metadata."""
    counts = table.counts
    has_noise = any(one.about.epsilon is not None for one in publications.values())
    about = JointMetadata(
        dimensions=table.cube.dimensions,
        k=max(one.about.k for one in publications.values()),
        countries={name: _joined(one) for name, one in sorted(publications.items())},
        cells=len(table.cells),
        shown=len(counts),
        note=NOTE + (NOISY_NOTE if has_noise else ""),
    )
    directory.mkdir(parents=True, exist_ok=True)
    names = [*table.cube.dimensions, "count", "at_least", "shown_by"]
    write_table(directory / "table", names, _rows(table), dict.fromkeys(names[-3:], pa.int64()))
    if ctdc.has_any(table.cube.dimensions):
        records = [list(one.values()) for one in ctdc.records(table.cube, counts)]
        write_table(directory / "ctdc", list(ctdc.COLUMNS), records, {})
    content = json.dumps(about.model_dump(mode="json"), indent=1)
    write_durably(directory / "about.json", content.encode())
    return about


def _joined(one: ReadPublication) -> JoinedPublication:
    return JoinedPublication(
        number=one.about.number,
        position=one.about.position,
        root=one.about.root,
        epsilon=one.about.epsilon,
        sha256=one.sha256,
    )


def _rows(table: JointTable) -> list[list[Any]]:
    return [
        [
            *(TOTAL if value is None else value for value in cell),
            one.count,
            one.at_least,
            one.shown_by,
        ]
        for cell, one in table.cells.items()
    ]
