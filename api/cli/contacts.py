"""Commands on the parties' contact points and their cards: list, name, card, end."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape

from api.cli.agencies import Address, Email, Telephone, Yes, names_of
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json

app = typer.Typer(
    name="contacts",
    help="The parties' contact points and deputies, and who holds them: list, name, card, end.",
    no_args_is_help=True,
)
Contact = Annotated[UUID, typer.Argument(help="The contact point's id, as `contacts list` has it.")]


@app.command("list")
@asks
def list_contacts(
    asked: AsAgencyOrJson,
    party: Annotated[
        str | None, typer.Option(help="The agencies of one party, such as ME.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Ended contact points too.")] = False,
) -> None:
    """List the contact points that the parties named."""

    from api.cli.steps.contact_tables import contact_line

    with asked.client() as client:
        found = [
            one
            for one in client.contact_points()
            if (every or one.ended_at is None) and party in (None, one.party)
        ]
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
            return
        for one in found:
            out.print(escape(contact_line(one)), soft_wrap=True, highlight=False)
        if not found:
            out.print("No contact point is named.")


@app.command()
@asks
def name(
    asked: AsAgencyOrJson,
    at: Annotated[str, typer.Option("--office-of", help="The agency in which it works.")],
    function: Annotated[
        str, typer.Option(help='Such as "Head of the unit". No person\'s name: it stays for ever.')
    ],
    language: Annotated[
        list[str],
        typer.Option(
            help="A language that the contact point speaks, such as sqi. May be repeated."
        ),
    ],
    function_in: Annotated[
        list[str] | None,
        typer.Option(help="The function in a language, such as sq=Shef. May be repeated."),
    ] = None,
    deputy: Annotated[bool, typer.Option("--deputy", help="A deputy.")] = False,
    address: Address = None,
    email: Email = None,
    telephone: Telephone = None,
    replaces: Annotated[
        UUID | None, typer.Option(help="The contact point that this one ends.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Name a contact point of the own country, as its coordinator: an office and a function."""

    from api.cli.steps.agency_acts import office_of
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import ContactPointNamed

    office = office_of(address, email, telephone)
    if office is None:
        fail("give the office's --email or --telephone")
    with asked.client() as client:
        act = ContactPointNamed(
            acted_at=datetime.now(UTC),
            agency=at,
            function=function,
            functions=names_of(function_in),
            deputy=deputy,
            languages=tuple(language),
            office=office,
            replaces=replaces,
        )
        question = (
            f"Name {function!r} of {at} as {'deputy' if deputy else 'contact point'}? It is kept"
            " for ever, and every party sees it: there must be no person's name in it."
        )
        ask_to_sign(asked, question, yes=yes)
        sign_act(asked, client, act, "Named")


@app.command()
@asks
def end(asked: AsAgencyOrJson, contact: Contact, yes: Yes = False) -> None:
    """End a contact point of the own country."""

    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import ContactPointEnded

    with asked.client() as client:
        act = ContactPointEnded(acted_at=datetime.now(UTC), contact=contact)
        ask_to_sign(asked, f"End the contact point {contact}?", yes=yes)
        sign_act(asked, client, act, "Ended")


@app.command()
@asks
def card(
    asked: AsAgencyOrJson,
    contact: Contact,
    full_name: Annotated[
        str, typer.Option("--name", prompt="Name and surname", help="The person's name.")
    ],
    telephone: Annotated[
        str | None, typer.Option(help="Answered at all hours, such as '+383 44 100 200'.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="The person's e-mail address.")] = None,
    yes: Yes = False,
) -> None:
    """Give the card of the person who holds a contact point. It takes the place of the one before.

    The card is sealed: the ledger has digests alone. Coordinators and contact points of all parties
    read it until it is replaced or ended; then every vault erases it.
    """

    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import ContactCardGiven

    if telephone is None and email is None:
        fail("give the person's --telephone or --email")
    with asked.client() as client:
        act = ContactCardGiven(
            acted_at=datetime.now(UTC),
            contact=contact,
            full_name=full_name,
            telephone_24h=telephone,
            email=email,
        )
        ask_to_sign(asked, f"Give this card for the contact point {contact}?", yes=yes)
        sign_act(asked, client, act, "Given")


@app.command("end-card")
@asks
def end_card(asked: AsAgencyOrJson, contact: Contact, yes: Yes = False) -> None:
    """End the card of a contact point, as the person leaves the function. Every vault erases it."""

    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import ContactCardEnded

    with asked.client() as client:
        act = ContactCardEnded(acted_at=datetime.now(UTC), contact=contact)
        ask_to_sign(asked, f"End the card of the contact point {contact}?", yes=yes)
        sign_act(asked, client, act, "Ended")
