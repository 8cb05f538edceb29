"""Writes a publication, and keeps the record of its series where it is not published by mistake."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet
from pydantic import Field, ValidationError

from ledger.system.csv_cells import neutral
from ledger.vocabulary.action import LedgerModel
from projections.columnar.manifest import write_durably
from projections.statistics import ctdc
from projections.statistics.cube import Cell, Counts, Cube
from projections.statistics.differential_privacy import noisy, shown
from projections.statistics.publication_series import Series, SeriesError, begin, publish
from projections.statistics.values import MISSING

TOTAL = "total"
DEFAULT_BUDGET = 3.0
SUPPRESSED = (
    "A count that is left out is of fewer than {k} cases, or would tell of one that is. Counts "
    "change by {k} or more from one publication to the next, or stay as they were."
)
NOISY = (
    "Each count has random noise (discrete Laplace, epsilon {epsilon}); totals are sums of such "
    "counts. One that came out below {k} is left out."
)


class Spent(LedgerModel):
    """The privacy budget that a series with noise has spent so far."""

    format: Literal[1] = 1
    dimensions: tuple[str, ...]
    epsilon: Annotated[float, Field(ge=0)] = 0.0
    budget: Annotated[float, Field(gt=0)] | None = None
    """The bound of the sum; ``None`` in records of earlier programs."""
    publications: int = 0


class Record(LedgerModel):
    """The record of one series: by suppression, or with noise."""

    suppressed: Series | None = None
    noisy: Spent | None = None


class PublicationMetadata(LedgerModel):
    """The metadata of a publication beside its table."""

    number: int
    dimensions: tuple[str, ...]
    k: int
    epsilon: float | None
    """``None`` where counts are exact, and hidden where they must be."""
    position: int
    """How far the ledger was counted; 0 for other records."""
    root: str | None
    cells: int
    shown: int
    note: str


@contextmanager
def recorded(file: Path) -> Iterator[Record]:
    """Lock and yield the record of a series, so that no other process publishes in it.

    Raises ``SeriesError`` if another process holds the lock, or if the file is no record.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except OSError as error:
            raise SeriesError(f"another process publishes by {file}") from error
        try:
            yield Record.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            yield Record()
        except ValidationError as error:
            raise SeriesError(f"{file} is no record of publications") from error


def publish_suppressed(
    record: Record, cube: Cube, counts: Counts, k: int, position: int, root: str | None
) -> tuple[PublicationMetadata, Cube, Mapping[Cell, int], Record]:
    """Return the next table with small counts hidden, and the series' record with it.

    Raises ``SeriesError`` if the table does not go with the earlier ones.
    """
    if record.noisy is not None:
        raise SeriesError("this series is published with noise; exact counts would undo it")
    series = record.suppressed or begin(cube.dimensions, k)
    if series.k != k:
        raise SeriesError(f"this series is published with k = {series.k}, from its beginning")
    told, series = publish(series, cube, counts, position)
    about = _about(told.cube, told.counts, series.publications, k, None, position, root)
    return about, told.cube, told.counts, Record(suppressed=series)


def publish_noisy(
    record: Record,
    cube: Cube,
    counts: Counts,
    k: int,
    epsilon: float,
    budget: float | None,
    position: int,
    root: str | None,
) -> tuple[PublicationMetadata, Cube, Mapping[Cell, int], Record]:
    """Return the next table with noise, and the series' record with it.

    The first publication sets the series' budget, which is 3 if ``budget`` is ``None``. Raises
    ``SeriesError`` if the budget is spent, or if the table does not go with the earlier ones.
    """
    if record.suppressed is not None:
        raise SeriesError("this series is published with exact counts; noise would protect nobody")
    spent = record.noisy or Spent(dimensions=cube.dimensions)
    if spent.dimensions != cube.dimensions:
        raise SeriesError(f"this series is by {', '.join(spent.dimensions)}")
    allowed = spent.budget or budget or DEFAULT_BUDGET
    if budget is not None and budget != allowed:
        raise SeriesError(f"the budget of this series is {allowed:g}, from its beginning")
    total = spent.epsilon + epsilon
    if total > allowed + 1e-9:
        raise SeriesError(
            f"epsilons of {spent.epsilon:g} are spent of {allowed:g}; {epsilon:g} more is too much"
        )
    told = shown(cube, noisy(cube, counts, epsilon), k)
    number = spent.publications + 1
    about = _about(cube, told, number, k, epsilon, position, root)
    spent = spent.model_copy(update={"epsilon": total, "budget": allowed, "publications": number})
    return about, cube, told, Record(noisy=spent)


def write(
    file: Path,
    record: Record,
    directory: Path,
    about: PublicationMetadata,
    cube: Cube,
    told: Counts,
) -> Path:
    """Write a publication into a directory of its own, after its entry in the record.

    A crash between the two costs a number. In the reverse order, the next publication would forget
    this one. Returns the directory.
    """
    write_durably(file, record.model_dump_json().encode())
    file.chmod(0o600)
    target = directory / f"{about.number:04}"
    target.mkdir(parents=True, exist_ok=True)
    names = [*cube.dimensions, "count"]
    write_table(target / "table", names, _rows(cube, told), {"count": pa.int64()})
    if ctdc.has_any(cube.dimensions):
        records = [list(r.values()) for r in ctdc.records(cube, told)]
        write_table(target / "ctdc", list(ctdc.COLUMNS), records, {})
    content = about.model_dump(mode="json")
    write_durably(target / "about.json", json.dumps(content, indent=1).encode())
    return target


def _rows(cube: Cube, told: Counts) -> list[list[Any]]:
    """Return a row for each cell, totals too, without a count if the cell is hidden."""
    return [
        [*(TOTAL if value is None else value for value in cell), told.get(cell)]
        for cell in cube.listed()
    ]


def write_table(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]], types: Mapping[str, Any]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(neutral, names))
    writer.writerows(map(_cell, row) for row in rows)
    write_durably(path.with_suffix(".csv"), text.getvalue().encode())
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    columns = [pa.array([row[n] for row in rows], schema.types[n]) for n in range(len(names))]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=schema), sink)
    write_durably(path.with_suffix(".parquet"), sink.getvalue().to_pybytes())


def _cell(value: Any) -> Any:
    """Return a value as it stands in a CSV: the number for what is not known is no formula."""
    if value is None:
        return ""
    return value if value == MISSING else neutral(value)


def _about(
    cube: Cube,
    told: Counts,
    number: int,
    k: int,
    epsilon: float | None,
    position: int,
    root: str | None,
) -> PublicationMetadata:
    note = SUPPRESSED.format(k=k) if epsilon is None else NOISY.format(epsilon=epsilon, k=k)
    return PublicationMetadata(
        number=number,
        dimensions=cube.dimensions,
        k=k,
        epsilon=epsilon,
        position=position,
        root=root,
        cells=sum(1 for _ in cube.listed()),
        shown=len(told),
        note=note,
    )
