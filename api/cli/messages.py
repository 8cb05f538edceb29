"""Commands on catalogues of messages: what a language lacks, and the files to fill it in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from api.cli.output import AsJson, failures, out, print_json

app = typer.Typer(
    name="messages",
    help="Catalogues of messages: check a language's folder, or complete it.",
    no_args_is_help=True,
)
Folder = Annotated[
    Path,
    typer.Argument(help="A language's folder such as el, or the folder that it is in."),
]


@app.command()
def check(
    folder: Folder,
    protocol: Annotated[
        Path | None,
        typer.Option(help="A protocol file, whose own names are to be in the language too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the messages that a language lacks, or has and nothing uses.

    Pages and documents show the English text of a message that is missing. Exit code 1: the list is
    not empty.
    """

    from api.cli.steps.language_findings import as_json as findings_as_json
    from api.cli.steps.language_findings import show
    from api.paper.languages.checking import check_folder, language_folders
    from ledger.procedure.protocol import load_protocol

    with failures(as_json):
        agreed = load_protocol(protocol) if protocol is not None else None
        found = [check_folder(one, agreed) for one in language_folders(folder)]
        if as_json:
            print_json([findings_as_json(one) for one in found])
        else:
            for one in found:
                show(one)
    if not all(one.are_none for one in found):
        raise typer.Exit(1)


@app.command("complete")
def complete_folder(folder: Folder) -> None:
    """Write what a language lacks into its files, with the English text above, to be filled in.

    A new language begins with an empty folder, named by its code, with LC_MESSAGES in it.
    """

    from api.paper.languages.checking import language_folders
    from api.paper.subject_access.catalogues import complete

    with failures():
        for one in language_folders(folder):
            complete(one)
            out.print(f"Written: {escape(str(one / 'LC_MESSAGES'))}", soft_wrap=True)
