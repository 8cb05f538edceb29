"""Record an announcement of absence or its end, and show a party that is away."""

from datetime import datetime

from rich.table import Table

from api.cli.output import out
from api.client.schemas import AbsenceReport


def print_absence(report: AbsenceReport) -> None:
    """Print which party is away, since when, and what it misses."""

    def section(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        if not rows:
            out.print(f"{title}: none.")
            return
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        out.print(table)

    def day(at: datetime | None) -> str:
        return f"{at:%d %b %Y %H:%M}" if at else ""

    section(
        f"Announced absences of {report.party}",
        ("position", "by", "votes on", "announced (UTC)", "counts from", "ended at position"),
        [
            (
                str(one.position),
                one.by,
                ", ".join(one.subjects),
                day(one.announced_at),
                day(one.counts_from),
                str(one.ended_at or "open"),
            )
            for one in report.announced
        ],
    )
    section(
        f"Decided without {report.party}",
        ("position", "recorded (UTC)", "without", "policy"),
        [
            (str(one.position), day(one.recorded_at), ", ".join(one.without), one.policy)
            for one in report.decided
        ],
    )
    section(
        f"Published without the witness of {report.party}",
        ("sizes", "checkpoints", "from (UTC)", "to", "cosigned since at size"),
        [
            (
                f"{one.first} to {one.last}",
                str(one.count),
                day(one.began_at),
                day(one.ended_at),
                str(one.covered_by or "not yet"),
            )
            for one in report.published
        ],
    )
