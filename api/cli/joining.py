"""Commands by which a country joins the agreement, and by which a party leaves it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import fail, failures, out, print_json
from api.cli.protocol import InLanguage, Proposal, Yes, app


@app.command()
def join(
    draft: Annotated[
        Path, typer.Argument(help="The text with the new party and its agencies, without keys.")
    ],
    received: Annotated[
        Path, typer.Option("--from", help="The hand-over file of the country's `node init`.")
    ],
    country_key: Annotated[
        Path, typer.Option(help="What `keys country` printed on the country's machine.")
    ],
    to: Annotated[Path, typer.Option("--out", help="Where to write the text to propose.")],
    compared: Annotated[
        str | None, typer.Option(help="The fingerprint that the country's operator read out.")
    ] = None,
    years: Annotated[int, typer.Option(min=1, max=10, help="How long the keys are valid.")] = 2,
    language: InLanguage = "en",
) -> None:
    """Write the text by which a country joins: the draft with the country's keys and its node.

    It sends nothing. Propose the text by `protocol propose`.
    """

    from api.cli.steps.joining import hand_over_of, text_with, written
    from api.paper.protocol_changes import copy_contents
    from api.paper.subject_access.wording import wording
    from ledger.procedure.protocol import load_protocol
    from ledger.system.bounded_files import read_ordinary

    with failures():
        handed = hand_over_of(received, compared)
        key = read_ordinary(country_key).decode("ascii").strip()
        to.write_text(written(text_with(load_protocol(draft), handed, key, years)), "utf-8")
        out.print(copy_contents(handed.party, wording(language)), soft_wrap=True, highlight=False)
        out.print(f"Written to {to}. Propose it: case-ledger protocol propose {to}", soft_wrap=True)


@app.command("join-statement")
def join_statement(
    file: Annotated[Path, typer.Argument(help="The proposed text, whole.")],
    proposal: Annotated[UUID, typer.Option(help="The id of the proposal.")],
    agency: Annotated[str, typer.Option(help="The joining party's coordinator.")],
    key: Annotated[Path, typer.Option("--key", "-k", help="Its private key.")],
    to: Annotated[Path, typer.Option("--out", help="Where to write the statement.")],
    digest: Annotated[
        str | None,
        typer.Option(help="The text's SHA-256, if it came to you by another way: it must be this."),
    ] = None,
    yes: Yes = False,
    language: InLanguage = "en",
) -> None:
    """Accept a proposed text as the coordinator of the party that joins by it.

    It needs no node and sends nothing. Hand the statement to the coordinator of a party.
    """

    from api.cli.steps.joining import party_of, statement_of
    from api.paper.protocol_changes import copy_contents
    from api.paper.subject_access.wording import wording
    from ledger.procedure.amendments import text_digest, text_of
    from ledger.procedure.protocol import load_protocol
    from ledger.signing import keys

    with failures():
        text = load_protocol(file)
        party, found = party_of(text, agency), text_digest(text_of(text))
        if digest is not None and digest.lower() != found:
            fail(f"the text has the SHA-256 {found}, not {digest}: do not sign it")
        out.print(copy_contents(party, wording(language)), soft_wrap=True, highlight=False)
        if not yes and not typer.confirm(f"Accept this text (SHA-256 {found}) for {party}?"):
            fail("nothing was signed")
        signed = statement_of(text, proposal, agency, keys.load(key))
        to.write_text(signed.model_dump_json(indent=1) + "\n", "ascii")
        out.print(f"Signed into {to}", soft_wrap=True)


@app.command("accept-joining")
@asks
def accept_joining(
    asked: AsAgencyOrJson,
    proposal: Proposal,
    statement: Annotated[Path, typer.Argument(help="The joining party's statement.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint that you verified.", show_default="the one published at --url"
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Record that a joining party accepts the proposed text that makes it a party.

    The party cannot record it itself before the text is in force. The statement is its own: the
    ledger takes it only if the key that the text names signed it.
    """

    from api.cli.steps.amendment_tables import (
        amendment_with,
        checked_digest,
        read_text,
        show_amendment,
    )
    from api.cli.steps.joining import read_statement
    from api.cli.steps.named_checkpoints import chosen, tell_named
    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import AccessionAccepted

    with asked.client() as client:
        amendment, signed = amendment_with(client, proposal), read_statement(statement)
        if (signed.proposal, signed.digest) != (proposal, checked_digest(amendment)):
            fail("the statement is on another proposal or another text: ask for one on this")
        read_text(amendment.text)  # nobody accepts a text that this program cannot read
        named = chosen(client, checkpoint, amendment.proposed_at)
        if not asked.as_json:
            tell_named(named)
        ask_to_sign(asked, f"Record that {signed.party} accepts this text?", yes=yes)
        act = AccessionAccepted(
            acted_at=datetime.now(UTC),
            proposal=proposal,
            digest=signed.digest,
            party=signed.party,
            statement=signed.statement,
            checkpoint=named,
        )
        sign_act(asked, client, act, f"Recorded the acceptance of {signed.party}")
        if not asked.as_json:
            show_amendment(amendment_with(client, proposal))


