"""Commands on a country's agencies: list, register, rename, retire, invite a body, confirm."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json
from api.client import LedgerClient
from api.client.schemas import AgencyProposalDocument, AgencyWithKeys, Receipt
from ledger.vocabulary import Action
from ledger.vocabulary.registration import (
    AgencyChangeConfirmed,
    AgencyChangeDeclined,
    AgencyInvited,
    AgencyRegistered,
    AgencyRenamed,
    AgencyRetired,
    Office,
)

app = typer.Typer(
    name="agencies",
    help="A country's agencies: list, register, rename, retire, and invite a body.",
    no_args_is_help=True,
)
Id = Annotated[str, typer.Argument(metavar="AGENCY", help="The agency's id.")]
NewId = Annotated[
    str, typer.Argument(metavar="AGENCY", help="An id that no agency has or had, as bar-shelter.")
]
Role = Annotated[str, typer.Option(help="A role that the protocol declares, as shelter.")]
NewName = Annotated[str, typer.Option(help="Its name.")]
Names = Annotated[
    list[str] | None,
    typer.Option("--name-in", help="Its name in a language, as sq=Streha. Several times."),
]
City = Annotated[str | None, typer.Option(help="The city that it is in.")]
Email = Annotated[str | None, typer.Option(help="The office's e-mail address, no person's.")]
Telephone = Annotated[str | None, typer.Option(help="The office's number, as +38220000000.")]
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


def office_of(address: str | None, email: str | None, telephone: str | None) -> Office | None:
    """Return an office, or ``None`` where nothing is said of it."""
    if address is None and email is None and telephone is None:
        return None
    return Office(address=address, email=email, telephone=telephone)


def sign(
    asked: AsAgencyOrJson,
    client: LedgerClient,
    action: Action,
    question: str,
    done: str,
    *,
    yes: bool,
) -> Receipt:
    """Ask, sign and record an act on the protocol, and say where it is recorded."""
    if not (yes or asked.as_json) and not typer.confirm(question):
        fail("nothing was signed")
    receipt = client.append_to_registry(action)
    if asked.as_json:
        print_json(receipt)
    else:
        out.print(f"{done} at position {receipt.position}.", soft_wrap=True, highlight=False)
    return receipt


@app.command("list")
@asks
def list_agencies(
    asked: AsAgencyOrJson,
    party: Annotated[str | None, typer.Option(help="Of one party, as ME.")] = None,
) -> None:
    """List all agencies, the retired ones too, with their countries' changes."""
    with asked.client() as client:
        agencies = [one for one in client.agencies() if party is None or one.party == party.upper()]
        if asked.as_json:
            print_json([one.model_dump(mode="json", exclude={"keys"}) for one in agencies])
            return
        table = Table("Agency", "Party", "Role", "Name", "Office", "Changed", box=None)
        for one in agencies:
            table.add_row(*map(escape, _row(one)))
        out.print(table)


@app.command()
@asks
def register(
    asked: AsAgencyOrJson,
    subject: NewId,
    role: Role,
    name: NewName,
    name_in: Names = None,
    city: City = None,
    address: Address = None,
    email: Email = None,
    telephone: Telephone = None,
    yes: Yes = False,
) -> None:
    """Register an agency of the own country, as its coordinator.

    An oversight body counts once another party has confirmed it.
    """
    with asked.client() as client:
        act = AgencyRegistered(
            acted_at=datetime.now(UTC),
            agency=subject,
            role=role,
            name=name,
            names=names_of(name_in),
            city=city,
            office=office_of(address, email, telephone),
        )
        question = f"Register {subject}, {name!r}, as {role}? An id is given once, for ever."
        sign(asked, client, act, question, f"Registered {subject}", yes=yes)
        _tell_if_it_waits(asked, client, subject)


