"""Runs an analyst's view over a ledger, or over a range of it, and keeps the result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]

from projections.analysis.definition import (
    AnalystView,
    Definition,
    LoadedView,
    ViewError,
    check,
    load,
    read_definition,
)
from projections.analysis.events import Event, Events, Where, as_columns, opened
from projections.analysis.folding import encoded, fold, fold_in_parts, initial, rows
from projections.analysis.keeping import Keeper
from projections.analysis.plain import decode, difference
from projections.analysis.second_run import NotDeterministicError, second_run, stops
from projections.analysis.sql import run_sql

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
) -> Result:
    """Run a view, a file or a notebook's class, over all events or a range of them.

    A view is run twice, and refused if the runs differ. Over the whole ledger, a file's state and
    rows are kept beside the file, and the next run folds only new events. A class is checked in
    this process alone, and nothing is kept of it. Raises ``ViewError`` if the view fails, and
    ``ValueError`` with the fault if the place cannot be read.
    """
    where = _where(database, export, parquet)
    if isinstance(view, type):
        return _run_class(view, where, first, last)
    path = Path(view)
    if path.suffix == ".sql":
        return _run_sql(path, where, first, last, engine)
    if engine != "duckdb":
        raise ViewError(f"{path}: a fold in Python is not run by {engine}; write it in SQL")
    return _run_file(load(path), where, first, last, progress)


def _where(database: str | None, export: Path | str | None, parquet: Path | str | None) -> Where:
    return Where(
        database,
        None if export is None else Path(export),
        None if parquet is None else Path(parquet),
    )


def _run_file(
    loaded: LoadedView, where: Where, first: int, last: int | None, progress: Progress
) -> Result:
    definition = loaded.definition
    with opened(where) as found:
        upto = _upto(found, first, last)
        if first > 1 or last is not None:
            state, table = _folded(loaded, where, found, first - 1, upto, None, progress)
            return Result(definition.name, definition.version, first, upto, first, table)
        keeper = Keeper(definition, found.ledger_id)
        with keeper.alone():
            stands, kept = _goes_on(keeper, definition, found)
            state, table = _folded(loaded, where, found, stands, upto, kept, progress)
            if not keeper.is_beyond(upto):
                keeper.keep(upto, found.root(upto), state, table)
        return Result(definition.name, definition.version, 1, upto, stands + 1, table)


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


def _folded(
    loaded: LoadedView,
    where: Where,
    found: Events,
    after: int,
    upto: int,
    kept: Any | None,
    progress: Progress,
) -> tuple[Any, Any]:
    """Return the encoded state and the table, checked by a second run at the same time."""
    definition, view = loaded.definition, loaded.make()
    checking = second_run(definition.path.absolute(), where, after, upto, kept, definition.sha256)
    with checking as run:
        state = initial(view) if kept is None else decode(kept)
        state = fold(
            view,
            state,
            found.read(after, upto, loaded.kinds),
            lambda position: progress(position - after, upto - after),
        )
        told = rows(view, state)
        encoded_state = encoded(view, state)
        run.compare(definition.name, encoded_state, encoded(view, told, "rows"))
    return encoded_state, _table(view, told)


def _run_class(view_class: type[AnalystView], where: Where, first: int, last: int | None) -> Result:
    view = check(view_class(), view_class.__name__)
    definition = Definition(Path(view_class.__name__), view.name, view.version, "", "")
    loaded = LoadedView(definition, view_class, getattr(view, "kinds", None))
    with opened(where) as found:
        upto = _upto(found, first, last)
        state = fold(view, initial(view), found.read(first - 1, upto, loaded.kinds))
        told = rows(view, state)
        again = fold_in_parts(loaded, found, first - 1, stops(first - 1, upto), None)
    mine = (encoded(view, state), encoded(view, told, "rows"))
    for one, other, what in zip(mine[::-1], again[::-1], ("rows", "state"), strict=True):
        if (differs := difference(one, other, what)) is not None:
            raise NotDeterministicError(f"{view.name} is not told by its events alone: {differs}")
    return Result(view.name, view.version, first, upto, first, _table(view, told))


def _run_sql(path: Path, where: Where, first: int, last: int | None, engine: Engine) -> Result:
    definition = read_definition(path)
    with as_columns(where) as directory:
        if engine == "spark":
            from projections.analysis.spark import run_spark

            table, manifest = run_spark(definition, directory, first, last)
        else:
            table, manifest = run_sql(definition, directory, first, last)
        upto = manifest.upto if last is None else min(last, manifest.upto)
        if first == 1 and last is None:
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


def _table(view: AnalystView, told: list[dict[str, Any]]) -> Any:
    try:
        return pa.Table.from_pylist(told)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ViewError(f"{view.name}: a column has values of several types: {error}") from error
