"""Read texts of the protocol, and show versions, amendments and their differences."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from api.cli.output import fail, out, print_json
from api.client import LedgerClient
from api.client.schemas import AmendmentDocument, ProtocolVersionDocument
from api.client.schemas.personal import Language
from api.paper.protocol_changes import sentences
from api.paper.subject_access.wording import wording
from ledger.procedure.amendments import AmendmentState, text_digest
from ledger.procedure.protocol import NewerTextError, Protocol, read_recorded_text
from ledger.procedure.protocol_changes import ProtocolChange


def version_of(
    versions: Iterable[ProtocolVersionDocument], number: int | None
) -> ProtocolVersionDocument:
    """Return a version by its number; without one, the version in force."""
    for one in versions:
        if one.is_in_force if number is None else one.version == number:
            return one
    raise ValueError(f"the ledger has no version {number} of the protocol")


def amendment_with(client: LedgerClient, proposal: UUID) -> AmendmentDocument:
    """Return the amendment of a proposal."""
    for one in client.amendments():
        if one.proposal == proposal:
            return one
    raise ValueError("no amendment was proposed under this id; `protocol history` lists them")


def checked_digest(amendment: AmendmentDocument) -> str:
    """Return the digest of the text that the node gave, which must be the proposal's."""
    found = text_digest(amendment.text)
    if found != amendment.digest:
        fail("the node gave another text than the one that was proposed: do not sign anything")
    return found


def read_text(text: Mapping[str, Any]) -> Protocol:
    """Read a text from the node.

    Raises ``ValueError``: ``NewerTextError`` if the text needs a later program.
    """
    try:
        return read_recorded_text(text)
    except ValidationError as error:
        raise ValueError(f"the node gave a text that does not hold: {error}") from None


def tell_changes(
    found: tuple[ProtocolChange, ...], before: int, language: Language, as_json: bool
) -> None:
    """Print the difference between two texts, a sentence for each change."""
    told = sentences(found, wording(language))
    if as_json:
        print_json(
            [
                {"id": change.id, "values": dict(change.values), "sentence": sentence}
                for change, sentence in zip(found, told, strict=True)
            ]
        )
        return
    if not told:
        out.print(f"The text changes nothing of version {before}.")
        return
    out.print(f"Changes to version {before}:")
    for sentence in told:
        out.print(f"  - {escape(sentence)}", soft_wrap=True, highlight=False)


def show_version(version: ProtocolVersionDocument) -> None:
    """Print a version of the protocol."""
    if version.is_in_force:
        standing = "[green]in force[/]"
    elif version.in_force_from is not None and version.in_force_from > datetime.now(UTC):
        standing = f"[yellow]adopted; in force from {_moment(version.in_force_from)}[/]"
    else:
        standing = "replaced"
    out.print(f"[bold]Version {version.version}[/], {standing}", highlight=False)
    since = _moment(version.in_force_from) if version.in_force_from else "the beginning"
    out.print(
        f"  adopted at position {version.adopted_at}, for events recorded from {since} on;"
        f" edition {version.edition} of the rules",
        soft_wrap=True,
        highlight=False,
    )
    out.print(f"  SHA-256 {version.digest}", soft_wrap=True, highlight=False)


_STATES = {
    AmendmentState.OPEN: "[yellow]open[/]",
    AmendmentState.ADOPTED: "[green]adopted[/]",
    AmendmentState.DECLINED: "[red]declined[/]",
    AmendmentState.LAPSED: "lapsed",
}


def show_amendment(one: AmendmentDocument) -> None:
    """Print an amendment with the answer of each party."""
    day: date | None = one.earliest_day
    out.print(
        f"[bold]Amendment {one.proposal}[/], {_STATES[one.state]}: version {one.version}",
        soft_wrap=True,
        highlight=False,
    )
    out.print(
        f"  proposed by {one.by} at position {one.proposed_at}, {_moment(one.recorded_at)};"
        f" applies from {day.isoformat() if day else 'its adoption'} on",
        soft_wrap=True,
        highlight=False,
    )
    out.print(f"  reason: {escape(one.reason)}", soft_wrap=True, highlight=False)
    said = f"  accepted by {', '.join(one.accepted)}"
    if one.declined_by is not None:
        said += f"; declined by {one.declined_by}"
        if one.declined_because is not None:
            said += f": {escape(one.declined_because)}"
    elif one.state is AmendmentState.OPEN:
        said += f"; missing: {', '.join(one.missing)}"
    out.print(said, soft_wrap=True, highlight=False)
    out.print(f"  SHA-256 {one.digest}", soft_wrap=True, highlight=False)


def show_parties(protocol: Protocol) -> None:
    """Print the parties of a text, with their agencies and coordinators."""
    table = Table("Party", "Agencies", "Coordinator", title=escape(protocol.title))
    for party in protocol.parties:
        own = [agency for agency in protocol.agencies if agency.party == party.code]
        coordinators = [agency.id for agency in own if agency.role == "coordinator"]
        table.add_row(
            escape(f"{party.name} ({party.code})"), str(len(own)), ", ".join(coordinators)
        )
    out.print(table)


def show_parties_if_read(one: AmendmentDocument) -> None:
    """Print the parties of a proposed text, or that this program cannot read the text."""
    try:
        text = read_text(one.text)
    except NewerTextError as error:
        said = (
            f"  This program cannot read the proposed text ({error}). Update this program and your"
            " node before you accept it; to decline it is possible."
        )
        out.print(f"[yellow]{escape(said)}[/]", soft_wrap=True, highlight=False)
        return
    show_parties(text)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def without_text(document: ProtocolVersionDocument | AmendmentDocument) -> dict[str, Any]:
    """Return a document as JSON without the text of the protocol."""
    return document.model_dump(mode="json", exclude={"text"})