@app.command()
@asks
def leave(
    asked: AsAgencyOrJson,
    party: Annotated[str, typer.Argument(help="The own party's code, such as AL.")],
    day: Annotated[
        datetime,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            help="The first day, at its own local time, as no party any more.",
        ),
    ],
    reason: Annotated[
        str | None, typer.Option(help="Why, for the other parties. No names.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Declare, as a coordinator, that the own party leaves the agreement.

    The protocol's notice lies before the day. `protocol stay` takes it back until then.
    """

    from api.cli.steps.signed_acts import ask_to_sign, sign_act
    from ledger.vocabulary.registration import PartyWithdrawalDeclared

    with asked.client() as client:
        code, first = party.upper(), day.date()
        ask_to_sign(
            asked,
            f"Declare that {code} leaves on {first}? From then on, its agencies only answer what"
            " they owe and confirm the erasure of what they had received. Its leads pass to the"
            " other countries of the cases, and it has no vote.",
            yes=yes,
        )
        act = PartyWithdrawalDeclared(
            acted_at=datetime.now(UTC), party=code, day=first, reason=reason
        )
        receipt = sign_act(asked, client, act, f"Declared that {code} leaves on {first}")
        if not asked.as_json:
            out.print(f"The declaration's id is {receipt.action_id}.", soft_wrap=True)


@app.command()
@asks
def stay(
    asked: AsAgencyOrJson,
    declaration: Annotated[UUID, typer.Argument(help="The declaration's id: `protocol parties`.")],
) -> None:
    """Take back, before the day, that the own party leaves."""

    from api.cli.steps.signed_acts import sign_act
    from ledger.vocabulary.registration import PartyWithdrawalRevoked

    with asked.client() as client:
        act = PartyWithdrawalRevoked(acted_at=datetime.now(UTC), declaration=declaration)
        sign_act(asked, client, act, "Taken back")


@app.command()
@asks
def parties(asked: AsAgencyOrJson) -> None:
    """List the parties: since when each is one, until when, and what a party that left owes."""

    from api.cli.steps.party_tables import show_parties_of_today

    with asked.client() as client:
        found = client.parties()
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in found])
        else:
            show_parties_of_today(found)


@app.command("align-witnesses")
@asks
def align_witnesses(asked: AsAgencyOrJson) -> None:
    """Have the log's policy name the witnesses of the parties that joined, and of none that left.

    A country's node does this by itself within a minute.
    """

    from api.cli.steps.signed_acts import sign_act
    from ledger.vocabulary.registration import WitnessesAligned

    with asked.client() as client:
        act = WitnessesAligned(acted_at=datetime.now(UTC))
        sign_act(asked, client, act, "The policy follows the parties")
