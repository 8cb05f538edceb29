"""Run an import with its progress, and show the summary."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table

from api.cli.output import err, out, print_json
from api.cli.steps.building import expected
from api.importing.cases_table import NoCase
from api.importing.error_file import RefusalReason, reasons
from api.importing.first_persons import first_persons
from api.importing.import_run import ImportConflictError, Importer, Order, Progress, Summary
from api.importing.tables import TableForm
from api.node.agreed_protocol import with_agreed_protocol
from api.runtime.node_database import check_migrated, open_store
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.store.database import Database

_NAMED_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon"}
_NO_CASES = {
    NoCase.ABOVE_NAMES.value: "rows above the names",
    NoCase.NAMES_AGAIN.value: "rows with the names again",
    NoCase.TOTAL.value: "rows of totals",
}


def run_import(settings: Settings, order: Order, *, quiet: bool) -> Summary:
    """Run an import, with its progress on the terminal unless it is quiet."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with open_store(settings) as store:
        settings = with_agreed_protocol(settings, store.owner_conninfo)
        check_migrated(store.conninfo, settings.load_protocol().every_party_code)
        with (
            Ledger(environment(store.conninfo, pool_size=2)) as ledger,
            Database(store.conninfo, max_size=2) as database,
            Bar(*columns, TimeRemainingColumn(), console=err, disable=quiet) as bar,
        ):
            importer = Importer(settings, ledger, database, order, expected)
            task = bar.add_task("Reading", total=None)

            def show(progress: Progress) -> None:
                mark = progress.mark
                bar.update(
                    task,
                    completed=progress.bytes_read,
                    total=progress.bytes_total,
                    description=f"{mark.rows} rows, {mark.refused} refused",
                )

            try:
                return importer.run(show)
            except ImportConflictError as error:
                raise ValueError(str(error)) from error


def print_summary(order: Order, summary: Summary, *, as_json: bool) -> None:
    """Print how many rows were recorded, refused or there already."""
    mark = summary.mark
    why = reasons(order.errors) if mark.refused else []
    if as_json:
        print_json(_as_json(order, summary, why))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("rows", str(mark.rows))
    if order.dry_run:
        table.add_row("could be recorded", str(mark.recorded))
    else:
        table.add_row("recorded", f"{mark.recorded} ({summary.recorded_now} by this run)")
    if summary.first is not None:
        table.add_row("positions", f"{summary.first} to {summary.last}")
    if mark.updated or mark.unchanged:
        would = "would change" if order.dry_run else "changed"
        table.add_row(
            "of known cases", f"{mark.updated} {would}, {mark.unchanged} with nothing new"
        )
    table.add_row("refused", f"[red]{mark.refused}[/]" if mark.refused else "0")
    for no_case, count in sorted(mark.no_cases.items()):
        table.add_row(_NO_CASES[no_case], str(count))
    table.add_row("read as", _form(summary.form))
    out.print(table)
    if mark.not_imported:
        left = ", ".join(f"{name} ({count})" for name, count in sorted(mark.not_imported.items()))
        out.print(f"[yellow]No action has these columns; they stay with you:[/] {left}")
    if why:
        refusals = Table("Rule", "Column", "Action", "Rows", box=box.SIMPLE_HEAD)
        for reason, count in why:
            refusals.add_row(*reason, str(count))
        out.print(refusals)
        out.print(f"Each row is in {order.errors}", soft_wrap=True)


def print_persons(order: Order, summary: Summary) -> None:
    """Print the first persons as the map reads them, for the eyes of the operator alone.

    Nothing is printed where the output is no terminal: it would be a file with names.
    """
    if not out.is_terminal:
        return
    table = Table(
        "Row", "Name", "Born", "Age group", "Citizenship", "Opened", "Actions",
        box=box.SIMPLE_HEAD, title="As the map reads the first rows",
    )  # fmt: skip
    party = order.agency[:2].upper()
    for one in first_persons(order.source, order.import_map, summary.form, party):
        words = (one.name, one.born, one.age_group, one.citizenship, one.opened)
        table.add_row(str(one.row), *map(escape, words), ", ".join(one.actions))
    out.print(table)


def print_changes(summary: Summary) -> None:
    """Print the first differences to known cases, for the eyes of the operator alone.

    Nothing is printed where the output is no terminal: it would be a file with names.
    """
    if not out.is_terminal or not summary.changes:
        return
    table = Table(
        "Row", "Field or action", "Recorded", "In the file",
        box=box.SIMPLE_HEAD, title="What the first rows would change in known cases",
    )  # fmt: skip
    for row, one in summary.changes:
        words = (_shown(one.before), _shown(one.after))
        table.add_row(str(row), one.name, *(words if one.after is not None else ("", "new")))
    out.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return escape(" ".join(map(str, value)))
    return "" if value is None else escape(str(value))


def _form(form: TableForm) -> str:
    """Describe how the file was read, and what of it was guessed."""
    parts = (
        ("encoding", form.encoding),
        ("delimiter", _NAMED_DELIMITERS.get(form.delimiter or "", form.delimiter)),
        ("sheet", form.sheet),
    )
    return ", ".join(
        escape(f"{name} {value}{' (guessed)' if name in form.guessed else ''}")
        for name, value in parts
        if value is not None
    )


def _as_json(
    order: Order, summary: Summary, why: list[tuple[RefusalReason, int]]
) -> dict[str, Any]:
    mark = summary.mark
    return {
        "dry_run": order.dry_run,
        "rows": mark.rows,
        "recorded": 0 if order.dry_run else mark.recorded,
        "recorded_now": summary.recorded_now,
        "acceptable": mark.recorded,
        "refused": mark.refused,
        "updated": mark.updated,
        "unchanged": mark.unchanged,
        "first_position": summary.first,
        "last_position": summary.last,
        "errors": str(order.errors),
        "refusals": [{**reason._asdict(), "rows": count} for reason, count in why],
        "not_imported": mark.not_imported,
        "no_cases": mark.no_cases,
        "read_as": asdict(summary.form),
    }
