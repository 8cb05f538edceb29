"""Runs an analyst's view over a ledger, or over a range of it, and keeps the result.

The views that it uses run first, each once, over the same events.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from projections.analysis.definition import Definition, checked_kinds, checked_name
from projections.analysis.event import Event
from projections.analysis.event_places import Events, Where, opened
from projections.analysis.folding import Encoded, Fold, stops
from projections.analysis.keeping import Keeper, KeptView
from projections.analysis.limits import Limits
from projections.analysis.plain import NotPlainError, difference, encode
from projections.analysis.row_table import RowTable
from projections.analysis.sql import check_sql, run_sql
from projections.analysis.used_views import with_used
from projections.analysis.view_class import AnalystView, NotDeterministicError, ViewError
from projections.analysis.view_processes import run_twice
from projections.columnar.duckdb_tables import reads_obligations

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
    limits: Limits = Limits(),  # noqa: B008  # it is frozen
) -> Result:
    """Run a view, a file or a notebook's class, over all events or a range of them.

    A view is run twice, and refused if the runs differ. A file of Python runs in processes that
    reach neither files nor the network, unless ``unlocked``; one of SQL reads the tables alone.
    The views that a file uses run first, each once.
    Over the whole ledger, a file's state and rows are kept beside the file, and the next run folds
    only new events, unless ``kept`` is false. A class is checked in this process alone, and nothing
    is kept of it. Raises ``ViewError`` if the view fails or goes beyond its limits, and
    ``ValueError`` with the fault if the place cannot be read.
    """
    where = _where(database, export, parquet)
    if isinstance(view, type):
        return _run_class(view, where, first, last)
    path = Path(view)
    if engine != "duckdb" and path.suffix != ".sql":
        raise ViewError(f"{path}: a fold in Python is not run by {engine}; write it in SQL")
    plan = with_used(path)
    with ExitStack() as stack:
        run = _Run(
            stack.enter_context(opened(where)),
            stack,
            first,
            last,
            engine,
            progress,
            limits,
            is_unlocked=unlocked,
            is_kept=kept and first == 1 and last is None,
        )
        return run.all_of(plan)


@dataclass
class _Run:
    """One run over the events of one moment."""

    found: Events
    stack: ExitStack
    first: int
    last: int | None
    engine: Engine
    progress: Progress
    limits: Limits
    is_unlocked: bool
    is_kept: bool
    tables: dict[str, Any] = field(default_factory=dict)
    """The rows of the views that have run, by name."""
    upto: int = 0
    _columns: Path | None = None
    _reads_obligations: bool = True

    def all_of(self, plan: Sequence[Definition]) -> Result:
        """Run views in their order, and return the last one's result."""
        self.upto = _upto(self.found, self.first, self.last)
        self._reads_obligations = any(reads_obligations(one.text) for one in plan)
        names = {one.path.name: one.name for one in plan}
        for definition in plan:
            if definition.path.suffix == ".sql":
                check_sql(definition, self.engine)
        for definition in plan:
            used = {names[file]: self.tables[names[file]] for file in definition.uses}
            made = self._one(definition, used)
            self.tables[definition.name] = made.table
        return made

    def _one(self, definition: Definition, used: Mapping[str, Any]) -> Result:
        is_sql = definition.path.suffix == ".sql"
        if not self.is_kept:
            if is_sql:
                return self._asked(definition, used)[0]
            return self._folded(definition, used, self.first - 1, None)[0]
        keeper = Keeper(definition, self.found.ledger_id)
        with keeper.alone():
            stands, state = _goes_on(keeper, definition, self.found)
            live = keeper.live()
            if live is not None and stands == self.upto and (not is_sql or self._asked_it(live)):
                # Nothing is new.
                return self._result(definition, 1, self.upto + 1, keeper.rows(live))
            if is_sql:
                made, root = self._asked(definition, used)
                if not keeper.is_beyond(self.upto):
                    keeper.keep(self.upto, root, None, made.table, self.engine)
                return made
            made, state = self._folded(definition, used, stands, state)
            if not keeper.is_beyond(self.upto):
                keeper.keep(self.upto, self.found.root(self.upto), state, made.table)
            return made

    def _asked_it(self, live: KeptView) -> bool:
        return self.engine == live.engine == "duckdb"

    def _folded(
        self, definition: Definition, used: Mapping[str, Any], after: int, state: Encoded | None
    ) -> tuple[Result, Encoded]:
        done = run_twice(
            definition,
            self.found.read(after, self.upto, definition.kinds),
            after,
            self.upto,
            state,
            lambda position: self.progress(position - after, self.upto - after),
            unlocked=self.is_unlocked,
            used=_encoded(used) if definition.uses else None,
            limits=self.limits,
        )
        start = after + 1 if self.is_kept else self.first
        made = self._result(definition, self.first, start, done.table, done.printed)
        return made, done.state

    def _asked(self, definition: Definition, used: Mapping[str, Any]) -> tuple[Result, str | None]:
        if self._columns is None:
            made = TemporaryDirectory(prefix="case-ledger-columns-")
            place = Path(self.stack.enter_context(made))
            self._columns = self.found.columns(place, with_obligations=self._reads_obligations)
        words = (definition, self._columns, self.first, self.last, used)
        if self.engine == "spark":
            from projections.analysis.spark import run_spark

            table, manifest = run_spark(*words)
        else:
            table, manifest = run_sql(*words, self.limits)
        return self._result(definition, self.first, self.first, table), manifest.root

    def _result(
        self, definition: Definition, first: int, start: int, table: Any, printed: str = ""
    ) -> Result:
        name, version = definition.name, definition.version
        return Result(name, version, first, self.upto, start, table, printed)


def _encoded(used: Mapping[str, Any]) -> Mapping[str, Encoded]:
    """Return the rows of used views as a process gets them."""
    try:
        return {
            name: ["list", *(encode(row, f"{name}'s row") for row in table.to_pylist())]
            for name, table in used.items()
        }
    except NotPlainError as error:
        raise ViewError(f"the rows of a used view cannot be given to a fold: {error}") from error


def _where(database: str | None, export: Path | str | None, parquet: Path | str | None) -> Where:
    return Where(
        database,
        None if export is None else Path(export),
        None if parquet is None else Path(parquet),
    )


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
    if getattr(view, "uses", ()):
        raise ViewError(f"{name}: a class of a notebook uses no other views; write it as a file")
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
    table = RowTable(name)
    for row in told[1:]:
        table.add(row)
    return Result(name, version, first, upto, first, table.table())


def _upto(found: Events, first: int, last: int | None) -> int:
    upto = found.head if last is None else min(last, found.head)
    if not 1 <= first <= upto:
        raise ViewError(f"there are no events from {first} to {upto if last is None else last}")
    return upto
