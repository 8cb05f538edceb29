"""Rows of HTCDS from the cases that an agency sees."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.cli.output import out
from api.client import LedgerClient, RefusedError
from ledger.importing.row import ActionInRow, case_row
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CaseStatus, LegalBasis, Purpose


class Summary:
    """The parts that the rows lack, with the reason of each."""

    def __init__(self) -> None:
        self.closed: dict[UUID, str] = {}
        self.not_told: Counter[str] = Counter()


def htcds_rows(
    client: LedgerClient,
    status: CaseStatus | None,
    groups: tuple[FieldGroup, ...],
    purpose: Purpose | None,
    basis: LegalBasis | None,
    summary: Summary,
    as_json: bool,
) -> Iterator[dict[str, Any]]:
    """Yield a row of HTCDS for each case that the agency sees."""
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
