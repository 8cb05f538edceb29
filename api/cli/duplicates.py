"""Commands on cases that may be one person's."""

from typing import Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import AsJson, fail, failures, out, print_json
from ledger.vocabulary.duplicates import Finding

app = typer.Typer(
    name="duplicates",
    help="Duplicates: cases that may be of one person. For coordinators.",
    no_args_is_help=True,
)


@app.command("list")
@asks
def listed(
    asked: AsAgencyOrJson,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
) -> None:
    """List the duplicates, the newest first."""

    from api.cli.steps.duplicate_tables import duplicate_table

    with asked.client() as client:
        page = client.duplicates(limit)
        if asked.as_json:
            print_json(page)
        elif page.duplicates:
            out.print(duplicate_table(page.duplicates))
        else:
            out.print("None was found.")


@app.command()
@asks
def assess(
    asked: AsAgencyOrJson,
    duplicate: Annotated[UUID, typer.Argument(help="The duplicate's id, as it is listed.")],
    finding: Annotated[Finding, typer.Argument(help="Your finding.")],
) -> None:
    """Record whether both cases are of one person. The other coordinator gets the answer."""

    from api.cli.steps.duplicate_tables import duplicate_table

    with asked.client() as client:
        assessed = client.assess_duplicate(duplicate, finding)
        if asked.as_json:
            print_json(assessed)
        else:
            out.print(duplicate_table([assessed]))


@app.command("renew-mask")
def renew_mask(
    country: Annotated[str, typer.Argument(help="The own country's code.")],
    other: Annotated[str, typer.Argument(help="The other country's code.")],
    as_json: AsJson = False,
) -> None:
    """Replace the mask for a country, on the machine of the own country's node.

    The running node computes new tokens for all cases, and opens each case's fields once for that.
    """

    from api.keys.country_keys import country_keys, pair_masks
    from api.keys.log_keys import own_parties
    from api.node.agreed_protocol import settings_here
    from api.runtime.settings import Settings

    with failures(as_json):
        settings = settings_here(Settings())
        known = settings.load_protocol().party_codes
        if country not in own_parties(settings) or other not in known - {country}:
            fail("name a country whose node this is, and another party of the protocol")
        pair_masks(settings, country_keys(settings, [country]))[country].renew(other)
        if as_json:
            print_json({"country": country, "other": other})
        else:
            out.print(f"{country}'s mask for {other} is new.")
