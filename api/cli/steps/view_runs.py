"""Open the database of an analysts' view, and compare its rows with expected ones."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from ledger.system.bounded_files import read_ordinary

_MOST_BYTES = 64 * 1024 * 1024


@contextmanager
def view_database(static: Path | None, parquet: Path | None) -> Iterator[str | None]:
    """Open this node's database and yield its address, or ``None`` if another source is named."""
    if static is not None or parquet is not None:
        yield None
        return
    with open_store(Settings()) as store:
        yield store.conninfo


def expected_rows(file: Path) -> Sequence[Mapping[str, Any]]:
    """Read the rows of a file: JSON as ``view run --json`` prints them, a list of rows, or CSV.

    Raises ``ValueError`` if the file has no rows in one of these forms.
    """
    text = read_ordinary(file, _MOST_BYTES).decode("utf-8-sig")
    if file.suffix.lower() == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    told = json.loads(text)
    rows = told.get("rows") if isinstance(told, dict) else told
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{file} has no rows: write what `case-ledger view run --json` prints")
    return rows


def first_difference(
    found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> str | None:
    """Describe the first difference of a view's rows from the expected ones, if there is one.

    Values are compared as JSON or CSV writes them.
    """
    from pydantic_core import to_jsonable_python

    for number, (one, other) in enumerate(zip(found, expected, strict=False), 1):
        if list(one) != list(other):
            return f"row {number} has the columns {', '.join(one)}, and not {', '.join(other)}"
        for column, value in to_jsonable_python(dict(one)).items():
            if value != other[column] and _as_csv(value) != other[column]:
                return f"row {number}, {column}: {value!r}, and not {other[column]!r}"
    if len(found) != len(expected):
        return f"there are {len(found)} rows, and not {len(expected)}"
    return None


def _as_csv(value: Any) -> str:
    return "" if value is None else str(value)
