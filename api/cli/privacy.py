"""Commands that make papers for data-protection officers, without a database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.connection import MayAsk, asks
from api.cli.output import failures

if TYPE_CHECKING:
    from ledger.procedure.protocol import Protocol

Language = Annotated[
    str,
    typer.Option(help="The paper's language: en; or sq, cnr, translated by a machine."),
]

app = typer.Typer(
    name="privacy",
    help="Papers for data-protection officers: records, arrangement, retention, in Markdown.",
    no_args_is_help=True,
)


@app.command()
@asks
def records(
    asked: MayAsk,
    party: Annotated[str, typer.Argument(help="The country whose records they are, by its code.")],
    language: Language = "en",
) -> None:
    """Print the records of processing of a country (GDPR, Article 30), to be completed."""

    from api.paper.privacy.records import records_page

    with failures():
        _print(records_page(_protocol(asked), party.upper()), language)


@app.command()
@asks
def agreement(asked: MayAsk, language: Language = "en") -> None:
    """Print the arrangement of joint controllers (GDPR, Article 26), to be completed."""

    from api.paper.privacy.agreement import agreement_page

    with failures():
        _print(agreement_page(_protocol(asked)), language)


@app.command()
@asks
def retention(asked: MayAsk, language: Language = "en") -> None:
    """Print how long everything is kept that a node stores, and what ends it."""

    from api.paper.privacy.retention_table import retention_page

    with failures():
        _print(retention_page(_protocol(asked)), language)


@app.command()
def translate(
    file: Annotated[
        Path, typer.Argument(help="A paper in English, such as the impact assessment.")
    ],
    language: Language,
) -> None:
    """Print a paper that was written by hand in another language, translated by a machine."""

    with failures():
        _print(file.read_text(encoding="utf-8"), language)


def _print(page: str, language: str) -> None:
    """Print a paper in a language. Raises ``UnknownLanguageError``."""
    from api.paper.privacy.translated import translated

    typer.echo(page if language == "en" else translated(page, language), nl=False)


def _protocol(asked: MayAsk) -> "Protocol":
    """Return the version in force at the node that an agency asks, or that of the settings."""
    from api.cli.steps.amendment_tables import version_of
    from api.runtime.settings import Settings
    from ledger.procedure.protocol import Protocol

    if asked.agency is None:
        return Settings().load_protocol()
    with asked.connect(asked.agency, asked.key) as client:
        in_force = version_of(client.protocol_versions(), None)
        return Protocol.model_validate(dict(in_force.text))
