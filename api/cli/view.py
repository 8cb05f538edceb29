"""Commands for analysts' own views: run one, and see what is kept of those that were run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.columnar import writing
from api.cli.output import AsJson, err, fail, failures, out, print_json

app = typer.Typer(name="view", help="Analysts' own views of the ledger.", no_args_is_help=True)

_SUFFIXES = (".py", ".sql")
_LISTED = ["file", "name", "version", "uses", "ledger", "position", "is_current", "fault"]


class Engine(StrEnum):
    """The engine that runs a view in SQL."""

    DUCKDB = "duckdb"
    SPARK = "spark"


ViewFile = Annotated[Path, typer.Argument(help="A Python file with a fold, or a file of SQL.")]
First = Annotated[
    int | None, typer.Option("--from", min=1, help="The first position.", show_default="1")
]
Last = Annotated[
    int | None, typer.Option("--to", min=1, help="The last position.", show_default="the head")
]
Static = Annotated[
    Path | None,
    typer.Option("--export", help="Read a directory that `case-ledger log export` wrote."),
]
Columns = Annotated[
    Path | None, typer.Option(help="Read a directory that `case-ledger export --parquet` wrote.")
]
Minutes = Annotated[
    float, typer.Option(min=0.01, help="The time that each view may take before it is ended.")
]
Memory = Annotated[int, typer.Option("--memory-gb", min=1, help="DuckDB's memory, in GiB.")]
Spill = Annotated[
    int, typer.Option("--spill-gb", min=1, help="Files that DuckDB writes meanwhile, in GiB.")
]
EngineOfSql = Annotated[Engine, typer.Option(help="The engine that runs SQL.")]


@app.command()
def run(
    file: ViewFile,
    first: First = None,
    last: Last = None,
    database: Annotated[
        bool, typer.Option("--database", help="Read this node's database (the default).")
    ] = False,
    static: Static = None,
    parquet: Columns = None,
    engine: EngineOfSql = Engine.DUCKDB,
    minutes: Minutes = 60,
    memory: Memory = 1,
    spill: Spill = 20,
    unlocked: Annotated[
        bool,
        typer.Option(help="Run Python with your own rights: only a view that you trust."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a view over the whole ledger, or a range of it, on this machine.

    The view reaches neither files nor the network. It is run twice, and refused if the two results
    differ. The state of a run over the whole ledger is kept beside the file, and the next run folds
    the new events only.
    """

    from pydantic_core import to_jsonable_python

    from api.cli.steps.view_runs import view_database
    from projections.analysis import run_view
    from projections.analysis.limits import GIB, Limits

    if sum((database, static is not None, parquet is not None)) > 1:
        fail("name one place: --database, --export or --parquet")
    with failures(as_json), view_database(static, parquet) as conninfo:
        with writing(as_json, "Folding") as progress:
            found = run_view(
                file,
                database=conninfo,
                export=static,
                parquet=parquet,
                first=first or 1,
                last=last,
                engine=engine.value,
                progress=progress,
                unlocked=unlocked,
                limits=Limits(60 * minutes, memory * GIB, spill * GIB),
            )
        for line in found.printed.splitlines():
            err.print(Text("".join(c if c.isprintable() else "?" for c in line), style="dim"))
        rows = found.table.to_pylist()
        if as_json:
            told = {
                "view": found.name,
                "version": found.version,
                "first": found.first,
                "last": found.last,
                "folded_from": found.folded_from,
                "rows": to_jsonable_python(rows),
            }
            print_json(told)
            return
        title = f"{found.name} {found.version}, positions {found.first} to {found.last}"
        out.print(_table(title, found.table.column_names, rows))


