"""Tables of members, of their changes, and of the keys that they handed in."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from rich import box
from rich.table import Table
from rich.text import Text

from api.client.schemas.members import AskedKey, MemberChange, MemberDocument


def member_table(members: Iterable[MemberDocument]) -> Table:
    """Return a table of members, with one line for each key."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Agency", "Name", "Position", "Member", "Key", "State"):
        table.add_column(column, overflow="fold")
    for member in members:
        name = member.name or "(no name)"
        first = (
            member.agency,
            f"{name}, head" if member.is_head else name,
            member.position or "",
            str(member.id),
        )
        if member.disabled_at is not None:
            state = Text(f"disabled {member.disabled_at:%d %b %y}", style="red")
            table.add_row(*map(Text, first), "", state)
        for n, key in enumerate(member.keys or (None,)):
            shown = first if n == 0 and member.disabled_at is None else ("", "", "", "")
            if key is None:
                if member.disabled_at is None:
                    table.add_row(*map(Text, shown), "", Text("no key", style="dim"))
                continue
            ends = f"{key.valid_until:%d %b %y}"
            state = Text(f"until {ends}", style="green") if key.is_valid else Text("ended", "red")
            table.add_row(*map(Text, shown), key.id, state)
    return table


def change_table(changes: Iterable[MemberChange]) -> Table:
    """Return a table of a member's changes."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("When", "Change", "By"):
        table.add_column(column)
    for one in changes:
        by = one.by_agency if one.by_member is None else f"{one.by_agency} ({one.by_member})"
        table.add_row(f"{one.at:%d %b %Y %H:%M}", one.change, by)
    return table


def asked_table(asked: Iterable[AskedKey], members: Mapping[UUID, MemberDocument]) -> Table:
    """Return a table of keys that wait, with whose they are."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Agency", "Name", "Key", "Handed in"):
        table.add_column(column, overflow="fold")
    for one in asked:
        name = members[one.member].name if one.member in members else None
        table.add_row(
            one.request.agency,
            Text(name or "(no name)"),
            one.key_id,
            f"{one.asked_at:%d %b %Y %H:%M}",
        )
    return table
