"""Commands on the agreement: read it, compare texts, propose an amendment, accept or decline it."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.named_checkpoints import published_at, read_named, tell_named
from api.cli.output import fail, out, print_json
from api.client import LedgerClient
from api.client.schemas import AmendmentDocument, ProtocolVersionDocument, Receipt
from api.client.schemas.personal import Language
from api.paper.protocol_changes import sentences
from api.paper.subject_access.wording import wording
from ledger.procedure.amendments import AmendmentState, text_digest, text_of
from ledger.procedure.protocol import Protocol, check_known, load_protocol
from ledger.procedure.protocol_changes import ProtocolChange, changes
from ledger.vocabulary.registration import (
    AmendmentAccepted,
    AmendmentDeclined,
    AmendmentProposed,
)

app = typer.Typer(
    name="protocol",
    help="The agreement: read it, propose an amendment, accept or decline one.",
    no_args_is_help=True,
)
Proposal = Annotated[UUID, typer.Argument(help="The proposal's id, as `protocol history` has it.")]
InLanguage = Annotated[
    Language, typer.Option("--language", "-l", help="Of the sentences: en, sq or cnr.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Sign without asking, after the text was shown.")
]


@app.command()
@asks
def show(
    asked: AsAgencyOrJson,
    version: Annotated[
        int | None, typer.Option(help="A version. [default: the one in force]")
    ] = None,
    proposal: Annotated[UUID | None, typer.Option(help="A proposed text instead.")] = None,
    text: Annotated[
        bool, typer.Option("--text", help="The whole text, as JSON that `propose` takes.")
    ] = False,
) -> None:
    """Show the version in force, another version, or a proposed text."""
    with asked.client() as client:
        if proposal is not None:
            amendment = _amendment(client, proposal)
            if text:
                _print_text(amendment.text)
            elif asked.as_json:
                print_json(amendment)
            else:
                _show_amendment(amendment)
                _summary(_read(amendment.text))
            return
        found = _version(client.protocol_versions(), version)
        if text:
            _print_text(found.text)
        elif asked.as_json:
            print_json(found)
        else:
            _show_version(found)
            _summary(_read(found.text))


@app.command()
@asks
def diff(
    asked: AsAgencyOrJson,
    file: Annotated[
        Path | None, typer.Argument(help="A protocol file. [default: with --proposal, none]")
    ] = None,
    proposal: Annotated[UUID | None, typer.Option(help="A proposed text.")] = None,
    against: Annotated[
        int | None, typer.Option(help="The version to compare with. [default: the newest]")
    ] = None,
    language: InLanguage = "en",
) -> None:
    """Say in sentences which rights, deadlines and access a text of the protocol changes."""
    with asked.client() as client:
        if (file is None) is (proposal is None):
            fail("name a protocol file, or --proposal with a proposal's id")
        versions = client.protocol_versions()
        if file is not None:
            text, base = load_protocol(file), against
        else:
            amendment = _amendment(client, _given(proposal))
            text, base = _read(amendment.text), against or amendment.version - 1
        before = versions[-1] if base is None else _version(versions, base)
        _tell_changes(changes(_read(before.text), text), before.version, language, asked.as_json)


@app.command()
@asks
def propose(
    asked: AsAgencyOrJson,
    file: Annotated[Path, typer.Argument(help="The whole new text: a protocol file.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the other parties. No names.")],
    earliest: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            help="The first day, in UTC, on which it may be in force. [default: once adopted]",
        ),
    ] = None,
    yes: Yes = False,
    language: InLanguage = "en",
) -> None:
    """Propose a new text as a coordinator, and accept it for the own party.

    It is in force once the coordinator of every party has accepted it, and not before the day.
    """
    with asked.client() as client:
        protocol = load_protocol(file)
        newest = client.protocol_versions()[-1]
        found = changes(_read(newest.text), protocol)
        if not asked.as_json:
            _tell_changes(found, newest.version, language, asked.as_json)
        text = text_of(protocol)
        digest = text_digest(text)
        _confirm(f"Propose this text (SHA-256 {digest}) for {asked.agency}?", yes or asked.as_json)
        act = AmendmentProposed(
            acted_at=datetime.now(UTC),
            protocol=text,
            digest=digest,
            reason=reason,
            earliest_day=earliest.date() if earliest is not None else None,
        )
        receipt = client.append_to_registry(act)
        said = f"Proposed as {receipt.action_id}. The other parties accept or decline it."
        _tell_receipt(client, receipt, said, asked.as_json)


@app.command()
@asks
def accept(
    asked: AsAgencyOrJson,
    proposal: Proposal,
    digest: Annotated[
        str | None,
        typer.Option(help="The text's SHA-256, if it came to you by another way: it must be this."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A checkpoint that you verified. [default: the one published at --url]"),
    ] = None,
    yes: Yes = False,
    language: InLanguage = "en",
) -> None:
    """Accept a proposed text for the own party, as its coordinator.

    The acceptance counts only in a ledger that begins with the events of --checkpoint, the proposal
    among them, so that nobody can put it on a fork. The address --url is your own country's node,
    which verified the data that it serves.
    """
    with asked.client() as client:
        amendment = _amendment(client, proposal)
        found = _checked_digest(amendment)
        if digest is not None and digest.lower() != found:
            fail(f"the node's text has the SHA-256 {found}, not {digest}: do not accept it")
        base = _version(client.protocol_versions(), amendment.version - 1)
        if not asked.as_json:
            _show_amendment(amendment)
            told = changes(_read(base.text), _read(amendment.text))
            _tell_changes(told, base.version, language, asked.as_json)
        if checkpoint is None:
            named = published_at(client, amendment.proposed_at)
        else:
            named = read_named(checkpoint)
        if not asked.as_json:
            tell_named(named)
        _confirm(f"Accept this text (SHA-256 {found}) for {asked.agency}?", yes or asked.as_json)
        act = AmendmentAccepted(
            acted_at=datetime.now(UTC), proposal=proposal, digest=found, checkpoint=named
        )
        receipt = client.append_to_registry(act)
        _tell_receipt(client, receipt, "Accepted.", asked.as_json, proposal)


@app.command()
@asks
def decline(
    asked: AsAgencyOrJson,
    proposal: Proposal,
    reason: Annotated[
        str | None, typer.Option(help="Why, for the other parties. No names.")
    ] = None,
) -> None:
    """Decline a proposed text for the own party, or withdraw the own one. It is closed then."""
    with asked.client() as client:
        found = _checked_digest(_amendment(client, proposal))
        act = AmendmentDeclined(
            acted_at=datetime.now(UTC), proposal=proposal, digest=found, reason=reason
        )
        receipt = client.append_to_registry(act)
        _tell_receipt(client, receipt, "Declined: the proposal is closed.", asked.as_json)


@app.command()
@asks
def history(
    asked: AsAgencyOrJson,
) -> None:
    """List the versions that were adopted, and every text that was proposed."""
    with asked.client() as client:
        versions, amendments = client.protocol_versions(), client.amendments()
        if asked.as_json:
            print_json(
                {
                    "versions": [_without_text(one) for one in versions],
                    "amendments": [_without_text(one) for one in amendments],
                }
            )
            return
        for version in versions:
            _show_version(version)
        for amendment in amendments:
            out.print()
            _show_amendment(amendment)


def _given(proposal: UUID | None) -> UUID:
    if proposal is None:
        fail("name a proposal")
    return proposal


def _version(
    versions: Iterable[ProtocolVersionDocument], number: int | None
) -> ProtocolVersionDocument:
    """Return a version by its number; without one, the version in force."""
    for one in versions:
        if one.is_in_force if number is None else one.version == number:
            return one
    raise ValueError(f"the ledger has no version {number} of the protocol")


def _amendment(client: LedgerClient, proposal: UUID) -> AmendmentDocument:
    for one in client.amendments():
        if one.proposal == proposal:
            return one
    raise ValueError("no amendment was proposed under this id; `protocol history` lists them")


def _checked_digest(amendment: AmendmentDocument) -> str:
    """Return the digest of the text that the node gave, which must be the proposal's."""
    found = text_digest(amendment.text)
    if found != amendment.digest:
        fail("the node gave another text than the one that was proposed: do not sign anything")
    return found


