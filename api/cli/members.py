"""Commands on the members of agencies: list, add, change, invite, disable, enable, erase."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from api.cli.agencies import Yes
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json

app = typer.Typer(
    name="members",
    help="The people who work for agencies: list, add, change, invite, disable, enable, erase.",
    no_args_is_help=True,
)
MemberId = Annotated[UUID, typer.Argument(help="The member's id, as `members list` has it.")]


@app.command("list")
@asks
def list_members(
    asked: AsAgencyOrJson,
    of: Annotated[str | None, typer.Option("--of", help="Of one agency alone.")] = None,
) -> None:
    """List the members of the own agency; as a coordinator, of the country's agencies."""

    from api.cli.steps.member_tables import member_table

    with asked.client() as client:
        found = client.members(of)
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
        else:
            out.print(member_table(found))


@app.command()
@asks
def show(asked: AsAgencyOrJson, member: MemberId) -> None:
    """Show a member, with who changed what and when."""

    from api.cli.steps.member_tables import change_table, member_table

    with asked.client() as client:
        found = client.member(member)
        if asked.as_json:
            print_json(found.model_dump(mode="json"))
            return
        out.print(member_table([found.member]))
        out.print(change_table(found.changes))


@app.command()
@asks
def add(
    asked: AsAgencyOrJson,
    works_for: Annotated[
        str, typer.Argument(metavar="AGENCY", help="The agency that the person works for.")
    ],
    name: Annotated[str, typer.Option(prompt="Name and surname", help="The person's name.")],
    position: Annotated[str | None, typer.Option(help="What the person does there.")] = None,
    head: Annotated[bool, typer.Option("--head", help="The person manages the members.")] = False,
) -> None:
    """Add a member, as the head of the agency or as the coordinator of its country."""

    from api.client.schemas.members import NewMember

    with asked.client() as client:
        new = NewMember(agency=works_for, name=name, position=position, is_head=head)
        added = client.add_member(new)
        if asked.as_json:
            print_json(added.model_dump(mode="json"))
        else:
            out.print(
                f"Added {added.id} to {works_for}. Next: `case-ledger members invite {added.id}`.",
                soft_wrap=True,
            )


@app.command()
@asks
def change(
    asked: AsAgencyOrJson,
    member: MemberId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    position: Annotated[str | None, typer.Option(help="Another position.")] = None,
    head: Annotated[
        bool | None, typer.Option("--head/--no-head", help="Whether the person manages members.")
    ] = None,
) -> None:
    """Change the name, the position or the rights of a member. What is left out stays."""

    from api.client.schemas.members import MemberInput

    with asked.client() as client:
        known = client.member(member).member
        given = MemberInput(
            name=name or known.name or "",
            position=position or known.position,
            is_head=known.is_head if head is None else head,
        )
        changed = client.change_member(member, given)
        if asked.as_json:
            print_json(changed.model_dump(mode="json"))
        else:
            out.print(f"Changed {member}.")


@app.command()
@asks
def invite(asked: AsAgencyOrJson, member: MemberId) -> None:
    """Make a link by which the member's browser hands in a key: good once, for seven days."""
    with asked.client() as client:
        made = client.invite_member(member)
        if asked.as_json:
            print_json(made.model_dump(mode="json"))
        else:
            out.print(
                f"{made.link}\nGive it to the member and to nobody else. It is good"
                f" once, until {made.expires_at:%d %b %Y %H:%M} UTC.",
                soft_wrap=True,
                highlight=False,
            )


@app.command()
@asks
def disable(asked: AsAgencyOrJson, member: MemberId, yes: Yes = False) -> None:
    """Disable a member: sessions end at once, and each of the member's keys is revoked."""

    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import KeyRevoked

    with asked.client() as client:
        ask_to_sign(asked, f"Disable {member}, and revoke the member's keys?", yes=yes)
        disabled = client.disable_member(member)
        for key in disabled.keys:
            if key.revoked_at is None:
                revoked = KeyRevoked(acted_at=datetime.now(UTC), key_id=key.id)
                sign_act(asked, client, revoked, f"Revoked {key.id}")
        if not asked.as_json:
            out.print(f"Disabled {member}.")


@app.command()
@asks
def enable(asked: AsAgencyOrJson, member: MemberId) -> None:
    """Let a disabled member in again. Keys that were revoked stay revoked."""
    with asked.client() as client:
        enabled = client.enable_member(member)
        if asked.as_json:
            print_json(enabled.model_dump(mode="json"))
        else:
            out.print(f"Enabled {member}. Invite the member to hand in a key.")


@app.command()
@asks
def erase(asked: AsAgencyOrJson, member: MemberId, yes: Yes = False) -> None:
    """Erase the name of a disabled member, in every backup too. The pseudonym stays."""

    from api.cli.steps.signed_acts import ask_to_sign

    with asked.client() as client:
        question = f"Erase the name of {member}? Nobody can tell afterwards whose acts these were."
        ask_to_sign(asked, question, yes=yes)
        erased = client.erase_member(member)
        if asked.as_json:
            print_json(erased.model_dump(mode="json"))
        else:
            out.print(f"Erased the name of {member}.")


@app.command("asked-keys")
@asks
def asked_keys(asked: AsAgencyOrJson) -> None:
    """List the keys of members that wait for the coordinator to register them."""

    from api.cli.steps.member_tables import asked_table

    with asked.client() as client:
        found, members = client.asked_keys(), {one.id: one for one in client.members()}
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
        else:
            out.print(asked_table(found, members))


@app.command()
@asks
def register(
    asked: AsAgencyOrJson,
    thumbprint: Annotated[
        str, typer.Argument(metavar="KEY", help="Its thumbprint, as `members asked-keys` has it.")
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 730,
) -> None:
    """Register a key that a member handed in, as the coordinator of the agency's country.

    Compare the thumbprint with the one on the member's screen first, by telephone or in person.
    """

    from datetime import timedelta

    from api.cli.output import fail
    from api.cli.steps.key_requests import change_key
    from ledger.signing.key_possession import grant_of
    from ledger.vocabulary.registration import KeyRegistered

    with asked.client() as client:
        one = next((one for one in client.asked_keys() if one.key_id == thumbprint), None)
        if one is None:
            fail("no such key waits; `case-ledger members asked-keys` lists those that do")
        now = datetime.now(UTC)
        grant = grant_of(one.request, valid_from=now, valid_until=now + timedelta(days=days))
        act = KeyRegistered(acted_at=now, grant=grant, member=one.member)
        change_key(asked, client, act, f"Registered {thumbprint} for {one.request.agency}")
