"""Commands on a country's agencies: list, register, rename, retire, invite a body, confirm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json

app = typer.Typer(
    name="agencies",
    help="A country's agencies: list, register, rename, retire, and invite a body.",
    no_args_is_help=True,
)
Id = Annotated[str, typer.Argument(metavar="AGENCY", help="The agency's id.")]
NewId = Annotated[
    str,
    typer.Argument(metavar="AGENCY", help="An id that no agency has or had, such as bar-shelter."),
]
Role = Annotated[str, typer.Option(help="A role that the protocol declares, such as shelter.")]
NewName = Annotated[str, typer.Option(help="Its name.")]
Names = Annotated[
    list[str] | None,
    typer.Option("--name-in", help="Its name in a language, such as sq=Streha. May be repeated."),
]
City = Annotated[str | None, typer.Option(help="The agency's city.")]
Email = Annotated[str | None, typer.Option(help="The office's e-mail address, no person's.")]
Telephone = Annotated[str | None, typer.Option(help="The office's number, such as +38220000000.")]
Address = Annotated[str | None, typer.Option(help="The office's postal address.")]
Proposal = Annotated[
    UUID, typer.Argument(help="The proposal's id, as `agencies proposals` has it.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")]


def names_of(given: Sequence[str] | None) -> dict[str, str] | None:
    """Read names such as ``sq=Streha``. Raises ``ValueError``."""
    names: dict[str, str] = {}
    for one in given or ():
        tag, is_given, name = one.partition("=")
        if not is_given or tag in names:
            raise ValueError(f"{one!r}: write each language once, as sq=NAME")
        names[tag] = name
    return names or None


@app.command("list")
@asks
def list_agencies(
    asked: AsAgencyOrJson,
    party: Annotated[
        str | None, typer.Option(help="The agencies of one party, such as ME.")
    ] = None,
) -> None:
    """List all agencies, the retired ones too, with their countries' changes."""

    from api.cli.steps.agency_acts import agency_row

    with asked.client() as client:
        agencies = [one for one in client.agencies() if party is None or one.party == party.upper()]
        if asked.as_json:
            print_json([one.model_dump(mode="json", exclude={"keys"}) for one in agencies])
            return
        table = Table("Agency", "Party", "Role", "Name", "Office", "Changed", box=None)
        for one in agencies:
            table.add_row(*map(escape, agency_row(one)))
        out.print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAgency(AsAgencyOrJson):
    """A new agency or body, and the agency that registers it."""

    subject: NewId
    role: Role
    name: NewName
    name_in: Names = None
    city: City = None
    address: Address = None
    email: Email = None
    telephone: Telephone = None
    yes: Yes = False


@app.command()
@asks
def register(asked: NewAgency) -> None:
    """Register an agency of the own country, as its coordinator.

    An oversight body counts once another party has confirmed it.
    """

    from api.cli.steps.agency_acts import add_agency
    from ledger.vocabulary.registration import AgencyRegistered

    add_agency(asked, AgencyRegistered, "Register", "An id is given once, for ever.")


@app.command()
@asks
def invite(asked: NewAgency) -> None:
    """Invite an international body, as a coordinator. It sees the cases that name it alone."""

    from api.cli.steps.agency_acts import add_agency
    from ledger.vocabulary.registration import AgencyInvited

    add_agency(asked, AgencyInvited, "Invite", "It works through this country's node.")


@app.command()
@asks
def rename(
    asked: AsAgencyOrJson,
    subject: Id,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    name_in: Names = None,
    city: City = None,
    address: Address = None,
    email: Email = None,
    telephone: Telephone = None,
    yes: Yes = False,
) -> None:
    """Give an agency of the own country another name, city or office.

    Earlier events show the old name. Values without an option stay. An office is replaced as a
    whole.
    """

    from api.cli.steps.agency_acts import agency_named, office_of
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import AgencyRenamed

    with asked.client() as client:
        act = AgencyRenamed(
            acted_at=datetime.now(UTC),
            agency=subject,
            name=name,
            names=names_of(name_in),
            city=city,
            office=office_of(address, email, telephone),
        )
        known = agency_named(client, subject)
        question = f"Change {subject}, {known.name!r}{f', to {name!r}' if name else ''}?"
        ask_to_sign(asked, question, yes=yes)
        sign_act(asked, client, act, f"Changed {subject}")


@app.command()
@asks
def retire(
    asked: AsAgencyOrJson,
    subject: Id,
    reason: Annotated[
        str | None, typer.Option(help="Why, for the other parties. No names.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Retire an agency of the own country, for ever: its keys end, its coordinator answers for it.

    An oversight body is retired once another party has confirmed it.
    """

    from api.cli.steps.agency_acts import agency_named, tell_if_it_waits
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import AgencyRetired

    with asked.client() as client:
        known = agency_named(client, subject)
        act = AgencyRetired(acted_at=datetime.now(UTC), agency=subject, reason=reason)
        question = (
            f"Retire {subject}, {known.name!r}, for ever? Its keys end, and no action names it any"
            " more. The coordinator answers for its leads and for what it owes."
        )
        ask_to_sign(asked, question, yes=yes)
        sign_act(asked, client, act, f"Retired {subject}")
        tell_if_it_waits(asked, client, subject)


@app.command()
@asks
def proposals(asked: AsAgencyOrJson) -> None:
    """List the oversight bodies that wait until another party has confirmed the change."""

    from api.cli.steps.agency_acts import proposal_line

    with asked.client() as client:
        waiting = client.agency_proposals()
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in waiting])
            return
        for one in waiting:
            mark = "[yellow]yours to confirm[/]" if one.yours else "waits"
            out.print(
                f"{one.id}  {escape(proposal_line(one))}: {mark}", soft_wrap=True, highlight=False
            )
        if not waiting:
            out.print("No change of an agency waits.")


@app.command()
@asks
def confirm(asked: AsAgencyOrJson, proposal: Proposal, yes: Yes = False) -> None:
    """Confirm that another party's oversight body is registered or retired."""

    from api.cli.steps.agency_acts import proposal_line, proposal_row
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import AgencyChangeConfirmed

    with asked.client() as client:
        told = proposal_line(proposal_row(client, proposal))
        act = AgencyChangeConfirmed(acted_at=datetime.now(UTC), proposal=proposal)
        ask_to_sign(asked, f"Confirm: {told}?", yes=yes)
        sign_act(asked, client, act, "Confirmed")


@app.command()
@asks
def decline(asked: AsAgencyOrJson, proposal: Proposal, yes: Yes = False) -> None:
    """Decline a change of another party's oversight body, or withdraw one of your own."""

    from api.cli.steps.agency_acts import proposal_line, proposal_row
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import AgencyChangeDeclined

    with asked.client() as client:
        told = proposal_line(proposal_row(client, proposal))
        act = AgencyChangeDeclined(acted_at=datetime.now(UTC), proposal=proposal)
        ask_to_sign(asked, f"Decline: {told}?", yes=yes)
        sign_act(asked, client, act, "Declined")
