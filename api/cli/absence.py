"""Commands on a party that is away: announce it, end it, and list what it misses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import print_json
from ledger.vocabulary.picklists import VoteSubject

app = typer.Typer(
    name="absence",
    help="Absent parties: announce an absence, end it, show what it covers.",
    no_args_is_help=True,
)
_SUBJECTS = {"witnesses": VoteSubject.WITNESSES, "log-key": VoteSubject.LOG_KEY}
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Write the signed act into this file, for `node take-over`. Nothing is recorded.",
    ),
]


@app.command()
@asks
def announce(
    asked: AsAgencyOrJson,
    party: Annotated[str, typer.Argument(help="The party that is away.")],
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="The subject of votes without the party: witnesses, or log-key "
            "(takeover too). May be repeated.",
            show_default="both",
        ),
    ] = None,
    out_file: OutFile = None,
) -> None:
    """Announce, as a coordinator, that another party is away and the others will vote without it.

    The party counts as absent once the protocol's days of notice are over. Any act of its
    coordinator or node on the protocol ends the announcement. Tell its contact point too.
    """

    from api.cli.steps.signed_acts import sign_act_or_write
    from ledger.vocabulary.registration import AbsenceAnnounced

    with asked.client() as client:
        subjects = tuple(_subject(name) for name in on or _SUBJECTS)
        action = AbsenceAnnounced(
            acted_at=datetime.now(UTC), party=party.upper(), subjects=subjects
        )
        sign_act_or_write(asked, client, action, out_file)


@app.command()
@asks
def end(
    asked: AsAgencyOrJson,
    out_file: OutFile = None,
) -> None:
    """Declare, as a coordinator, that the own party is present: an announced absence ends."""

    from api.cli.steps.signed_acts import sign_act_or_write
    from ledger.vocabulary.registration import PresenceDeclared

    with asked.client() as client:
        sign_act_or_write(asked, client, PresenceDeclared(acted_at=datetime.now(UTC)), out_file)


@app.command()
@asks
def show(
    asked: AsAgencyOrJson,
    party: Annotated[str, typer.Argument(help="The party.")],
) -> None:
    """List a party's announced absences, and the decisions and publications without it.

    The list is the node's record. For coordinators, oversight bodies and nodes.
    """

    from api.cli.steps.absence_records import print_absence

    with asked.client() as client:
        report = client.absence(party.upper())
        if asked.as_json:
            print_json(report)
        else:
            print_absence(report)


def _subject(name: str) -> VoteSubject:
    if name not in _SUBJECTS:
        raise ValueError(f"--on is one of {', '.join(_SUBJECTS)}, not {name}")
    return _SUBJECTS[name]
