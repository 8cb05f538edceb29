"""The result of a drill with a backup, for people."""

from rich.markup import escape
from rich.table import Table

from api.cli.output import out
from api.cli.steps.backup_drill import DrillReport


def show_drill(report: DrillReport) -> None:
    """Print the steps of a drill, what others know of the ledger, and what would be lost."""
    verdict = "[green]The backup holds.[/]" if report.holds else "[bold red]The backup fails.[/]"
    last = report.last_recorded_at
    moment = f", the last recorded at {last:%d %b %Y %H:%M:%S} UTC" if last is not None else ""
    out.print(f"{verdict} {report.events} events{moment}; {report.seconds} seconds.")
    table = Table("Step", "", "What was found")
    for step in report.steps:
        mark = "[green]holds[/]" if step.holds else "[red]fails[/]"
        table.add_row(step.name, mark, escape(step.what))
    out.print(table)
    if report.known:
        table = Table("Who knows the ledger", "Events", "The same events")
        for one in report.known:
            same = {True: "yes", False: "[red]no[/]", None: "not compared"}[one.agrees]
            table.add_row(escape(one.source), str(one.size), same)
        out.print(table)
    out.print(
        f"A restore from this backup loses {report.lost_events} events, and the personal data of"
        f" {report.persons_without_key} persons.",
        soft_wrap=True,
    )
