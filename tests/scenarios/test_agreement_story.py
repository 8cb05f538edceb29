"""One running ledger whose agreement lives: agencies, deadlines, roles and rules change meanwhile.

The parties act by the commands and by the API. After each step `verify ledger` holds. In the middle
and at the end, so do `verify export`, the auditor's program, a fresh country copy and the rebuilt
views. With CASE_LEDGER_TEST_STORY_EVENTS all of them hold after each step, on a ledger of so many
events.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.client import RefusedError, connection
from api.client.assertion import make_assertion
from api.exchange.mirror_sync import HttpSource
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol
from ledger.replication.mirror import Mirror
from ledger.signing import keys
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.coordination import (
    CasePrioritised,
    InformationProvided,
    InformationRequested,
    LeadTransferAccepted,
    LeadTransferOffered,
)
from ledger.vocabulary.picklists import (
    InformationTopic,
    Priority,
    Purpose,
    ReferralReason,
    RiskLevel,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, NamedCheckpoint
from projections.folds.obligations import Obligation
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies, adopted_protocol
from tests.support.amending import proposal
from tests.support.auditor import run_auditor
from tests.support.databases import new_database
from tests.support.joining import MK, Joining, leaving
from tests.support.jumping import DatabaseClock
from tests.support.process import wait_until_published
from tests.support.serving import Server, running
from tests.support.views import wait_for

EVENTS = int(os.environ.get("CASE_LEDGER_TEST_STORY_EVENTS", "0"))
STEPS = 9
LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:")
"""Begins the lines that the server logs beside what a command prints."""
XK, ME, AL = "xk-nac", "me-nac", "al-nac"
POLICE, PROSECUTOR, CENTRE, SHELTER = (
    "xk-dhtqnj",
    "xk-prosecution-prishtina",
    "me-csw-niksic",
    "bar-shelter",
)
NEW_KIND = "case_prioritised"


@dataclass
class Story:
    """The running ledger, and the state of the story."""

    served: Server
    database: str
    server: str
    migrated: str
    directory: Path
    running: ExitStack
    """What ends the node."""
    coordinators: list[str] = field(default_factory=lambda: [XK, ME, AL])
    steps: int = 0

    @property
    def agencies(self) -> Agencies:
        return self.served.agencies

    def starts_again(self) -> None:
        """The node's clock and its database's were set: it is started again."""
        self.running.close()
        again = running(self.served.settings, self.database, self.agencies)
        self.served = self.running.enter_context(again)

    def run(self, *args: str, code: int = 0, database: str | None = None) -> str:
        """Run a command at the ledger node, or on another database."""
        env = {
            "CASE_LEDGER_DATA_DIRECTORY": str(self.served.settings.data_directory),
            "CASE_LEDGER_DATABASE_URL": database or self.database,
            "CASE_LEDGER_OWNER_DATABASE_URL": database or self.database,
        }
        done = CliRunner(env=env).invoke(app, list(args))
        assert done.exit_code == code, done.output
        return done.stdout

    def acts(self, agency: str, *args: str, code: int = 0) -> str:
        """Run a command of an agency."""
        key = self.directory / f"{agency}.jwk"
        if not key.exists():
            keys.save(self.agencies.keys[agency], key)
        return self.run(
            *args, "--agency", agency, "--key", str(key), "--url", self.served.url, code=code
        )

    def told(self, agency: str, *args: str) -> Any:
        lines = self.acts(agency, *args, "--json").splitlines()
        return json.loads("\n".join(line for line in lines if not LOGGED.match(line)))

    def named(self) -> NamedCheckpoint:
        """The checkpoint of the whole ledger as it is now."""
        tree = self.served.node.ledger.rows.tree()
        return NamedCheckpoint(size=tree.size, root=tree.root(tree.size).hex())

    def with_key(self, agency: str, coordinator: str) -> None:
        self.agencies.keys.setdefault(agency, keys.generate())
        grant = KeyRegistered(acted_at=PAST, grant=self.agencies.grant(agency))
        with self.served.client(coordinator) as client:
            client.append_to_registry(grant)

    def opens(self, agency: str, *parties: str) -> UUID:
        case_id = uuid4()
        with self.served.client(agency) as client:
            client.open_case(opening(parties or ("XK", "ME")), case_id)
        return case_id

    def is_used(self) -> None:
        """A case is opened; Montenegro is asked, and answers."""
        case_id, centre = self.opens(POLICE), "me-csw-podgorica"
        with self.served.client(POLICE) as client:
            request = client.append(asked(centre), case_id, 1).action_id
        with self.served.client(centre) as client:
            provided = InformationProvided(acted_at=START, request=request, complete=True)
            client.append(provided, case_id, 2)

    @property
    def text(self) -> dict[str, Any]:
        """The newest text that every party adopted."""
        return dict(self.told(XK, "protocol", "show", "--text"))

    def proposes(self, changed: dict[str, Any], by: str = XK) -> str:
        file = self.directory / "next.json"
        text = self.text
        file.write_text(json.dumps(text | {"version": text["version"] + 1} | changed))
        proposed = self.told(
            by, "protocol", "propose", str(file), "--reason", "As agreed.", "--yes"
        )
        return str(proposed["action_id"])

    def adopts(self, changed: dict[str, Any]) -> None:
        first, *others = self.coordinators
        proposed = self.proposes(changed, first)
        for other in others:
            self.acts(other, "protocol", "accept", proposed, "--yes")
        assert changed.items() <= self.text.items()

    def due(self, case_id: UUID, action: str) -> Obligation:
        """The open step of a case."""
        with self.served.client(XK) as client:
            at = self.served.node.ledger.head()
            owed = client.obligations(case_id=case_id, at_least=at)
            return next(one for one in owed if one.action == action)

    def holds(self, *, everywhere: bool = False) -> None:
        """Hold the ledger by `verify ledger`; ``everywhere`` by all who check a ledger."""
        self.steps += 1
        while (size := self.served.node.ledger.head()) < EVENTS * self.steps // STEPS:
            self.is_used()
        policy, export = self.directory / "policy", self.directory / f"export-{self.steps}"
        if not policy.exists():
            policy.write_text(self.run("log", "policy"))
        self.run("verify", "ledger", "--policy", str(policy))
        if not everywhere and not EVENTS:
            return
        wait_until_published(self.served.url, size)
        self.run("log", "export", str(export))
        self.run("verify", "export", str(export), "--policy", str(policy))
        audited = run_auditor("export", export, str(policy))
        assert audited.returncode == 0, audited.stderr + audited.stdout
        self.run("rebuild", "--all")
        self.run("verify", "views", "--skip-ledger", "--policy", str(policy))
        self._is_copied(size)

    def _is_copied(self, size: int) -> None:
        """A country's copy that begins now comes to the same agreement."""
        node = self.served.node
        with (
            new_database(self.server, self.migrated) as conninfo,
            Ledger(environment(conninfo)) as ledger,
            Database(conninfo) as database,
            self.served.client("me-node") as client,
        ):
            mirror = Mirror(ledger, database, node.policy_at(0))
            source = HttpSource(self.served.url, client)
            while mirror.size < size:
                assert mirror.step(source)
            assert ledger.adopted().agreement == node.ledger.adopted().agreement
            assert ledger.adopted().amendments == node.ledger.adopted().amendments
            # The joint annual report is the same, to the byte, in this country and at the ledger.
            assert mirror.step_published(source)
            year = str(node.ledger.rows.last_recorded_at().year)
            reports = [self.directory / f"report-{where}.json" for where in ("here", "there")]
            for where, report in zip((self.database, conninfo), reports, strict=True):
                self.run("report", "annual", "--year", year, "--out", str(report), database=where)
            assert reports[0].read_bytes() == reports[1].read_bytes()


