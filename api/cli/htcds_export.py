"""Export of a country's cases in the field's data standard, as the caller may see them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json
from api.client import LedgerClient, RefusedError
from api.importing.htcds_writer import check_writable, write_rows
from ledger.importing.row import ActionInRow, case_row
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CaseStatus, LegalBasis, Purpose

app = typer.Typer()


@app.command("export-cases")
@asks
def export_cases(
    asked: AsAgencyOrJson,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="HTCDS as .csv, or as JSON lines (.jsonl).")
    ],
    group: Annotated[
        list[FieldGroup] | None,
        typer.Option(help="Personal fields of this group too. May be repeated."),
    ] = None,
    purpose: Annotated[
        Purpose | None, typer.Option(help="What personal fields are opened for.")
    ] = None,
    basis: Annotated[LegalBasis | None, typer.Option(help="The legal basis that is meant.")] = None,
    status: CaseStatus | None = None,
) -> None:
    """Write the cases that the agency's country sees as HTCDS, a row each.

    Fields come from the ledger and from the country's own vault. Personal fields are opened one
    case at a time, by the same rules as for a person who reads them, and each is written down.
    """
    groups = tuple(group or ())
    if groups and purpose is None:
        fail("say what personal fields are opened for: --purpose")
    with asked.client() as client:
        check_writable(file)
        summary = _Summary()
        rows = _rows(client, status, groups, purpose, basis, summary, asked.as_json)
        count = write_rows(file, rows)
        if asked.as_json:
            print_json(
                {
                    "cases": count,
                    "without_personal_fields": {
                        str(case): rule for case, rule in summary.closed.items()
                    },
                    "not_told": dict(summary.not_told),
                }
            )
            return
        out.print(f"[green]Written[/]: {count} cases to {file}, which only you can read.")
        for rule, cases in Counter(summary.closed.values()).items():
            out.print(f"[yellow]Without personal fields[/]: {cases} cases, refused by {rule}.")
        if summary.not_told:
            told = ", ".join(f"{kind} ({n})" for kind, n in sorted(summary.not_told.items()))
            out.print(f"The standard has no place for: {told}.", soft_wrap=True)


class _Summary:
    """What the rows do not have, and why."""

    def __init__(self) -> None:
        self.closed: dict[UUID, str] = {}
        self.not_told: Counter[str] = Counter()


def _rows(
    client: LedgerClient,
    status: CaseStatus | None,
    groups: tuple[FieldGroup, ...],
    purpose: Purpose | None,
    basis: LegalBasis | None,
    summary: _Summary,
    as_json: bool,
) -> Iterator[dict[str, Any]]:
    views = list(client.cases(status=status))
    columns = (TextColumn("Reading cases"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=out, disable=as_json, transient=True
    ) as bar:
        for view in bar.track(views, total=len(views)):
            disclosed: dict[UUID, dict[str, Any]] = {
                one.action_id: dict(one.fields) for one in client.case(view.case_id).disclosed
            }
            if groups and purpose is not None:
                try:
                    opened = client.read(view.case_id, groups, purpose, basis)
                    for field in opened.fields:
                        disclosed.setdefault(field.action_id, {})[field.field] = field.value
                except RefusedError as error:
                    summary.closed[view.case_id] = error.problem.rule or "none"
            actions = [
                ActionInRow(
                    entry.action_id,
                    entry.kind,
                    {
                        "acted_at": entry.acted_at.isoformat(),
                        **entry.fields,
                        **entry.in_clear,
                        **disclosed.get(entry.action_id, {}),
                    },
                )
                for entry in client.trail(view.case_id)
            ]
            row = case_row(actions, view.status.value)
            summary.not_told.update(row.not_told)
            yield dict(row.values)
