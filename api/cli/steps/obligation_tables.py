"""Tables of obligations, response times and balances."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rich import box
from rich.table import Table
from rich.text import Text

from api.cli.steps.table_words import day, said, words
from api.cli.steps.table_words import owed as owed_step
from projections.folds.obligation_terms import ObligationState
from projections.folds.obligations import Obligation
from projections.reports.accountability import Balance, ObligationTally, ResponseTimes

_HOUR, _DAY = 3600, 86400


def obligation_table(obligations: Iterable[Obligation], now: datetime) -> Table:
    """Return a table with one row for each obligation."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("case", "what", "owes", "to_whom", "opened", "due", "state"):
        table.add_column(said(column), overflow="fold")
    for owed in obligations:
        table.add_row(
            str(owed.case_id),
            owed_step(owed.action),
            owed.debtor_agency or owed.debtor or said("any_party"),
            owed.creditor_agency or ", ".join(owed.creditors),
            day(owed.opened.acted_at),
            _due(owed),
            _state(owed, now),
        )
    return table


def _due(owed: Obligation) -> str:
    if owed.due is not None:
        return day(owed.due)
    return f"({said('assumed', day=day(owed.expected_by))})" if owed.expected_by is not None else ""


def times_table(times: Iterable[ResponseTimes]) -> Table:
    """Response times, a group a row."""
    table = _tallies("country", "agency", "kind")
    for column in ("on_time", "median", "of_100", "longest"):
        table.add_column(said(column), justify="right")
    for group in times:
        share = group.share_on_time
        table.add_row(
            group.country or "",
            group.agency or "",
            words(group.kind) if group.kind else "",
            *_counts(group),
            "" if share is None else f"{share / 10:.1f} %",
            *map(_lasted, (group.median_seconds, group.p90_seconds, group.max_seconds)),
        )
    return table


def balance_table(balances: Iterable[Balance]) -> Table:
    """Return a table of what each two countries owe each other, one row for each direction."""
    table = _tallies("who_owes", "whom")
    for balance in balances:
        one, other = balance.countries
        table.add_row(one, other, *_counts(balance.first_owes))
        table.add_row(other, one, *_counts(balance.second_owes), end_section=True)
    return table


def _tallies(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(said(name))
    for name in ObligationTally.model_fields:
        table.add_column(words(name), justify="right")
    return table


def _counts(tally: ObligationTally) -> Iterable[str]:
    return (str(getattr(tally, name) or "·") for name in ObligationTally.model_fields)


def _state(owed: Obligation, now: datetime) -> Text:
    if owed.is_overdue(now) and owed.due is not None:
        lasted = _lasted((now - owed.due) // timedelta(seconds=1))
        return Text(said("overdue_for", time=lasted), "bold red")
    if owed.state is ObligationState.OPEN or owed.outcome is None:
        return Text(said("open"), "yellow")
    if owed.late:
        return Text(said("late", outcome=words(owed.outcome)), "red")
    done = owed.state is ObligationState.DISCHARGED
    return Text(words(owed.outcome), "green" if done else "dim")


def _lasted(seconds: int | None) -> str:
    if seconds is None:
        return ""
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // 60} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"
