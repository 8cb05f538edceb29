"""Commands that make papers for data-protection officers, without a database."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.connection import MayAsk, asks
from api.cli.output import failures

if TYPE_CHECKING:
    from ledger.procedure.protocol import Protocol

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
) -> None:
    """Print the records of processing of a country (GDPR, Article 30), to be completed."""

    from api.paper.privacy.records import records_page

    with failures():
        typer.echo(records_page(_protocol(asked), party.upper()), nl=False)


@app.command()
@asks
def agreement(asked: MayAsk) -> None:
    """Print the arrangement of joint controllers (GDPR, Article 26), to be completed."""

    from api.paper.privacy.agreement import agreement_page

    with failures():
        typer.echo(agreement_page(_protocol(asked)), nl=False)


@app.command()
@asks
def retention(asked: MayAsk) -> None:
    """Print how long everything is kept that a node stores, and what ends it."""

    from api.paper.privacy.retention_table import retention_page

    with failures():
        typer.echo(retention_page(_protocol(asked)), nl=False)


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
