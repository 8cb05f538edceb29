"""Show the parties of the agreement."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.markup import escape

from api.cli.output import out
from api.client.schemas import PartyDocument


def show_parties_of_today(parties: Iterable[PartyDocument]) -> None:
    """Print each party, since when it is one, and until when."""
    for one in parties:
        out.print(f"[bold]{one.code}[/]  {escape(one.name)}", soft_wrap=True, highlight=False)
        for line in (_since(one), _leaving(one)):
            if line:
                out.print(f"  {line}", soft_wrap=True, highlight=False)


def _since(one: PartyDocument) -> str:
    if one.in_force_from is None:
        return "a party since the beginning"
    begins = f"{one.in_force_from:%Y-%m-%d %H:%M} UTC, adopted at position {one.joined_at}"
    if one.in_force_from > datetime.now(UTC):
        return f"[yellow]joins from {begins}[/]"
    return f"a party since {begins}"


def _leaving(one: PartyDocument) -> str:
    if one.leaves_on is None:
        return ""
    if not one.is_party:
        return f"[red]left on {one.leaves_on}[/]: it answers what it owes"
    return f"[yellow]leaves on {one.leaves_on}[/], by the declaration {one.declaration}"
