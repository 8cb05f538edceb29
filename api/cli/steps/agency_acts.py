"""Sign acts on a country's agencies, and list agencies and proposals."""

from datetime import UTC, datetime
from uuid import UUID

from api.cli.agencies import NewAgency, names_of
from api.cli.connection import AsAgencyOrJson
from api.cli.output import out
from api.cli.steps.signed_acts import ask_to_sign, sign_act
from api.client import LedgerClient
from api.client.schemas import AgencyProposalDocument, AgencyWithKeys
from ledger.vocabulary.registration import AgencyInvited, AgencyRegistered, Office


def office_of(address: str | None, email: str | None, telephone: str | None) -> Office | None:
    """Return an office, or ``None`` where nothing is said of it."""
    if address is None and email is None and telephone is None:
        return None
    return Office(address=address, email=email, telephone=telephone)


def add_agency(
    asked: NewAgency,
    kind: type[AgencyRegistered | AgencyInvited],
    verb: str,
    consequence: str,
) -> None:
    """Ask, then sign and record the act that adds an agency of the given options."""
    with asked.client() as client:
        act = kind(
            acted_at=datetime.now(UTC),
            agency=asked.subject,
            role=asked.role,
            name=asked.name,
            names=names_of(asked.name_in),
            city=asked.city,
            office=office_of(asked.address, asked.email, asked.telephone),
        )
        question = f"{verb} {asked.subject}, {asked.name!r}, as {asked.role}? {consequence}"
        ask_to_sign(asked, question, yes=asked.yes)
        sign_act(asked, client, act, f"{verb.removesuffix('e')}ed {asked.subject}")
        tell_if_it_waits(asked, client, asked.subject)


def agency_row(one: AgencyWithKeys) -> tuple[str, ...]:
    """Return the row of an agency in the table."""
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


def agency_named(client: LedgerClient, agency: str) -> AgencyWithKeys:
    """Return a registered agency. Raises ``ValueError`` if there is none."""
    for one in client.agencies():
        if one.id == agency:
            return one
    raise ValueError(f"there is no agency {agency}; `agencies list` has them")


def proposal_row(client: LedgerClient, proposal: UUID) -> AgencyProposalDocument:
    """Return a waiting proposal by its id."""
    for one in client.agency_proposals():
        if one.id == proposal:
            return one
    raise ValueError("no change waits under this id; `agencies proposals` lists them")


def proposal_line(one: AgencyProposalDocument) -> str:
    """Return a proposed change as a line of text."""
    name = f" ({one.name})" if one.name else ""
    return f"oversight body {one.agency}{name} of {one.party} {one.change.value}, by {one.by}"


def tell_if_it_waits(asked: AsAgencyOrJson, client: LedgerClient, agency: str) -> None:
    """Print that another party must confirm the change, if it waits for that."""
    if asked.as_json:
        return
    for one in client.agency_proposals():
        if one.agency == agency:
            out.print(f"It counts once another party confirms {one.id}.", soft_wrap=True)
