"""Sign an act on the protocol: the question before it, and the receipt after it."""

from pathlib import Path

import typer
from rich.markup import escape

from api.cli.connection import AsAgencyOrJson
from api.cli.output import fail, out, print_json
from api.client import LedgerClient
from api.client.schemas import Receipt
from ledger.vocabulary import Action


def ask_to_sign(asked: AsAgencyOrJson, question: str, *, yes: bool) -> None:
    """Ask the user to go on, and exit if not. A program (``--json``) is not asked."""
    if not (yes or asked.as_json) and not typer.confirm(question):
        fail("nothing was signed")


def sign_act(asked: AsAgencyOrJson, client: LedgerClient, act: Action, done: str) -> Receipt:
    """Sign an act and record it. Print ``done`` with its position, or the receipt as JSON."""
    receipt = client.append_to_registry(act)
    if asked.as_json:
        print_json(receipt)
    else:
        out.print(
            f"[green]{escape(done)}[/] at position {receipt.position}.",
            soft_wrap=True,
            highlight=False,
        )
    return receipt


def sign_act_or_write(
    asked: AsAgencyOrJson, client: LedgerClient, act: Action, file: Path | None
) -> None:
    """Sign an act and record it. With a file, write the signed act into it instead."""
    if file is None:
        sign_act(asked, client, act, "Recorded")
        return
    file.write_text(f"{client.sign(act, None)}\n", encoding="ascii")
    out.print(f"Signed into {file}", soft_wrap=True)
