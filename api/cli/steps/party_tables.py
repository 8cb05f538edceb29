"""Show the parties of the agreement."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from api.cli.output import out
from api.client.schemas import PartyDocument


def show_parties_of_today(parties: Iterable[PartyDocument]) -> None:
    """Print each party, since when it is one, and until when."""
    table = Table("Party", "Name", "Since", "Leaves", box=None)
    for one in parties:
        table.add_row(one.code, escape(one.name), _since(one), _leaving(one))
    out.print(table)


def _since(one: PartyDocument) -> str:
    if one.in_force_from is None:
        return "the beginning"
    begins = one.in_force_from
    word = "joins on" if begins > datetime.now(UTC) else ""
    return f"{word} {begins:%Y-%m-%d %H:%M} UTC (position {one.joined_at})".strip()


def _leaving(one: PartyDocument) -> str:
    if one.leaves_on is None:
        return ""
    if not one.is_party:
        return f"[red]left on {one.leaves_on}[/]: it answers what it owes"
    return f"[yellow]on {one.leaves_on}[/] (declaration {one.declaration})"
