"""Commands that find cases, and that keep the agency's own file numbers of them."""

from typing import Annotated

import typer

from api.cli.connection import AsAgencyOrJson, CaseName, asks
from api.cli.output import fail, out, print_json
from ledger.vocabulary.picklists import Purpose

app = typer.Typer()


@app.command()
@asks
def find(
    asked: AsAgencyOrJson,
    text: Annotated[
        str | None,
        typer.Argument(
            help="A reference, an id, a file number, a day, or a person's name or number. Leave it"
            " out to be asked for it: then no history of the shell has a name.",
            show_default="asked for",
        ),
    ] = None,
    purpose: Annotated[
        Purpose | None,
        typer.Option(help="The purpose of a search for a person.", show_default="no person"),
    ] = None,
) -> None:
    """Find cases by reference, file number or day, or by the person, for a purpose.

    The access log records a search for a person, and each case that it shows.
    """

    from api.cli.steps.found_cases import found_table

    typed = typer.prompt("Find", err=True) if text is None else text
    with asked.client() as client:
        found = client.search(typed, purpose)
        if asked.as_json:
            print_json(found)
            return
        if found.needs_purpose:
            fail("no case has this reference or file number; to search for a person, add --purpose")
        if not found.cases:
            fail("nothing was found that this agency may see")
        out.print(found_table(found.cases))
        if found.has_more:
            out.print("More cases match. Search with more words.")


@app.command("file-number")
@asks
def file_number(
    asked: AsAgencyOrJson,
    case: CaseName,
    number: Annotated[
        str | None,
        typer.Argument(help="The agency's own number of the case.", show_default="show them"),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the agency's number.")] = False,
) -> None:
    """Show, set or remove the agency's own file number of a case.

    The number is in the own country's vault alone, and no other country sees it.
    """
    if remove and number is not None:
        fail("give a number or --remove, not both")
    with asked.client() as client:
        case_id = client.case_named(case)
        if remove:
            client.remove_file_number(case_id)
        elif number is not None:
            client.set_file_number(case_id, number)
        numbers = client.file_numbers([case_id])
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in numbers])
            return
        for one in numbers:
            told = one.number or "does not open at this node"
            out.print(f"{one.agency}: {told}", markup=False, soft_wrap=True)
        if not numbers:
            out.print("No agency of this country has a file number of this case.")
