"""Tables of drafts, and of what a draft says."""

import json
from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from api.client.schemas.drafts import DraftDocument, OpenedDraft
from ledger.signing import signed_action
from ledger.signing.signed_action import signed_in_clear


def drafts_table(drafts: Iterable[DraftDocument]) -> Table:
    """Return a table of drafts."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Draft", "Action", "Case", "Author", "State", "Until"):
        table.add_column(column, overflow="fold")
    for one in drafts:
        state = "to approve" if one.may_approve else one.refused_by or one.state
        table.add_row(
            *map(Text, (str(one.action_id), one.kind, str(one.case_id), str(one.author)[:8])),
            Text(state, style="yellow" if one.may_approve else ""),
            f"{one.until:%d %b %Y %H:%M}",
        )
    return table


def content_table(opened: OpenedDraft) -> Table:
    """Return a table of all fields of a draft, as the signed text itself has them.

    The node's own words on the draft are not shown: the approval is signed over this text. Raises
    ``Refusal`` if a disclosure is not the action's.
    """
    parsed = signed_action.parse(opened.signed)
    action = signed_action.read(parsed)
    signed_action.check_disclosures(action, parsed.disclosures)
    disclosed = {one.name: one.value for one in parsed.disclosures}
    table = Table(box=box.SIMPLE_HEAD, title=f"{action.kind}, case {action.case_id}")
    for column in ("Field", "Value"):
        table.add_column(column, overflow="fold")
    for name, value in {**action.fields, **signed_in_clear(action), **disclosed}.items():
        told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(Text(name), Text(told))
    return table
