"""Runs an analyst's view over a ledger, or over a range of it, and keeps the result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]

from projections.analysis.definition import (
    Definition,
    checked_kinds,
    checked_name,
    read_definition,
)
from projections.analysis.event import Event
from projections.analysis.event_places import Events, Where, as_columns, opened
from projections.analysis.folding import Encoded, Fold, stops
from projections.analysis.keeping import Keeper
from projections.analysis.plain import difference
from projections.analysis.sql import run_sql
from projections.analysis.view_class import AnalystView, NotDeterministicError, ViewError
from projections.analysis.view_processes import Folded, decoded_rows, run_twice

Engine = Literal["duckdb", "spark"]
Progress = Callable[[int, int], None]
"""Told how many positions of how many are folded."""


@dataclass(frozen=True, slots=True)
class Result:
    """A view's table, and what it is of."""

    name: str
    version: int
    first: int
    last: int
    """The positions."""
    folded_from: int
    """The first position that was folded now; all before was kept."""
    table: Any
    """A ``pyarrow.Table``: ``polars.from_arrow(table)``, ``table.to_pandas()``."""
    printed: str = ""
    """The text that a view's file printed while it ran."""


def events(
    *,
    database: str | None = None,
    export: Path | str | None = None,
    parquet: Path | str | None = None,
    first: int = 1,
    last: int | None = None,
    kinds: tuple[str, ...] | None = None,
) -> Iterator[Event]:
    """Yield a ledger's events by position, each frozen."""
    with opened(_where(database, export, parquet)) as found:
        upto = found.head if last is None else min(last, found.head)
        yield from found.read(first - 1, upto, kinds)


def run_view(
    view: Path | str | type[AnalystView],
    *,
    database: str | None = None,
    export: Path | str | None = None,
    parquet: Path | str | None = None,
    first: int = 1,
    last: int | None = None,
    engine: Engine = "duckdb",
    progress: Progress = lambda _done, _of: None,
    unlocked: bool = False,
    kept: bool = True,
) -> Result:
    """Run a view, a file or a notebook's class, over all events or a range of them.

    A view is run twice, and refused if the runs differ. A file of Python runs in processes that
    reach neither files nor the network, unless ``unlocked``; one of SQL reads the tables alone.
    Over the whole ledger, a file's state and rows are kept beside the file, and the next run folds
    only new events, unless ``kept`` is false. A class is checked in this process alone, and nothing
    is kept of it. Raises ``ViewError`` if the view fails, and ``ValueError`` with the fault if the
    place cannot be read.
    """
    where = _where(database, export, parquet)
    if isinstance(view, type):
        return _run_class(view, where, first, last)
    path = Path(view)
    if path.suffix == ".sql":
        return _run_sql(path, where, first, last, engine, kept=kept)
    if engine != "duckdb":
        raise ViewError(f"{path}: a fold in Python is not run by {engine}; write it in SQL")
    definition = read_definition(path)
    return _run_file(definition, where, first, last, progress, unlocked=unlocked, kept=kept)


def _where(database: str | None, export: Path | str | None, parquet: Path | str | None) -> Where:
    return Where(
        database,
        None if export is None else Path(export),
        None if parquet is None else Path(parquet),
    )


def _run_file(
    definition: Definition,
    where: Where,
    first: int,
    last: int | None,
    progress: Progress,
    *,
    unlocked: bool,
    kept: bool,
) -> Result:
    with opened(where) as found:
        upto = _upto(found, first, last)

        def folded(after: int, state: Encoded | None) -> Folded:
            return run_twice(
                definition,
                found.read(after, upto, definition.kinds),
                after,
                upto,
                state,
                lambda position: progress(position - after, upto - after),
                unlocked=unlocked,
            )

        if first > 1 or last is not None or not kept:
            return _result(definition, first, upto, first, folded(first - 1, None))
        keeper = Keeper(definition, found.ledger_id)
        with keeper.alone():
            stands, state = _goes_on(keeper, definition, found)
            if stands == upto and (live := keeper.live()) is not None:
                table = keeper.rows(live)  # nothing is new
                return Result(definition.name, definition.version, 1, upto, upto + 1, table)
            made = _result(definition, 1, upto, stands + 1, done := folded(stands, state))
            if not keeper.is_beyond(upto):
                keeper.keep(upto, found.root(upto), done.state, made.table)
        return made


def _result(definition: Definition, first: int, upto: int, start: int, done: Folded) -> Result:
    table = _table(definition.name, done.rows)
    return Result(definition.name, definition.version, first, upto, start, table, done.printed)


def _goes_on(keeper: Keeper, definition: Definition, found: Events) -> tuple[int, Any | None]:
    """Return the kept position and encoded state to continue from, or 0 to fold all events.

    Raises ``ViewError`` if other events were folded up to the kept position.
    """
    kept = keeper.live()
    if kept is None or not keeper.is_of_this_definition(kept) or kept.position > found.head:
        return 0, None
    root = found.root(kept.position)
    if root is not None and kept.root is not None and root != kept.root:
        raise ViewError(
            f"{definition.name} was folded of other events up to {kept.position}: verify the "
            f"ledger; to fold it anew, remove {keeper.directory}"
        )
    return kept.position, keeper.state(kept)


def _run_class(view_class: type[AnalystView], where: Where, first: int, last: int | None) -> Result:
    view = view_class()
    name, version = checked_name(
        view_class.__name__, getattr(view, "name", None), getattr(view, "version", None)
    )
    kinds = checked_kinds(view_class.__name__, getattr(view, "kinds", None))
    with opened(where) as found:
        upto = _upto(found, first, last)
        one = Fold(view_class, None)
        one.take(found.read(first - 1, upto, kinds))
        other, after = Fold(view_class, None), first - 1
        for stop in stops(after, upto):
            other.take(found.read(after, stop, kinds))
            other.pause()
            after = stop
        told, state = one.rows(), one.state()
        differs = difference(told, other.rows(), "rows")
        differs = differs or difference(state, other.state(), "state")
    if differs is not None:
        raise NotDeterministicError(f"{name} is not told by its events alone: {differs}")
    return Result(name, version, first, upto, first, _table(name, decoded_rows(name, told)))


def _run_sql(
    path: Path, where: Where, first: int, last: int | None, engine: Engine, *, kept: bool
) -> Result:
    definition = read_definition(path)
    with as_columns(where) as directory:
        if engine == "spark":
            from projections.analysis.spark import run_spark

            table, manifest = run_spark(definition, directory, first, last)
        else:
            table, manifest = run_sql(definition, directory, first, last)
        upto = manifest.upto if last is None else min(last, manifest.upto)
        if first == 1 and last is None and kept:
            keeper = Keeper(definition, manifest.ledger_id)
            with keeper.alone():
                if not keeper.is_beyond(upto):
                    keeper.keep(upto, manifest.root, None, table)
    return Result(definition.name, definition.version, first, upto, first, table)


def _upto(found: Events, first: int, last: int | None) -> int:
    upto = found.head if last is None else min(last, found.head)
    if not 1 <= first <= upto:
        raise ViewError(f"there are no events from {first} to {upto if last is None else last}")
    return upto


def _table(name: str, told: list[dict[str, Any]]) -> Any:
    try:
        return pa.Table.from_pylist(told)
    except UnicodeEncodeError:
        raise ViewError(f"{name}: a text has half of a character (a surrogate)") from None
    except (pa.ArrowException, OverflowError) as error:
        raise ViewError(f"{name}: a column has values of several types: {error}") from error
