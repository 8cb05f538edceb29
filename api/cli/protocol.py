"""Commands on the agreement: read it, compare texts, propose an amendment, accept or decline it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, out, print_json

app = typer.Typer(
    name="protocol",
    help="The agreement: read it, propose an amendment, accept or decline one, join or leave.",
    no_args_is_help=True,
)
Proposal = Annotated[UUID, typer.Argument(help="The proposal's id, as `protocol history` has it.")]
InLanguage = Annotated[
    str,
    typer.Option("--language", "-l", help="Of the sentences: one that is found, by its code."),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Sign without asking, after the text was shown.")
]


@app.command()
@asks
def show(
    asked: AsAgencyOrJson,
    version: Annotated[
        int | None, typer.Option(help="A version.", show_default="the one in force")
    ] = None,
    proposal: Annotated[UUID | None, typer.Option(help="A proposed text instead.")] = None,
    text: Annotated[
        bool, typer.Option("--text", help="The whole text, as JSON that `propose` takes.")
    ] = False,
) -> None:
    """Show the version in force, another version, or a proposed text."""

    from api.cli.steps.amendment_tables import (
        amendment_with,
        read_text,
        show_amendment,
        show_parties,
        show_parties_if_read,
        show_version,
        version_of,
    )

    with asked.client() as client:
        if proposal is not None:
            amendment = amendment_with(client, proposal)
            if text:
                _print_text(amendment.text)
            elif asked.as_json:
                print_json(amendment)
            else:
                show_amendment(amendment)
                show_parties_if_read(amendment)
            return
        found = version_of(client.protocol_versions(), version)
        if text:
            _print_text(found.text)
        elif asked.as_json:
            print_json(found)
        else:
            show_version(found)
            show_parties(read_text(found.text))


@app.command()
@asks
def diff(
    asked: AsAgencyOrJson,
    file: Annotated[
        Path | None, typer.Argument(help="A protocol file.", show_default="with --proposal, none")
    ] = None,
    proposal: Annotated[UUID | None, typer.Option(help="A proposed text.")] = None,
    against: Annotated[
        int | None, typer.Option(help="The version to compare with.", show_default="the newest")
    ] = None,
    language: InLanguage = "en",
) -> None:
    """Say in sentences which rights, deadlines and access a text of the protocol changes."""

    from api.cli.steps.amendment_tables import amendment_with, read_text, tell_changes, version_of
    from ledger.procedure.protocol import load_protocol
    from ledger.procedure.protocol_changes import changes

    with asked.client() as client:
        if (file is None) is (proposal is None):
            fail("name a protocol file, or --proposal with a proposal's id")
        versions = client.protocol_versions()
        if file is not None:
            text, base = load_protocol(file), against
        else:
            amendment = amendment_with(client, _given(proposal))
            text, base = read_text(amendment.text), against or amendment.version - 1
        before = versions[-1] if base is None else version_of(versions, base)
        tell_changes(changes(read_text(before.text), text), before.version, language, asked.as_json)


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
            help="The first day on which it may be in force, at the local time of every party.",
            show_default="once adopted",
        ),
    ] = None,
    yes: Yes = False,
    language: InLanguage = "en",
) -> None:
    """Propose a new text as a coordinator, and accept it for the own party.

    It is in force once the coordinator of every party has accepted it, and not before the day.
    """

    from api.cli.steps.amendment_tables import read_text, tell_changes
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.procedure.amendments import text_digest, text_of
    from ledger.procedure.protocol import load_protocol
    from ledger.procedure.protocol_changes import changes
    from ledger.vocabulary.registration import AmendmentProposed

    with asked.client() as client:
        protocol = load_protocol(file)
        newest = client.protocol_versions()[-1]
        found = changes(read_text(newest.text), protocol)
        if not asked.as_json:
            tell_changes(found, newest.version, language, asked.as_json)
        text = text_of(protocol)
        digest = text_digest(text)
        ask_to_sign(asked, f"Propose this text (SHA-256 {digest}) for {asked.agency}?", yes=yes)
        act = AmendmentProposed(
            acted_at=datetime.now(UTC),
            protocol=text,
            digest=digest,
            reason=reason,
            earliest_day=earliest.date() if earliest is not None else None,
        )
        receipt = sign_act(asked, client, act, "Proposed")
        if not asked.as_json:
            said = (
                f"The proposal's id is {receipt.action_id}. The other parties accept or decline it."
            )
            out.print(said, soft_wrap=True)


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
        typer.Option(
            help="A checkpoint that you verified.", show_default="the one published at --url"
        ),
    ] = None,
    yes: Yes = False,
    language: InLanguage = "en",
) -> None:
    """Accept a proposed text for the own party, as its coordinator.

    The acceptance counts only in a ledger that begins with the events of --checkpoint, the proposal
    among them, so that nobody can put it on a fork. The address --url is your own country's node,
    which verified the data that it serves.
    """

    from api.cli.steps.amendment_tables import (
        amendment_with,
        checked_digest,
        read_text,
        show_amendment,
        tell_changes,
        version_of,
    )
    from api.cli.steps.named_checkpoints import chosen, tell_named
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.procedure.protocol_changes import changes
    from ledger.vocabulary.registration import AmendmentAccepted

    with asked.client() as client:
        amendment = amendment_with(client, proposal)
        found = checked_digest(amendment)
        if digest is not None and digest.lower() != found:
            fail(f"the node's text has the SHA-256 {found}, not {digest}: do not accept it")
        base = version_of(client.protocol_versions(), amendment.version - 1)
        text = read_text(amendment.text)  # nobody accepts a text that this program cannot read
        if not asked.as_json:
            show_amendment(amendment)
            told = changes(read_text(base.text), text)
            tell_changes(told, base.version, language, asked.as_json)
        named = chosen(client, checkpoint, amendment.proposed_at)
        if not asked.as_json:
            tell_named(named)
        ask_to_sign(asked, f"Accept this text (SHA-256 {found}) for {asked.agency}?", yes=yes)
        act = AmendmentAccepted(
            acted_at=datetime.now(UTC), proposal=proposal, digest=found, checkpoint=named
        )
        sign_act(asked, client, act, "Accepted")
        if not asked.as_json:
            show_amendment(amendment_with(client, proposal))


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

    from api.cli.steps.amendment_tables import amendment_with, checked_digest
    from api.cli.steps.signed_acts import sign_act
    from ledger.vocabulary.registration import AmendmentDeclined

    with asked.client() as client:
        found = checked_digest(amendment_with(client, proposal))
        act = AmendmentDeclined(
            acted_at=datetime.now(UTC), proposal=proposal, digest=found, reason=reason
        )
        sign_act(asked, client, act, "Declined")


@app.command()
@asks
def history(
    asked: AsAgencyOrJson,
) -> None:
    """List the versions that were adopted, and every text that was proposed."""

    from api.cli.steps.amendment_tables import show_amendment, show_version, without_text

    with asked.client() as client:
        versions, amendments = client.protocol_versions(), client.amendments()
        if asked.as_json:
            print_json(
                {
                    "versions": [without_text(one) for one in versions],
                    "amendments": [without_text(one) for one in amendments],
                }
            )
            return
        for version in versions:
            show_version(version)
        for amendment in amendments:
            out.print()
            show_amendment(amendment)


def _given(proposal: UUID | None) -> UUID:
    if proposal is None:
        fail("name a proposal")
    return proposal


def _print_text(text: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(text, ensure_ascii=False, indent=2))
