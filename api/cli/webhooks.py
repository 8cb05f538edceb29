"""Commands on an agency's webhooks for cases."""

from typing import Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json

app = typer.Typer(
    name="webhooks",
    help="An agency's webhooks for cases: list them, and send again from a position on.",
    no_args_is_help=True,
)


@app.command("list")
@asks
def listed(asked: AsAgencyOrJson) -> None:
    """List the agency's webhooks for cases, with the position that each has reached."""
    with asked.client() as client:
        found = client.webhooks()
        if asked.as_json:
            print_json(found)
            return
        for one in found.webhooks:
            if one.disabled_at is not None:
                state = f"disabled since {one.disabled_at:%d %b %Y %H:%M} UTC"
            elif one.failing_since is not None:
                state = f"failing since {one.failing_since:%d %b %Y %H:%M} UTC"
            else:
                state = "well"
            out.print(f"{one.id}: received up to position {one.position}; {state}")
        if not found.webhooks:
            out.print("The agency has no webhook for cases in the node's file of notifications.")


@app.command()
@asks
def replay(
    asked: AsAgencyOrJson,
    webhook: Annotated[UUID, typer.Argument(help="The webhook, by its id.")],
    after: Annotated[int, typer.Option(min=0, help="Send everything after this position again.")],
) -> None:
    """Send a webhook everything after a position again, and enable it if it was disabled."""
    with asked.client() as client:
        found = client.replay_webhook(webhook, after)
        if asked.as_json:
            print_json(found)
        else:
            out.print(f"[green]Set[/]: everything after position {found.position} is sent again.")
