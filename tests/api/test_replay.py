"""Replays by API, command line and Python: a live node, its database, an export say the same."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.client import RefusedError
from ledger.application import Ledger, environment
from ledger.export.static_export import write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.procedure.agreement import Agreement
from ledger.signing import keys
from ledger.store.database import Database
from ledger.vocabulary import Action
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import Correction, InformationRequested
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    CorrectionReason,
    InformationTopic,
    Purpose,
    RiskLevel,
    ShelterKind,
)
from ledger.vocabulary.protection import RiskAssessed, Sheltered
from projections.tables.view_queries import ViewReader
from projections.time.bitemporal import Moment, acts_of, state_at
from projections.time.event_sources import DatabaseEvents, ExportEvents
from projections.time.ledger_at import ledger_at, ledger_difference
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.logs import ORIGIN, signer
from tests.support.serving import Server, serving
from tests.support.views import wait_for

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
POLICE, SHELTER = "xk-dhtqnj", "xk-isf"


class Story:
    """A case in which a shelter was entered by mistake, told late, and annulled."""

    def __init__(self, served: Server, ledger: Ledger, database: str) -> None:
        self.served, self.ledger, self.database = served, ledger, database
        self.case, self.version = uuid4(), 0
        self.positions: dict[str, int] = {}
        self.actions: dict[str, UUID] = {}
        day = timedelta(days=1)
        self.take("opened", POLICE, opening(("XK",), acted_at=START, first_name="Nobody"))
        self.take("sheltered", SHELTER, self.shelter(START + day))
        self.take("assessed", POLICE, self.risk(START + 3 * day, RiskLevel.LOW))
        self.take("late", POLICE, self.risk(START + 2 * day, RiskLevel.MEDIUM))
        self.take(
            "annulled",
            SHELTER,
            Correction(
                acted_at=START + 4 * day,
                corrects=self.actions["sheltered"],
                effect=CorrectionEffect.ANNULLED,
                reason=CorrectionReason.WRONG_CASE,
            ),
        )
        self.take("asked", "xk-nac", self.request(START + 5 * day))
        with Database(database) as pool:
            wait_for(ViewReader(pool), self.positions["asked"])

    def take(self, name: str, agency: str, action: Action) -> None:
        receipt = self.served.client(agency).append(action, self.case, self.version)
        self.version = receipt.case_version
        self.positions[name], self.actions[name] = receipt.position, receipt.action_id

    @staticmethod
    def shelter(at: datetime) -> Sheltered:
        return Sheltered(acted_at=at, shelter_kind=ShelterKind.EMERGENCY, provider=SHELTER)

    @staticmethod
    def risk(at: datetime, level: RiskLevel) -> RiskAssessed:
        return RiskAssessed(acted_at=at, risk_level=level)

    @staticmethod
    def request(at: datetime) -> InformationRequested:
        return InformationRequested(
            acted_at=at,
            addressee="me-nac",
            topics=(InformationTopic.FAMILY,),
            purpose=Purpose.IDENTIFICATION,
        )


@pytest.fixture(scope="module")
def story(server: str, begun: str, agencies: Agencies) -> Iterator[Story]:
    """One story for all tests. The last two tests record more."""
    with (
        new_database(server, begun) as database,
        Ledger(environment(database)) as ledger,
        serving(database, agencies) as served,
    ):
        yield Story(served, ledger, database)


@pytest.fixture
def export(story: Story, directory: Path) -> Path:
    rows = story.ledger.rows
    size = rows.max_notification_id() or 0
    text = str(Checkpoint(ORIGIN, size, rows.tree().root(size)))
    note = Note(text, (signer().sign(text),))
    write_export(story.ledger.rows, note, directory / "export", lambda _, __: None)
    return directory / "export"


Run = Callable[..., Any]


@pytest.fixture
def run(story: Story, directory: Path) -> Run:
    """A command with ``--json``, in this process; for an agency where one is named."""

    def run(*words: str, agency: str | None = None, code: int = 0) -> Any:
        env: dict[str, str | None] = {
            "CASE_LEDGER_DATABASE_URL": story.database,
            "CASE_LEDGER_DATA_DIRECTORY": str(directory / "data"),
            "CASE_LEDGER_URL": story.served.url,
        }
        more: tuple[str, ...] = ()
        if agency is not None:
            key = directory / f"{agency}.json"
            if not key.exists():
                keys.save(story.served.agencies.keys[agency], key)
            more = ("--agency", agency, "--key", str(key))
        done = CliRunner().invoke(app, ["replay", *words, *more, "--json"], env=env)
        assert done.exit_code == code, done.output
        if code != 0:
            return done.output
        # The server is in this process too, and writes its log to the same place.
        (line,) = (one for one in done.stdout.splitlines() if one[:1] in "[{")
        return json.loads(line)

    return run


def test_as_known_and_as_valid(story: Story) -> None:
    oversight = story.served.client("xk-ombudsperson")
    known = oversight.case(story.case, as_of_position=story.positions["late"]).view
    assert known.shelter is not None
    on_the_day = oversight.case(story.case, valid_at=START + timedelta(days=1, hours=1)).view
    assert on_the_day.shelter is None  # it never was: that is known since
    was_believed = oversight.case(
        story.case,
        as_of_position=story.positions["late"],
        valid_at=START + timedelta(days=1, hours=1),
    ).view
    assert was_believed.shelter is not None
    # What was told late had happened by then.
    then = oversight.case(story.case, valid_at=START + timedelta(days=2, hours=1)).view
    assert then.facts["risk_assessed"].action == story.actions["late"]
    before = START - timedelta(hours=1)
    with pytest.raises(RefusedError, match="unknown-case"):
        oversight.case(story.case, valid_at=before)


def test_a_difference_names_the_events_that_made_it(story: Story) -> None:
    oversight = story.served.client("xk-ombudsperson")
    before, after = (
        Moment(position=story.positions["late"]),
        Moment(position=story.positions["annulled"]),
    )
    found = oversight.difference(story.case, before, after)
    shelter = next(one for one in found.differences if one.path.startswith("/shelter"))
    assert shelter.reasons == (story.positions["annulled"],)
    assert [event.corrects for event in found.events] == [story.actions["sheltered"]]
    # What was learnt of a day since: the shelter went, because of the correction.
    day = START + timedelta(days=1, hours=1)
    learnt = oversight.difference(
        story.case, Moment(position=story.positions["late"], valid_at=day), Moment(valid_at=day)
    )
    assert [(event.because, event.position) for event in learnt.events] == [
        ("went", story.positions["sheltered"])
    ]
    assert [(one.known_then, one.correction) for one in learnt.corrections] == [
        (True, story.actions["annulled"])
    ]


def test_every_source_says_the_same(story: Story, export: Path, run: Run) -> None:
    case = str(story.case)
    for words in (
        ("case", case, "--at", str(story.positions["late"])),
        ("case", case, "--valid-at", "2026-01-06T09:00:00Z"),
        ("difference", case, "--from", "0", "--to", str(story.positions["annulled"])),
        ("difference", case, "--from", str(story.positions["sheltered"])),
    ):
        told = run(*words, agency="xk-ombudsperson")
        assert run(*words, "--database") == told
        assert run(*words, "--export", str(export)) == told
    steps = run("steps", case, "--export", str(export))
    assert [one["events"][0]["position"] for one in steps] == list(story.positions.values())
    for source in (DatabaseEvents(story.database), ExportEvents(export)):
        state = state_at(
            acts_of(source.case(story.case)),
            Agreement.of(story.served.agencies.protocol),
            Moment(position=story.positions["late"]),
        )
        assert state is not None
        assert state.shelter is not None


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    return caught.value.problem.rule


def test_what_others_may_not_replay(story: Story) -> None:
    strangers: Mapping[str, Callable[[], object]] = {
        "another country": lambda: story.served.client("al-nac").difference(
            story.case, Moment(position=0), Moment()
        ),
        "another country, a day": lambda: story.served.client("al-nac").case(
            story.case, valid_at=START + timedelta(days=1)
        ),
        "no such case": lambda: story.served.client("xk-nac").difference(
            uuid4(), Moment(position=0), Moment()
        ),
    }
    for who, ask in strangers.items():
        assert refused(ask) == "unknown-case", who
    for agency in (POLICE, SHELTER, "xk-csw-prishtina"):
        assert refused(lambda a=agency: story.served.client(a).ledger_moment(Moment())) == (  # type: ignore[misc]
            "whole-ledger"
        )
    assert refused(lambda: story.served.client("xk-node").ledger_moment(Moment())) == (
        "whole-ledger"
    )
    # Before Montenegro was asked, it was no party: it sees nothing as of then.
    me = story.served.client("me-nac")
    assert refused(lambda: me.case(story.case, as_of_position=story.positions["late"])) == (
        "unknown-case"
    )
    both = Moment(position=1, time=START)
    assert refused(lambda: me.difference(story.case, both, Moment())) == "as-of"


def test_commands_say_what_is_wrong(story: Story, export: Path, run: Run) -> None:
    case = str(story.case)
    reference = case_reference(UUID(case))
    by_id = run("case", case, "--valid-at", "2026-01-06", "--database")
    for words in (("--database",), ("--export", str(export))):
        assert run("case", reference, "--valid-at", "2026-01-06", *words) == by_id
    live = run("case", reference, "--valid-at", "2026-01-06", agency="xk-ombudsperson")
    assert live["version"] == by_id["version"]
    assert "is that of 0 cases" in run("case", case_reference(uuid4()), "--database", code=1)
    assert "offset" in run("case", case, "--at", "2026-01-01T00:00:00", "--database", code=1)
    assert "not both" in run("case", case, "--database", "--export", str(export), code=1)
    assert "say where" in run("case", case, code=1)
    assert "no such case" in run("case", str(uuid4()), "--database", code=1)
    assert "no such case" in run("difference", str(uuid4()), "--from", "0", "--database", code=1)
    assert "checkpoint" in run("ledger", "--export", str(export / "tile"), code=1)


def test_the_whole_ledger_at_every_position(story: Story, export: Path, run: Run) -> None:
    oversight = story.served.client("xk-ombudsperson")
    before = oversight.ledger_moment(Moment()).cases
    other = uuid4()
    story.served.client("me-police-thb").append(opening(("ME",), acted_at=START), other, 0)
    head = story.ledger.head()
    with Database(story.database) as pool:
        wait_for(ViewReader(pool), head)
    for position in range(head + 1):
        moment = Moment(position=position)
        told = oversight.ledger_moment(moment)
        assert told == ledger_at(DatabaseEvents(story.database).events(), moment)
        row = story.ledger.rows.select_positions([position])
        if row:
            assert oversight.ledger_moment(Moment(time=row[0].recorded_at)).position >= position
    assert oversight.ledger_moment(Moment(time=START)).position == 0
    whole = run("ledger", agency="xk-nac")
    assert whole["cases"] == before + 1
    assert whole == run("ledger", "--database")
    moved = ledger_difference(
        ExportEvents(export).events(), Moment(position=story.positions["late"]), Moment()
    )
    assert moved.before.cases == moved.after.cases == 1
    assert [set(one.after) for one in moved.cases] == [{"parties"}]
    assert run(
        "ledger", "--from", str(story.positions["late"]), "--export", str(export)
    ) == json.loads(moved.model_dump_json())


def test_fields_of_an_action_that_does_not_count_are_not_shown(story: Story) -> None:
    police = story.served.client(POLICE)
    story.take("noted", POLICE, story.risk(START + timedelta(days=6), RiskLevel.LOW))
    shown = {one.action_id for one in police.case(story.case).disclosed}
    day = police.case(story.case, valid_at=START + timedelta(hours=1))
    assert {one.action_id for one in day.disclosed} <= shown & {story.actions["opened"]}