@app.command("test")
def compare(
    file: ViewFile,
    expected: Annotated[
        Path,
        typer.Option(help="The rows as they must be: JSON as `view run --json` prints, or CSV."),
    ],
    first: First = None,
    last: Last = None,
    static: Static = None,
    parquet: Columns = None,
    engine: EngineOfSql = Engine.DUCKDB,
    as_json: AsJson = False,
) -> None:
    """Run a view, and compare its rows with those of a file. Nothing is kept.

    Exits with 1 if a row differs. Name the last position: more events give other rows.
    """

    from api.cli.steps.view_runs import expected_rows, first_difference, view_database
    from projections.analysis import run_view

    with failures(as_json), view_database(static, parquet) as conninfo:
        wanted = expected_rows(expected)
        with writing(as_json, "Folding") as progress:
            found = run_view(
                file,
                database=conninfo,
                export=static,
                parquet=parquet,
                first=first or 1,
                last=last,
                engine=engine.value,
                progress=progress,
                kept=False,
            )
        difference = first_difference(found.table.to_pylist(), wanted)
    if as_json:
        print_json({"view": found.name, "rows": len(wanted), "difference": difference})
    elif difference is None:
        out.print(f"[green]{found.name}: {len(wanted)} rows as expected[/]")
    else:
        err.print(Text(f"{found.name}: {difference}", style="red"))
    if difference is not None:
        raise typer.Exit(1)


@app.command()
def check(file: ViewFile, engine: EngineOfSql = Engine.DUCKDB, as_json: AsJson = False) -> None:
    """Check a view and the views that it uses, without running them.

    SQL must mean the same in DuckDB and in Spark; each part that does not is named with the reason.
    """

    from projections.analysis.sql import check_sql
    from projections.analysis.used_views import with_used

    with failures(as_json):
        plan = with_used(file)
        for one in plan:
            if one.path.suffix == ".sql":
                check_sql(one, engine.value)
        names = [one.path.name for one in plan]
        if as_json:
            print_json({"view": plan[-1].name, "version": plan[-1].version, "order": names})
        else:
            out.print(Text(f"{plan[-1].name} {plan[-1].version}: {' → '.join(names)}"))


@app.command("list")
def list_views(
    directory: Annotated[Path, typer.Argument(help="The directory of the views' files.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the views in a directory, with the kept state of each. No view is run."""
    with failures(as_json):
        found = [_described(path) for path in sorted(directory.iterdir()) if _is_view(path)]
        if as_json:
            print_json(found)
        else:
            out.print(_table("Views", _LISTED, found))


@app.command()
def show(file: ViewFile, as_json: AsJson = False) -> None:
    """Show the kept rows of a view. The view itself is not run."""

    from pydantic_core import to_jsonable_python

    from projections.analysis.keeping import Keeper, kept_views
    from projections.analysis.used_views import with_used

    with failures(as_json):
        definition, kept = with_used(file)[-1], kept_views(file)
        if not kept:
            fail(f"nothing is kept of {file}; run it (`case-ledger view run {file}`)")
        for one in kept:
            table = Keeper(definition, one.ledger_id).rows(one)
            if as_json:
                rows = to_jsonable_python(table.to_pylist())
                print_json({"view": one.name, "position": one.position, "rows": rows})
            else:
                title = f"{one.name} {one.version}, position {one.position}"
                out.print(_table(title, table.column_names, table.to_pylist()))


def _is_view(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(("_", "."))


def _described(path: Path) -> dict[str, Any]:
    from projections.analysis.keeping import kept_views
    from projections.analysis.used_views import with_used
    from projections.analysis.view_class import ViewError

    try:
        definition = with_used(path)[-1]
    except ViewError as error:
        known = {"file": path.name, "is_current": False, "fault": str(error)}
        return dict.fromkeys(_LISTED) | known
    kept = kept_views(path)
    one = kept[0] if kept else None
    return {
        "file": path.name,
        "name": definition.name,
        "version": definition.version,
        "uses": ", ".join(definition.uses) or None,
        "ledger": one.ledger_id if one else None,
        "position": one.position if one else None,
        "is_current": one is not None
        and (one.version, one.definition) == (definition.version, definition.sha256),
        "fault": None,
    }


def _table(title: str, columns: list[str], rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in columns:
        is_number = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*("" if row.get(c) is None else str(row.get(c)) for c in columns))
    return table
