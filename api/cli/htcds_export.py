"""Export of a country's cases in the field's data standard, as the caller may see them."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json
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
        Purpose | None, typer.Option(help="The purpose of opening personal fields.")
    ] = None,
    basis: Annotated[
        LegalBasis | None, typer.Option(help="The legal basis of opening them.")
    ] = None,
    status: CaseStatus | None = None,
) -> None:
    """Write the cases that the agency's country sees as HTCDS, a row each.

    Fields come from the ledger and from the country's own vault. Personal fields are opened one
    case at a time, by the same rules as for a person who reads them. The access log records
    each opening.
    """

    from api.cli.steps.htcds_rows import Summary, htcds_rows
    from api.importing.htcds_writer import check_writable, write_rows

    groups = tuple(group or ())
    if groups and purpose is None:
        fail("say what personal fields are opened for: --purpose")
    with asked.client() as client:
        check_writable(file)
        summary = Summary()
        rows = htcds_rows(client, status, groups, purpose, basis, summary, asked.as_json)
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