@pytest.fixture
def story(server: str, migrated: str, tmp_path: Path) -> Iterator[Story]:
    """A ledger that adopted the protocol before one kind of action had a rule."""
    told = text_of(adopted_protocol())
    rules = {kind: rule for kind, rule in told["actions"].items() if kind != NEW_KIND}
    terms = {"actions": rules, "withdrawal": {"notice_days": 1, "erase_within_days": 30}}
    own = Agencies(Protocol.model_validate(told | terms))
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as ledger:
            own.begin(ledger)
        DatabaseClock(conninfo).install()
        settings = Settings(data_directory=tmp_path / "node", port=0)
        with ExitStack() as stack:
            served = stack.enter_context(running(settings, conninfo, own))
            yield Story(served, conninfo, server, migrated, tmp_path, stack)


def asked(addressee: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START,
        addressee=addressee,
        topics=(InformationTopic.IDENTITY,),
        purpose=next(iter(Purpose)),
    )


def test_a_ledger_whose_agreement_lives(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    early = story.opens(POLICE)
    for step in (a_shelter_opens_and_is_used, a_directorate_is_renamed):
        step(story, early)
        story.holds()
    a_centre_with_two_leads_retires(story)
    story.holds(everywhere=True)
    for step in (a_new_kind_gets_its_rule, a_deadline_changes):
        step(story, early)
        story.holds()
    a_role_moves(story)
    story.holds()
    a_fourth_country_accedes(story)
    story.holds()
    a_country_leaves_while_it_owes_an_answer(story, monkeypatch)
    story.holds()
    a_proposal_is_declined(story)
    story.holds(everywhere=True)
    assert story.steps == STEPS
    assert story.served.node.ledger.head() >= EVENTS


def a_shelter_opens_and_is_used(story: Story, _: UUID) -> None:
    named = ("--role", "shelter", "--name", "Shelter in Bar", "--yes")
    story.acts(ME, "agencies", "register", SHELTER, *named)
    story.with_key(SHELTER, ME)
    case_id = story.opens(SHELTER)
    with story.served.client(XK) as client:
        request = client.append(asked(SHELTER), case_id, 1).action_id
    with story.served.client(SHELTER) as client:
        provided = InformationProvided(acted_at=START, request=request, complete=True)
        client.append(provided, case_id, 2)


def a_directorate_is_renamed(story: Story, early: UUID) -> None:
    """The trail shows the name of its own time before and after."""
    old = adopted_protocol().agencies_by_id[POLICE].name
    story.acts(XK, "agencies", "rename", POLICE, "--name", "The new directorate", "--yes")
    later = story.opens(POLICE)
    agreement = story.served.node.ledger.adopted().agreement
    for case_id, name in ((early, old), (later, "The new directorate")):
        with story.served.client(XK) as client:
            at = story.served.node.ledger.head()
            (entry, *_) = client.trail(case_id, at_least=at)
        assert agreement.at(entry.position, entry.recorded_at).agencies_by_id[POLICE].name == name
        with story.served.client(XK) as client:
            page = client._request("GET", f"/cases/{case_id}/trail").text
        assert name in page


def a_centre_with_two_leads_retires(story: Story) -> None:
    led = {story.opens(CENTRE), story.opens(CENTRE)}
    story.acts(ME, "agencies", "retire", CENTRE, "--yes")
    wait_for(story.served.node.views, story.served.node.ledger.head())
    with story.served.client(ME) as client:
        assert led <= {one.case_id for one in client.cases(lead_agency=ME)}
        offers = {
            case_id: client.append(
                LeadTransferOffered(
                    acted_at=START, to_agency="me-csw-podgorica", reason=next(iter(ReferralReason))
                ),
                case_id,
                1,
            )
            for case_id in led
        }
    with story.served.client("me-csw-podgorica") as client:
        for case_id, offer in offers.items():
            taken = LeadTransferAccepted(acted_at=START, offer=offer.action_id)
            receipt = client.append(taken, case_id, 2)
            view = client.case(case_id, at_least=receipt.position).view
            assert view.lead_agency == "me-csw-podgorica"
    with story.served.client(XK) as client, pytest.raises(RefusedError, match="retired"):
        client.append(asked(CENTRE), next(iter(led)), 3)


def a_new_kind_gets_its_rule(story: Story, early: UUID) -> None:
    urgent = CasePrioritised(acted_at=START, priority=Priority.URGENT)
    with story.served.client(PROSECUTOR) as client:
        with pytest.raises(RefusedError) as refused:
            client.append(urgent, early, 1)
        assert refused.value.problem.status in (403, 409, 422)
        rule = text_of(adopted_protocol())["actions"][NEW_KIND]
        story.adopts({"actions": story.text["actions"] | {NEW_KIND: rule}})
        client.append(urgent, early, 1)


def a_deadline_changes(story: Story, early: UUID) -> None:
    """An open obligation keeps its deadline; a new case has the new one."""
    before = story.due(early, "risk_assessed").due
    story.adopts(
        {
            "expected": [
                one | {"within_days": 5} if one["action"] == "risk_assessed" else one
                for one in story.text["expected"]
            ]
        }
    )
    later = story.opens(POLICE)
    assert story.due(early, "risk_assessed").due == before
    changed = story.due(later, "risk_assessed")
    assert before is not None
    assert changed.due is not None
    assert changed.due - changed.opened.acted_at == timedelta(days=5)


def a_role_moves(story: Story) -> None:
    """Albania's social service becomes its coordinator; the former one decides nothing more."""
    new = "al-social-tirana"
    moved = {AL: "ngo", new: "coordinator"}
    story.adopts(
        {
            "agencies": [
                one | {"role": moved.get(one["id"], one["role"])} for one in story.text["agencies"]
            ]
        }
    )
    story.coordinators[2] = new
    proposed = story.proposes({"title": "By the new coordinator"}, new)
    story.acts(AL, "protocol", "accept", proposed, "--yes", code=2)
    story.acts(XK, "protocol", "accept", proposed, "--yes")
    story.acts(ME, "protocol", "accept", proposed, "--yes")
    assert story.text["title"] == "By the new coordinator"


def a_fourth_country_accedes(story: Story) -> None:
    """All parties and the new one sign the text; on the same day it is party to a case."""
    new = Joining()
    text = new.text(Protocol.model_validate(story.text))
    with story.served.client(XK) as client:
        proposed = client.append_to_registry(proposal(text)).action_id
    for other in story.coordinators[1:]:
        story.acts(other, "protocol", "accept", str(proposed), "--yes")
    assert {one["code"] for one in story.text["parties"]} == {"XK", "ME", "AL"}, (
        "its word is missing"
    )
    with story.served.client(XK) as client:
        client.append_to_registry(new.statement(proposed, text, story.named()))
    assert {one["code"] for one in story.text["parties"]} == {"XK", "ME", "AL", "MK"}
    story.agencies.keys.update(new.held)
    story.with_key("mk-police", MK)
    case_id = story.opens(POLICE, "XK", "MK")
    with story.served.client(XK) as client:
        seen = client.case(case_id, at_least=story.served.node.ledger.head())
        assert seen.view.parties == ("XK", "MK")
    # Its own node has its disclosures, and passes on the signed action alone.
    opened = story.agencies.sign("mk-police", opening(("MK", "ME")), case := uuid4())
    with story.served.client("mk-node") as client:
        client.send(opened.without_disclosures(), case, 0)
    story.coordinators.append(MK)


def a_country_leaves_while_it_owes_an_answer(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its day on Albania answers what it owes, and does and decides nothing else."""
    coordinator, police = story.coordinators[2], "al-police-thb"
    case_id = story.opens(POLICE, "XK", "AL")
    with story.served.client(XK) as client:
        request = client.append(asked(police), case_id, 1).action_id
    day = (datetime.now(UTC) + timedelta(days=2, hours=3)).date()  # it begins earlier than in UTC
    with story.served.client(coordinator) as client:
        client.append_to_registry(leaving("AL", day))
    ahead = timedelta(days=3)
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + ahead)
    monkeypatch.setattr(
        connection,
        "make_assertion",
        lambda agency, key, audience: make_assertion(agency, key, audience, clock.now()),
    )
    DatabaseClock(story.database).set(ahead)
    story.starts_again()
    with story.served.client(police) as client:
        with pytest.raises(RefusedError) as refused:
            client.append(risk(), case_id, 2)
        assert refused.value.problem.rule == "left-party"
        provided = InformationProvided(acted_at=START, request=request, complete=True)
        client.append(provided, case_id, 2)
    proposed = story.proposes({"title": "Without Albania"})
    story.acts(coordinator, "protocol", "accept", proposed, "--yes", code=2)
    story.coordinators = [XK, ME, MK]
    for other in (ME, MK):
        story.acts(other, "protocol", "accept", proposed, "--yes")
    assert story.text["title"] == "Without Albania"


def risk() -> RiskAssessed:
    return RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)


def a_proposal_is_declined(story: Story) -> None:
    before = story.text
    proposed = story.proposes({"title": "Nobody wants this"}, ME)
    story.acts(XK, "protocol", "accept", proposed, "--yes")
    reason = ("--reason", "The old one is known.")
    story.acts(story.coordinators[2], "protocol", "decline", proposed, *reason)
    assert story.text == before
    assert "declined by MK: The old one is known." in story.acts(XK, "protocol", "history")
