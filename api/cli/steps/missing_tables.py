"""The missing parts of a vault, as a document and as a table."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from ledger.vault.documents.content_standings import ContentStanding
from ledger.vault.missing_disclosures import MissingPart, MissingParts
from ledger.vault.required_disclosures import FieldPart, MissingReason
from ledger.vocabulary.action import LedgerModel

_PAGE = 500
MOST_CONTENTS = 1_000
"""So many contents are listed of a vault, those first that have waited longest."""
_FIELDS = {
    FieldPart.OWN: "its own agency's",
    FieldPart.CASE: "`case` fields of {}",
    FieldPart.RELEASED: "released by {}",
}
_WHY = {
    MissingReason.NOT_RECEIVED: "never came in, or its entry of the inventory is gone",
    MissingReason.ROW_GONE: "the row is gone, or does not hold",
    MissingReason.KEY_MISSING: "the person's data key is missing",
}


class VaultMissing(LedgerModel):
    """The missing parts of one country's vault."""

    country: str
    missing: tuple[MissingPart, ...]
    contents: tuple[ContentStanding, ...] = ()
    """Contents of other countries' documents that are not held yet."""


def missing_table(country: str, parts: Iterable[MissingPart]) -> Table:
    """Return a table of what a vault lacks, one row for each part of an action's fields."""
    table = Table(
        "Case", "Action", "Kind", "Fields", "MissingReason", "Should have it", "Since", "Asked"
    )
    table.title = f"[yellow]Missing in the vault of {country}[/]"
    for one in parts:
        count = "an unknown number" if one.fields is None else str(one.fields)
        table.add_row(
            str(one.case_id),
            str(one.action),
            one.kind,
            f"{count}, {_FIELDS[one.part].format(one.origin)}",
            _WHY[one.why],
            ", ".join((country, *one.holders)),
            f"{one.since:%d %b %Y %H:%M} UTC",
            _asked(one),
        )
    return table


def contents_table(country: str, contents: Iterable[ContentStanding]) -> Table:
    """Return a table of contents of other countries' documents that a vault does not hold yet."""
    table = Table("Case", "Action", "From", "State", "Bytes", "Since", "Asked")
    table.title = f"[yellow]Contents of documents that are not in the vault of {country}[/]"
    for one in contents:
        why = one.refused or one.trouble
        table.add_row(
            str(one.case_id),
            str(one.action),
            one.origin or "given back",
            one.state if why is None else f"{one.state}: {why}",
            f"{one.received} of {one.size}",
            f"{one.since:%d %b %Y %H:%M} UTC",
            f"{one.asked}: asked {one.tries} times" if one.asked is not None else "not yet",
        )
    return table


def _asked(one: MissingPart) -> str:
    if one.lost_at is not None:
        return f"[red]lost: nobody has it any more ({one.lost_at:%d %b %Y})[/]"
    return "\n".join(
        f"{asked.country}: "
        + (
            f"answered {asked.answered_at:%d %b %Y %H:%M}"
            if asked.answered_at is not None
            else f"asked {asked.times} times, last {asked.asked_at:%d %b %Y %H:%M}"
        )
        for asked in one.asked
    )


def all_missing(parts: MissingParts) -> Iterator[MissingPart]:
    """Yield every missing part, page by page."""
    after: MissingPart | None = None
    while page := parts.page(_PAGE, after=after):
        yield from page
        after = page[-1]