def _read(text: Mapping[str, Any]) -> Protocol:
    """Read a text from the node. Raises ``ValueError``."""
    check_known(text)
    try:
        return Protocol.model_validate(text)
    except ValidationError as error:
        raise ValueError(f"the node gave a text that does not hold: {error}") from None


def _confirm(question: str, is_given: bool) -> None:
    if not is_given and not typer.confirm(question):
        fail("nothing was signed")


def _print_text(text: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(text, ensure_ascii=False, indent=2))


def _tell_changes(
    found: tuple[ProtocolChange, ...], before: int, language: Language, as_json: bool
) -> None:
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


def _tell_receipt(
    client: LedgerClient,
    receipt: Receipt,
    said: str,
    as_json: bool,
    proposal: UUID | None = None,
) -> None:
    if as_json:
        print_json(receipt)
        return
    out.print(said, soft_wrap=True)
    if proposal is not None:
        _show_amendment(_amendment(client, proposal))


def _show_version(version: ProtocolVersionDocument) -> None:
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


def _show_amendment(one: AmendmentDocument) -> None:
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
    elif one.state is AmendmentState.OPEN:
        said += f"; missing: {', '.join(one.missing)}"
    out.print(said, soft_wrap=True, highlight=False)
    out.print(f"  SHA-256 {one.digest}", soft_wrap=True, highlight=False)


def _summary(protocol: Protocol) -> None:
    table = Table("Party", "Agencies", "Coordinator", title=escape(protocol.title))
    for party in protocol.parties:
        own = [agency for agency in protocol.agencies if agency.party == party.code]
        coordinators = [agency.id for agency in own if agency.role == "coordinator"]
        table.add_row(
            escape(f"{party.name} ({party.code})"), str(len(own)), ", ".join(coordinators)
        )
    out.print(table)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _without_text(document: ProtocolVersionDocument | AmendmentDocument) -> dict[str, Any]:
    return document.model_dump(mode="json", exclude={"text"})
