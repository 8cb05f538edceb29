"""Sign acts on a country's agencies, and list agencies and proposals."""

from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson
from api.cli.output import fail, out, print_json
from api.client import LedgerClient
from api.client.schemas import AgencyProposalDocument, AgencyWithKeys, Receipt
from ledger.vocabulary import Action
from ledger.vocabulary.registration import Office


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
