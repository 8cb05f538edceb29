"""Counts the cases of a columnar export by dimensions that are ``ledger`` fields.

Form of exploitation, means of control, gender and citizenship are not among them: the ledger does
not hold them. A country that holds them may count records of its own; see :func:`count_records`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from ledger.system.bounded_files import NotReadableError, open_ordinary
from ledger.system.zones import zone_or_utc
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    ClosureReason,
    Stage,
    TraffickingStatus,
)
from projections.columnar.duckdb_tables import connect, put_tables
from projections.columnar.manifest import Manifest, checked_manifest
from projections.statistics.cube import Cell, Cube
from projections.statistics.values import MISSING, NONE, NOT_ASSESSED, OTHER

_FLAGS = ("0", "1")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CASES = """
SELECT epoch_us(opened_at), home, countries, age_group, stage, "cas_Status",
    CASE WHEN trafficking_status_kind IS NULL THEN 'not_assessed' ELSE "vic_TraffickingStatus" END,
    closure, return_destination
FROM cases WHERE merged_into IS NULL AND closure IS DISTINCT FROM 'opened_in_error'
    AND case_id IN (SELECT o.case_id FROM standing_case_opened o)
"""
"""A person whose cases were merged counts once, by the case that continues. A case that was
opened in error is no person's: one that was closed as such, and one whose opening was annulled,
whatever was recorded in it later."""
_IN_ERROR = ClosureReason.OPENED_IN_ERROR
_STAGES = tuple(
    stage.value for stage in Stage if stage not in (Stage.PROCEEDINGS, Stage.COORDINATION)
)

# A dimension that tells another, or that with some of its values leaves the other no choice:
# whoever knows that a cell cannot be has one count less to wonder about.
_TELLS = (
    ("corridor", "country"),
    ("status", "closure"),
    ("stage", "destination"),
    ("destination", "corridor"),
    ("destination", "country"),
)

DIMENSIONS = (
    *("year", "country", "corridor", "age_group", "stage", "status"),
    *("trafficking_status", "closure", "destination"),
)


class DimensionError(ValueError):
    """A table cannot be counted by these dimensions."""


def count_cases(
    directory: Path, parties: Collection[str], dimensions: Sequence[str]
) -> tuple[Cube, dict[Cell, int], Manifest]:
    """Return the table of an export's cases, and the export's manifest.

    The table has every possible category, so that its names do not tell which categories occur.
    Raises ``DimensionError`` if the cases cannot be counted by these dimensions.
    """
    _check(dimensions)
    manifest = checked_manifest(directory)
    with connect() as connection:
        put_tables(connection, directory, manifest, text=_CASES)
        rows = connection.execute(_CASES).fetchall() if manifest.of_table("cases") else []
    values = [_values(row, parties, manifest.time_zones) for row in rows]
    years = sorted({int(value["year"]) for value in values})
    known = _categories(parties, years)
    cube = Cube(tuple(dimensions), tuple(known[name] for name in dimensions))
    cube = replace(cube, impossible=_impossible(cube, manifest))
    counts: dict[Cell, int] = {}
    for value in values:
        cell = tuple(value[name] for name in dimensions)
        if cell in cube.impossible:
            continue  # a country that joined later says that it acted before
        counts[cell] = counts.get(cell, 0) + 1
    return cube, counts, manifest


def _impossible(cube: Cube, manifest: Manifest) -> frozenset[Cell]:
    """Return the cells of countries in years in which they were no party."""
    if not {"year", "country"} <= set(cube.dimensions) or not manifest.party_years:
        return frozenset()
    year, country = cube.dimensions.index("year"), cube.dimensions.index("country")
    return frozenset(
        cell
        for cell in cube.inner()
        if not any(
            first <= int(cell[year] or 0) <= last
            for first, last in manifest.party_years.get(cell[country] or "", ())
        )
    )


def count_records(
    file: Path,
    dimensions: Sequence[str],
    categories: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> tuple[Cube, dict[Cell, int]]:
    """Return the table of a file with one row for each person, by the file's own columns.

    The file is Parquet or CSV. ``categories`` lists the values of each column, whether they occur
    or not: one that a single person brought would tell of that person, though its count is hidden.
    Any other value counts as ``other``. Columns of 0 and 1 need no list. Raises ``DimensionError``
    if the file cannot be read, has no such column, or if a list is missing.
    """
    if not dimensions:
        raise DimensionError("name the dimensions: columns of the file")
    try:
        open_ordinary(file).close()
    except NotReadableError as error:
        raise DimensionError(str(error)) from error
    with connect() as connection:
        read: Callable[[str], Any] = connection.read_parquet
        if file.suffix != ".parquet":
            read = connection.read_csv
        try:
            table = read(str(file)).to_arrow_table()
        except duckdb.Error as error:
            raise DimensionError(f"{file} cannot be read as records") from error
    if missing := set(dimensions) - set(table.column_names):
        raise DimensionError(f"{file} has no column {', '.join(sorted(missing))}")
    counts: dict[Cell, int] = {}
    known = {name: _listed(name, table.column(name), categories) for name in dimensions}
    for row in table.select(list(dimensions)).to_pylist():
        cell = tuple(_category(row[name], known[name]) for name in dimensions)
        counts[cell] = counts.get(cell, 0) + 1
    return Cube(tuple(dimensions), tuple(known[name] for name in dimensions)), counts


def _listed(
    name: str, values: Iterable[Any], categories: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the categories of a column of records. Raises ``DimensionError`` without a list."""
    given = tuple(dict.fromkeys(map(str, categories.get(name, ()))))
    if given:
        return (*(one for one in given if one not in (OTHER, MISSING)), OTHER, MISSING)
    if all(str(value) in (*_FLAGS, "None", MISSING) for value in values):
        return (*_FLAGS, MISSING)
    raise DimensionError(
        f"list the categories of {name}: those that occur would tell of the persons who brought "
        'them. Write a file such as {"gender": ["Female", "Male"]}, and name it by --categories; '
        "any other value counts as other"
    )


