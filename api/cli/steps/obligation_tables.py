"""Tables of obligations, response times and balances."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.steps.case_tables import words
from projections.folds.obligation_terms import ObligationState
from projections.folds.obligations import Obligation
from projections.reports.accountability import Balance, ObligationTally, ResponseTimes

_HOUR, _DAY = 3600, 86400


def obligation_table(obligations: Iterable[Obligation], now: datetime) -> Table:
    """Return a table with one row for each obligation."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Case", "What", "Who owes it", "To whom", "Opened", "Due", "State"):
        table.add_column(column, overflow="fold")
    for owed in obligations:
        table.add_row(
            str(owed.case_id),
            words(owed.action),
            owed.debtor_agency or owed.debtor or "any party",
            owed.creditor_agency or ", ".join(owed.creditors),
            f"{owed.opened.acted_at:%d %b %Y}",
            _due(owed),
            _state(owed, now),
        )
    return table


def _due(owed: Obligation) -> str:
    if owed.due is not None:
        return f"{owed.due:%d %b %Y}"
    return f"({owed.expected_by:%d %b %Y}, assumed)" if owed.expected_by is not None else ""


def times_table(times: Iterable[ResponseTimes]) -> Table:
    """Response times, a group a row."""
    table = _tallies("Country", "Agency", "Kind")
    for column in ("On time", "Median", "90 of 100", "Longest"):
        table.add_column(column, justify="right")
    for group in times:
        share = group.share_on_time
        table.add_row(
            group.country or "",
            group.agency or "",
            words(group.kind.value) if group.kind else "",
            *_counts(group),
            "" if share is None else f"{share / 10:.1f} %",
            *map(_lasted, (group.median_seconds, group.p90_seconds, group.max_seconds)),
        )
    return table


def balance_table(balances: Iterable[Balance]) -> Table:
    """Return a table of what each two countries owe each other, one row for each direction."""
    table = _tallies("Who owes", "Whom")
    for balance in balances:
        one, other = balance.countries
        table.add_row(one, other, *_counts(balance.first_owes))
        table.add_row(other, one, *_counts(balance.second_owes), end_section=True)
    return table


def _tallies(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name)
    for name in ObligationTally.model_fields:
        table.add_column(words(name), justify="right")
    return table


def _counts(tally: ObligationTally) -> Iterable[str]:
    return (str(getattr(tally, name) or "·") for name in ObligationTally.model_fields)


def _state(owed: Obligation, now: datetime) -> Text:
    if owed.is_overdue(now) and owed.due is not None:
        return Text(f"overdue for {_lasted((now - owed.due) // timedelta(seconds=1))}", "bold red")
    if owed.state is ObligationState.OPEN or owed.outcome is None:
        return Text("open", "yellow")
    if owed.late:
        return Text(f"{words(owed.outcome.value)}, late", "red")
    done = owed.state is ObligationState.DISCHARGED
    return Text(words(owed.outcome.value), "green" if done else "dim")


def _lasted(seconds: int | None) -> str:
    if seconds is None:
        return ""
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // 60} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"
