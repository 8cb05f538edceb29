"""Makes a view's rows into a table, some at a time, so that few are in memory as Python values."""

from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from projections.analysis.folding import Encoded
from projections.analysis.plain import NotPlainError, decode
from projections.analysis.view_class import ViewError

NOT_ENCODED = (
    NotPlainError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError,
)  # fmt: skip
"""The errors of reading values that :func:`projections.analysis.plain.encode` did not make."""
_AT_ONCE = 10_000


class RowTable:
    """The table of rows that come one after another. The first row names the columns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: list[str] | None = None
        self._rows: list[dict[str, Any]] = []
        self._parts: list[Any] = []

    def add(self, row: Encoded) -> None:
        """Add a row as a view encoded it. Raises ``ViewError`` if it is no row."""
        try:
            told = decode(row)
        except NOT_ENCODED:
            told = None
        if not isinstance(told, dict) or not all(isinstance(column, str) for column in told):
            raise ViewError(f"{self._name}: a row is a mapping from the names of columns to values")
        if self._columns is None:
            self._columns = list(told)
        self._rows.append(told)
        if len(self._rows) == _AT_ONCE:
            self._flush()

    def table(self) -> Any:
        """Return the table. Raises ``ViewError`` if a column has values of several types."""
        if self._rows or not self._parts:
            self._flush()
        try:
            return pa.concat_tables(self._parts, promote_options="permissive").combine_chunks()
        except pa.ArrowException as error:
            raise self._mixed(error) from error

    def _flush(self) -> None:
        columns = self._columns or []
        try:
            made = [{name: row.get(name) for name in columns} for row in self._rows]
            self._parts.append(pa.Table.from_pylist(made))
        except UnicodeEncodeError:
            why = f"{self._name}: a text has half of a character (a surrogate)"
            raise ViewError(why) from None
        except (pa.ArrowException, OverflowError) as error:
            raise self._mixed(error) from error
        self._rows = []

    def _mixed(self, error: Exception) -> ViewError:
        return ViewError(f"{self._name}: a column has values of several types: {error}")