def _category(value: object, known: Collection[str]) -> str:
    text = MISSING if value is None else str(value)
    return text if text in known else OTHER


def _check(dimensions: Sequence[str]) -> None:
    if not dimensions or len(set(dimensions)) != len(dimensions):
        raise DimensionError("name one dimension or more, each once")
    if unknown := set(dimensions) - set(DIMENSIONS):
        raise DimensionError(
            f"there is no dimension {', '.join(sorted(unknown))}; there are {', '.join(DIMENSIONS)}"
        )
    for one, other in _TELLS:
        if one in dimensions and other in dimensions:
            raise DimensionError(
                f"{one} and {other} tell of each other, which undoes what is hidden; choose one"
            )


def _categories(known: Collection[str], years: Sequence[int]) -> dict[str, tuple[str, ...]]:
    parties = tuple(sorted(known))
    span = range(years[0], years[-1] + 1) if years else range(0)
    return {
        "year": tuple(map(str, span)),
        "country": parties,
        "corridor": tuple(_corridors(parties)),
        "age_group": tuple(group.value for group in AgeGroup),
        "stage": _STAGES,
        "status": tuple(status.value for status in CaseStatus),
        "trafficking_status": (NOT_ASSESSED, *(status.value for status in TraffickingStatus)),
        "closure": (NONE, *(one.value for one in ClosureReason if one is not _IN_ERROR)),
        "destination": (NONE, *parties, OTHER),
    }


def _corridors(parties: Sequence[str]) -> list[str]:
    """Return the corridors from each country to none, to each other country, or to several."""
    return [
        f"{home}-{to}"
        for home in parties
        for to in (NONE, *(party for party in parties if party != home), "several", OTHER)
    ]


def _values(
    row: tuple[Any, ...], parties: Collection[str], time_zones: Mapping[str, str]
) -> dict[str, str]:
    """Return the value of each dimension of a case.

    The year is that in which the case was opened, at the local time of the country that opened it.
    """
    opened, home, countries, age_group, stage, status, trafficking, closure, destination = row
    zone = zone_or_utc(time_zones[home]) if home in time_zones else UTC
    local = (_EPOCH + timedelta(microseconds=opened)).astimezone(zone)
    others = [country for country in countries or () if country != home]
    if not others:
        to = NONE
    elif len(set(others)) > 1:
        to = "several"
    else:
        to = others[0] if others[0] in parties else OTHER
    if destination is not None and destination not in parties:
        destination = OTHER
    return {
        "year": str(local.year),
        "country": home,
        "corridor": f"{home}-{to}",
        "age_group": age_group,
        "stage": stage,
        "status": status,
        "trafficking_status": trafficking,
        "closure": closure or NONE,
        "destination": destination or NONE,
    }
