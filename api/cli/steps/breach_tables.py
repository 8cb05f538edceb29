"""The report on a breach as tables."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from api.cli.output import out
from api.cli.steps.table_words import words
from api.client.schemas.breach import BreachReport


def print_report(report: BreachReport) -> None:
    """Print the report: first what it means, then the cases, the entries and the actions."""
    for line in summary(report):
        out.print(line, soft_wrap=True, markup=False)
    if report.cases:
        out.print(_cases(report))
    if report.readings:
        out.print(_readings(report))
    if report.acts:
        out.print(_acts(report))
    out.print(f"Written down as entry {report.look.seq}.")


def summary(report: BreachReport) -> Iterator[str]:
    """Yield the sentences of a report, each on one line."""
    yield f"{report.since:%d %b %Y %H:%M} to {report.until:%d %b %Y %H:%M} UTC."
    for key in report.keys:
        ended = f"revoked {key.revoked_at:%d %b %Y %H:%M}" if key.revoked_at else "NOT revoked"
        yield f"Key {key.key_id} of {key.agency}: {ended}."
    yield (
        f"Readings granted: {report.granted}; refused: {report.refused}; documents opened:"
        f" {report.documents}; downloads: {report.downloads}; searches: {report.searches}."
    )
    yield f"Actions signed: {len(report.acts)}."
    countries = ", ".join(f"{one.country} ({one.cases})" for one in report.countries) or "none"
    yield f"Persons affected: {report.persons}. Countries to tell, with cases: {countries}."
    for one in report.reach:
        groups = ", ".join(one.groups) or "none"
        yield (
            f"{one.agency} could see the case fields of {one.cases} cases, which no log records,"
            f" and read the groups: {groups}."
        )
    if report.notify_by is not None:
        yield f"Notify the authority by {report.notify_by:%d %b %Y %H:%M} UTC."
    if report.changed:
        numbers = ", ".join(map(str, report.changed))
        yield f"Entries that somebody changed, which may be the suspect's: {numbers}."
    if report.log_begins_at is not None and report.log_begins_at > report.since:
        yield f"Earlier entries have ended: the log begins {report.log_begins_at:%d %b %Y}."
    if report.is_cut:
        yield "This is NOT all: ask for shorter spans."


def _cases(report: BreachReport) -> Table:
    table = _table("Case", "Countries", "Opened", "Readings", "Downloads", "Actions")
    for one in report.cases:
        table.add_row(
            str(one.case_id),
            ", ".join(one.parties),
            ", ".join(map(words, one.opened)),
            str(one.readings),
            str(one.downloads),
            str(one.acts),
        )
    return table


def _readings(report: BreachReport) -> Table:
    table = _table("Entry", "Time", "Case", "What", "Groups", "Result")
    for one in report.readings:
        table.add_row(
            str(one.seq),
            f"{one.at:%d %b %H:%M}",
            str(one.asked.case_id),
            words(one.asked.operation),
            ", ".join(map(words, one.asked.groups)),
            "granted" if one.granted else f"refused: {one.refused_by}",
        )
    return table


def _acts(report: BreachReport) -> Table:
    table = _table("Position", "Recorded", "Case", "Action", "To")
    for one in report.acts:
        table.add_row(
            str(one.position),
            f"{one.recorded_at:%d %b %H:%M}",
            str(one.case_id or ""),
            words(one.kind),
            one.recipient or "",
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
