"""Commands on a party that is away: announce it, end it, and list what it misses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import out, print_json
from api.client import LedgerClient
from api.client.schemas import AbsenceReport
from ledger.vocabulary import Action
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import AbsenceAnnounced, PresenceDeclared

app = typer.Typer(
    name="absence", help="A party that is away, and what it misses.", no_args_is_help=True
)
_SUBJECTS = {"witnesses": VoteSubject.WITNESSES, "log-key": VoteSubject.LOG_KEY}
OutFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Only sign, into a file, for `node take-over`."),
]


@app.command()
@asks
def announce(
    asked: AsAgencyOrJson,
    party: Annotated[str, typer.Argument(help="The party that is away.")],
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="What the others will vote on: witnesses, or log-key (takeover too). May be"
            " repeated. [default: both]"
        ),
    ] = None,
    out_file: OutFile = None,
) -> None:
    """Announce, as a coordinator, that another party is away and the others will vote without it.

    The party counts as absent once the protocol's days of notice are over. Any act of its
    coordinator or node on the protocol ends the announcement. Tell its contact point too.
    """
    with asked.client() as client:
        subjects = tuple(_subject(name) for name in on or _SUBJECTS)
        action = AbsenceAnnounced(
            acted_at=datetime.now(UTC), party=party.upper(), subjects=subjects
        )
        _record(client, action, out_file, asked.as_json)


@app.command()
@asks
def end(
    asked: AsAgencyOrJson,
    out_file: OutFile = None,
) -> None:
    """Declare, as a coordinator, that the own party is present: an announced absence ends."""
    with asked.client() as client:
        _record(client, PresenceDeclared(acted_at=datetime.now(UTC)), out_file, asked.as_json)


@app.command()
@asks
def show(
    asked: AsAgencyOrJson,
    party: Annotated[str, typer.Argument(help="The party.")],
) -> None:
    """List a party's announced absences, and the decisions and publications without it.

    The list is the node's record. For coordinators, oversight bodies and nodes.
    """
    with asked.client() as client:
        report = client.absence(party.upper())
        if asked.as_json:
            print_json(report)
        else:
            _print(report)


def _subject(name: str) -> VoteSubject:
    if name not in _SUBJECTS:
        raise ValueError(f"--on is one of {', '.join(_SUBJECTS)}, not {name}")
    return _SUBJECTS[name]


def _record(client: LedgerClient, action: Action, out_file: Path | None, as_json: bool) -> None:
    if out_file is not None:
        out_file.write_text(f"{client.sign(action, None)}\n", encoding="ascii")
        out.print(f"Signed into {out_file}", soft_wrap=True)
        return
    receipt = client.append_to_registry(action)
    if as_json:
        print_json(receipt)
    else:
        out.print(f"[green]Recorded[/] at position {receipt.position}.")


def _print(report: AbsenceReport) -> None:
    def section(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        if not rows:
            out.print(f"{title}: none.")
            return
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        out.print(table)

    def day(at: datetime | None) -> str:
        return f"{at:%d %b %Y %H:%M}" if at else ""

    section(
        f"Announced absences of {report.party}",
        ("position", "by", "votes on", "announced (UTC)", "counts from", "ended at position"),
        [
            (
                str(one.position),
                one.by,
                ", ".join(one.subjects),
                day(one.announced_at),
                day(one.counts_from),
                str(one.ended_at or "open"),
            )
            for one in report.announced
        ],
    )
    section(
        f"Decided without {report.party}",
        ("position", "recorded (UTC)", "without", "policy"),
        [
            (str(one.position), day(one.recorded_at), ", ".join(one.without), one.policy)
            for one in report.decided
        ],
    )
    section(
        f"Published without the witness of {report.party}",
        ("sizes", "checkpoints", "from (UTC)", "to", "cosigned since at size"),
        [
            (
                f"{one.first} to {one.last}",
                str(one.count),
                day(one.began_at),
                day(one.ended_at),
                str(one.covered_by or "not yet"),
            )
            for one in report.published
        ],
    )
