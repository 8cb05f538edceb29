"""The command that reports on a breach, for coordinators and oversight bodies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from api.cli.connection import Agency, AtNode, OwnKeyFile, asks
from api.cli.output import AsJson, fail, failures, out, print_json

if TYPE_CHECKING:
    from api.client import LedgerClient

app = typer.Typer()


@dataclass(frozen=True, slots=True, kw_only=True)
class AsAuditor(AtNode):
    """The node, and the auditor who asks it: here ``--key`` names the suspect's key."""

    agency: Agency
    own_key: OwnKeyFile = None
    as_json: AsJson = False

    @contextmanager
    def client(self) -> "Iterator[LedgerClient]":
        """Give a client, and turn an error in the block into a message and an exit code."""
        with failures(self.as_json), self.connect(self.agency, self.own_key) as client:
            yield client


@app.command()
@asks
def breach(
    asked: AsAuditor,
    since: Annotated[
        str | None,
        typer.Option(
            help="The beginning of the span: a time with its offset, or a day of your country. "
            "Required."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="The suspect key, by its id.")] = None,
    member: Annotated[
        UUID | None, typer.Option(help="The suspect member, with every key of the member.")
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="The suspect person's pseudonym, from the access log.")
    ] = None,
    of_agency: Annotated[
        str | None, typer.Option("--of-agency", help="The suspect agency, with all its keys.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="The end of the span: such a time, or day.", show_default="now"),
    ] = None,
    aware: Annotated[
        str | None,
        typer.Option(
            help="When the controller became aware: such a time, or the beginning of such a day. "
            "72 hours count from then."
        ),
    ] = None,
    draft: Annotated[
        Path | None, typer.Option(help="Write the facts for a notification there, in Markdown.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")
    ] = False,
) -> None:
    """Report what a key, a member, a person or an agency saw and did. Nobody is notified by it.

    For coordinators and oversight bodies, on agencies of their own country. The report is itself an
    entry of the access log. It has no names: read them for a purpose, case by case.
    """

    from api.cli.steps.breach_tables import print_report
    from api.cli.steps.own_time import own_zone
    from api.client.schemas.breach import BreachReport, BreachRequest
    from api.paper.privacy.breach_notice import notice
    from ledger.signing.keys import write_private
    from projections.time.bitemporal import beginning_of, end_of

    if schema:
        print_json(BreachReport.model_json_schema())
        return
    if since is None:
        fail("give --since, the beginning of the span")
    if sum(one is not None for one in (key, member, person, of_agency)) != 1:
        fail("name one suspect: --key, --member, --person or --of-agency")
    with asked.client() as client:
        zone = own_zone(asked.agency)
        request = BreachRequest(
            key_id=key,
            member=member,
            person=person,
            agency=of_agency,
            since=beginning_of(since, zone),
            until=None if until is None else end_of(until, zone),
            aware_at=None if aware is None else beginning_of(aware, zone),
        )
        report = client.breach(request)
        if draft is not None:
            write_private(draft, notice(report, asked.agency).encode())
        if asked.as_json:
            print_json(report)
            return
        print_report(report)
        if draft is not None:
            out.print(f"[green]Written[/] to {draft}: facts for a notification. Complete it.")