@app.command()
@asks
def invite(
    asked: AsAgencyOrJson,
    subject: NewId,
    role: Role,
    name: NewName,
    name_in: Names = None,
    city: City = None,
    address: Address = None,
    email: Email = None,
    telephone: Telephone = None,
    yes: Yes = False,
) -> None:
    """Invite an international body, as a coordinator. It sees the cases that name it alone."""
    with asked.client() as client:
        act = AgencyInvited(
            acted_at=datetime.now(UTC),
            agency=subject,
            role=role,
            name=name,
            names=names_of(name_in),
            city=city,
            office=office_of(address, email, telephone),
        )
        question = f"Invite {subject}, {name!r}, as {role}? It works through this country's node."
        sign(asked, client, act, question, f"Invited {subject}", yes=yes)


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

    Events before it show the old name. A value without an option stays; the office is given whole.
    """
    with asked.client() as client:
        act = AgencyRenamed(
            acted_at=datetime.now(UTC),
            agency=subject,
            name=name,
            names=names_of(name_in),
            city=city,
            office=office_of(address, email, telephone),
        )
        known = _agency(client, subject)
        question = f"Change {subject}, {known.name!r}{f', to {name!r}' if name else ''}?"
        sign(asked, client, act, question, f"Changed {subject}", yes=yes)


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
    with asked.client() as client:
        known = _agency(client, subject)
        act = AgencyRetired(acted_at=datetime.now(UTC), agency=subject, reason=reason)
        question = (
            f"Retire {subject}, {known.name!r}, for ever? Its keys end, and no action names it any"
            " more. The coordinator answers for its leads and for what it owes."
        )
        sign(asked, client, act, question, f"Retired {subject}", yes=yes)
        _tell_if_it_waits(asked, client, subject)


@app.command()
@asks
def proposals(asked: AsAgencyOrJson) -> None:
    """List the oversight bodies that wait until another party has confirmed the change."""
    with asked.client() as client:
        waiting = client.agency_proposals()
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in waiting])
            return
        for one in waiting:
            mark = "[yellow]yours to confirm[/]" if one.yours else "waits"
            out.print(f"{one.id}  {escape(_told(one))}: {mark}", soft_wrap=True, highlight=False)
        if not waiting:
            out.print("No change of an agency waits.")


@app.command()
@asks
def confirm(asked: AsAgencyOrJson, proposal: Proposal, yes: Yes = False) -> None:
    """Confirm that another party's oversight body is registered or retired."""
    with asked.client() as client:
        told = _told(_proposal(client, proposal))
        act = AgencyChangeConfirmed(acted_at=datetime.now(UTC), proposal=proposal)
        sign(asked, client, act, f"Confirm: {told}?", "Confirmed", yes=yes)


@app.command()
@asks
def decline(asked: AsAgencyOrJson, proposal: Proposal, yes: Yes = False) -> None:
    """Decline such a change, or withdraw the own one."""
    with asked.client() as client:
        told = _told(_proposal(client, proposal))
        act = AgencyChangeDeclined(acted_at=datetime.now(UTC), proposal=proposal)
        sign(asked, client, act, f"Decline: {told}?", "Declined", yes=yes)


def _row(one: AgencyWithKeys) -> tuple[str, ...]:
    office = one.office
    reached = (office.email, office.telephone, office.address) if office is not None else ()
    standing = f"retired at {one.retired_at}; {one.answered_by} answers" if one.retired_at else ""
    changed = [f"{change.change.value} at {change.position}" for change in one.history]
    return (
        one.id,
        f"{one.party}, invited" if one.international else one.party,
        one.role,
        one.name,
        ", ".join(filter(None, reached)),
        standing or ", ".join(changed),
    )


def _agency(client: LedgerClient, agency: str) -> AgencyWithKeys:
    for one in client.agencies():
        if one.id == agency:
            return one
    raise ValueError(f"there is no agency {agency}; `agencies list` has them")


def _proposal(client: LedgerClient, proposal: UUID) -> AgencyProposalDocument:
    for one in client.agency_proposals():
        if one.id == proposal:
            return one
    raise ValueError("no change waits under this id; `agencies proposals` lists them")


def _told(one: AgencyProposalDocument) -> str:
    name = f" ({one.name})" if one.name else ""
    return f"oversight body {one.agency}{name} of {one.party} {one.change.value}, by {one.by}"


def _tell_if_it_waits(asked: AsAgencyOrJson, client: LedgerClient, agency: str) -> None:
    if asked.as_json:
        return
    for one in client.agency_proposals():
        if one.agency == agency:
            out.print(f"It counts once another party confirms {one.id}.", soft_wrap=True)
