"""The progress of an upload or a download, and the table of a case's documents."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from api.cli.output import err
from api.client.schemas.case_documents import AwaitedDocument, GivenDocument, ListedDocument


@contextmanager
def transfer_bar(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many bytes are done, and of how many."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=as_json, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)


def _version(document: ListedDocument) -> str:
    """Return a line on the document that this one is a version of; empty for any other."""
    if document.redacts is None:
        return ""
    ranges = (document.pages_left_out or "").replace(",", ", ")
    without = f" without pages {ranges}" if ranges else ", redacted"
    if document.pages_marked:
        without += f", parts hidden on pages {document.pages_marked.replace(',', ', ')}"
    unknown = "" if document.redacts_known else ", which this case does not have"
    claim = f"{document.agency} says so; see `case-ledger document compare`"
    return f"\n[dim]version of {document.redacts}{unknown}{without} ({claim})[/]"


def documents_table(documents: Iterable[ListedDocument]) -> Table:
    """Return a table of documents."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Document", no_wrap=True)  # the id that a download needs
    # At 80 characters a row, one wide column keeps titles whole.
    table.add_column("What it is, and who signed it", overflow="fold")
    for one in documents:
        kind = one.document.document_kind.value.replace("_", " ")
        level = one.group.value if one.group is not None else "case"
        here = "" if one.is_here else ", not here"
        lines = (
            escape(one.document.title) + _version(one),
            f"{kind}, {level}, {one.document.size} bytes{here}",
            *(f"{by.agency}, {by.acted_at:%d %b %Y}" for by in one.signatures),
            *(f"not yet: {country}" for country in one.unsigned_by),
            *(f"annulled since, and told here: {action}" for action in one.annulled_in_it),
        )
        table.add_row(str(one.id), "\n".join(lines))
    return table


def awaited_table(contents: Iterable[AwaitedDocument]) -> Table:
    """Return a table of contents that other countries give."""
    table = Table(box=box.SIMPLE_HEAD, title="From other countries")
    table.add_column("Document", no_wrap=True)
    for column in ("From", "State", "Bytes", "Since", "Asked"):
        table.add_column(column)
    for one in contents:
        why = one.refused or (one.trouble if one.state != "held" else None)
        asked = f"{one.asked}, {one.asked_at:%d %b %Y %H:%M}" if one.asked_at else "not yet"
        table.add_row(
            str(one.id),
            one.origin or "given back",
            one.state if why is None else f"{one.state}: {why}",
            f"{one.received} of {one.size}",
            f"{one.since:%d %b %Y %H:%M} UTC",
            asked,
        )
    return table


def given_table(contents: Iterable[GivenDocument]) -> Table:
    """Return a table of contents that this country gave."""
    table = Table(box=box.SIMPLE_HEAD, title="To other countries")
    table.add_column("Document", no_wrap=True)
    for column in ("To", "Since", "Confirmed"):
        table.add_column(column)
    for one in contents:
        table.add_row(
            str(one.id),
            one.recipient,
            f"{one.begun_at:%d %b %Y %H:%M} UTC",
            f"{one.held_at:%d %b %Y %H:%M} UTC" if one.held_at else "not yet",
        )
    return table
