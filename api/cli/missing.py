"""What a vault lacks by the ledger: a command, and the table that `verify vault` shows too."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.table import Table

from api.cli.nodes import app
from api.cli.output import AsJson, failures, out, print_json
from api.keys.log_keys import own_parties
from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from ledger.store.database import Database
from ledger.vault.missing_disclosures import MissingPart, MissingParts
from ledger.vault.required_disclosures import FieldPart, MissingReason
from ledger.vocabulary.action import LedgerModel

_PAGE = 500
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
    """What one country's vault lacks."""

    country: str
    missing: tuple[MissingPart, ...]


@app.command()
def missing(
    country: Annotated[
        str | None, typer.Argument(help="The country whose vault it is; all of this node's.")
    ] = None,
    ask_again: Annotated[
        bool,
        typer.Option("--ask-again", help="Forget the answers, so that what is lost is asked for."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the parts that a vault must hold by the ledger and lacks, and which nodes were asked.

    The running node compares all the time. `case-ledger verify vault` compares now.
    """
    settings = Settings()
    with failures(as_json), open_store(settings) as store, Database(store.conninfo) as database:
        own = own_parties(settings)
        if country is not None and country not in own:
            raise ValueError(f"this is no node of {country} (CASE_LEDGER_COUNTRIES)")
        tables = {
            one: MissingParts(database, one) for one in ([country] if country is not None else own)
        }
        if ask_again:
            for table in tables.values():
                table.ask_again()
        found = [
            VaultMissing(country=one, missing=tuple(_all(table))) for one, table in tables.items()
        ]
        if as_json:
            print_json([one.model_dump(mode="json") for one in found])
            return
        for one in found:
            if one.missing:
                out.print(missing_table(one.country, one.missing))
            else:
                out.print(f"[green]The vault of {one.country} has all that it must hold.[/]")


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


def _all(parts: MissingParts) -> Iterator[MissingPart]:
    after: MissingPart | None = None
    while page := parts.page(_PAGE, after=after):
        yield from page
        after = page[-1]
