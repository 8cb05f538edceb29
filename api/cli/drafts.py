"""Commands on drafts: actions that wait for the approval of another member of the agency."""

from typing import Annotated
from uuid import UUID

import typer

from api.cli.agencies import Yes
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json

app = typer.Typer(
    name="drafts",
    help="Actions that wait for a second member: list, show, approve, return, withdraw.",
    no_args_is_help=True,
)
DraftId = Annotated[UUID, typer.Argument(help="The draft's id, as `drafts list` has it.")]


@app.command("list")
@asks
def list_drafts(asked: AsAgencyOrJson) -> None:
    """List the drafts of the member's agency, without what they say."""

    from api.cli.steps.draft_tables import drafts_table

    with asked.client() as client:
        found = client.drafts().drafts
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
        else:
            out.print(drafts_table(found))


@app.command()
@asks
def show(asked: AsAgencyOrJson, draft: DraftId) -> None:
    """Show a draft as it will be recorded. The access log has the look."""

    from api.cli.steps.draft_tables import content_table

    with asked.client() as client:
        opened = client.open_draft(draft)
        if asked.as_json:
            print_json(opened.model_dump(mode="json"))
            return
        out.print(content_table(opened))
        if opened.remark is not None:
            out.print(f"Returned: {opened.remark}", markup=False)


@app.command()
@asks
def approve(asked: AsAgencyOrJson, draft: DraftId, *, yes: Yes = False) -> None:
    """Show a draft, sign the approval of it with the member's own key, and record the action.

    If the case moves on while the draft is read, nothing is recorded: approve it again.
    """

    from api.cli.steps.draft_tables import content_table
    from api.cli.steps.sending import present_version
    from api.client.schemas import Receipt

    with asked.client() as client:
        opened = client.open_draft(draft)
        is_new = opened.draft.case_version == 0
        version = 0 if is_new else present_version(client, opened.draft.case_id)
        if not asked.as_json:
            out.print(content_table(opened))
        if not yes:
            typer.confirm("Approve and record this?", abort=True)
        told = client.approve_draft(draft, opened.signed, version)
        if asked.as_json:
            print_json(told.model_dump(mode="json"))
        elif isinstance(told, Receipt):
            out.print(f"Recorded {draft} at position {told.position}.", soft_wrap=True)
        else:
            out.print(f"Approved {draft}. It waits at the country's node.", soft_wrap=True)


@app.command("return")
@asks
def give_back(
    asked: AsAgencyOrJson,
    draft: DraftId,
    remark: Annotated[str, typer.Option(prompt="Remark", help="What has to change.")],
) -> None:
    """Return a draft to its author with a remark."""

    with asked.client() as client:
        returned = client.return_draft(draft, remark)
        if asked.as_json:
            print_json(returned.model_dump(mode="json"))
        else:
            out.print(f"Returned {draft}.", soft_wrap=True)


@app.command()
@asks
def withdraw(asked: AsAgencyOrJson, draft: DraftId, *, yes: Yes = False) -> None:
    """Withdraw a draft of one's own for ever."""

    with asked.client() as client:
        if not yes:
            typer.confirm(f"Withdraw and erase {draft}?", abort=True)
        client.withdraw_draft(draft)
        if asked.as_json:
            print_json({"withdrawn": str(draft)})
        else:
            out.print(f"Withdrew {draft}.", soft_wrap=True)
