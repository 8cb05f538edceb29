"""Retention as people meet it: announced, held, erased; and no clock that jumps erases anything."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.client import RefusedError
from api.client.schemas import RetentionStatus
from api.notifying.letters import email_of
from api.notifying.notifier import Notifier
from api.notifying.subscriptions import Subscription
from api.paper.subject_access.wording import wording
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.erasures import ErasureReason
from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.coordination import CaseClosed
from ledger.vocabulary.erasure import ErasureProposed, LegalHoldPlaced
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, ErasureGround, HoldGround, Purpose
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, running
from tests.support.sharing import register_country_keys
from tests.support.waiting import until
from tests.support.web import FROM_HERE, signed_in

NAME, NOTE = "zqRetainedName", "zqRetainedNote"
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")


@dataclass
class Clock:
    """The program's clock, set ahead or back."""

    ahead: timedelta = timedelta()
    true: Callable[[], datetime] = field(default=clock.now)

    def now(self) -> datetime:
        return self.true() + self.ahead


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("ledger.system.clock.now", made.now)
    # A node whose clock differs from the database's records nothing. Here that is not enough.
    for look in ("check", "at_once"):
        monkeypatch.setattr(f"api.background_jobs.clock_watch.ClockWatch.{look}", lambda _: ())
    for name in ("_REFRESH_LOOK_SECONDS", "_COMPLETE_SECONDS"):
        monkeypatch.setattr(f"api.background_jobs.checkpoint_publisher.{name}", 0.1)
    monkeypatch.setattr("api.background_jobs.eraser._RETENTION_EVERY_SECONDS", 0.1)
    monkeypatch.setattr("api.background_jobs.eraser._EVERY_SECONDS", 1.0)
    return made


@pytest.fixture
def short() -> Agencies:
    """A protocol by which data of persons who are no victims is kept for two days."""
    content = Agencies().protocol.model_dump(mode="json", exclude_none=True)
    for rule in content["retention"]:
        if rule["reasons"]:
            rule |= {"days": 2, "grace_days": 2}
    return Agencies(Protocol.model_validate(content))


@dataclass
class There:
    """A node of every country, and its database."""

    server: Server
    database: str

    def command(self, *words: str, code: int = 0) -> str:
        env = {
            "CASE_LEDGER_URL": self.server.url,
            "CASE_LEDGER_DATA_DIRECTORY": str(self.server.settings.data_directory),
            "CASE_LEDGER_DATABASE_URL": self.database,
        }
        done = CliRunner(env=env).invoke(app, list(words))
        assert done.exit_code == code, done.output
        # The node runs in this process too, and logs to the same place.
        return "\n".join(line for line in done.stdout.splitlines() if not _LOGGED.match(line))

    def page(self, agency: str, path: str, form: dict[str, str] | None = None) -> str:
        """Return a page as a person of the agency sees it in a browser, in English."""
        with signed_in(self.server, agency) as browser:
            browser.headers["Accept-Language"] = "en"
            shown = (
                browser.get(path)
                if form is None
                else browser.post(path, data=form, headers=FROM_HERE)
            )
        assert shown.status_code == 200, shown.text
        return shown.text

    def closed(self, reason: ClosureReason) -> UUID:
        case_id = uuid4()
        with self.server.client("xk-dhtqnj") as police:
            told = opening(("XK", "ME"), first_name=NAME, indicators_note=NOTE)
            police.append(told, case_id, 0)
        with self.server.client("xk-nac") as coordinator:
            coordinator.append(CaseClosed(acted_at=START, reason=reason), case_id, 1)
        return case_id

    def hold(self, case_id: UUID) -> None:
        with self.server.client("me-court-podgorica") as court:
            held = LegalHoldPlaced(acted_at=START, ground=HoldGround.PROCEEDINGS)
            court.append(held, case_id, 2)

    def asked(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def kinds(self, case_id: UUID) -> list[str]:
        rows = self.asked(
            "SELECT topic FROM ledger.events WHERE originator_id = %s ORDER BY originator_version",
            case_id,
        )
        return [str(row[0]) for row in rows]

    def erased(self) -> set[tuple[str, UUID]]:
        return {
            (party, case_id)  # type: ignore[misc]
            for party in ("XK", "ME", "AL")
            for (case_id,) in self.asked(f"SELECT case_id FROM vault_{party.lower()}.erased")
        }

    def dated(self) -> int:
        return int(str(self.asked("SELECT count(*) FROM log.dated_checkpoints")[0][0]))

    def stands(self) -> dict[UUID, RetentionStatus]:
        with self.server.client("xk-nac") as coordinator:
            return {one.case_id: one.status for one in coordinator.retention()}


@pytest.fixture
def there(server: str, short: Agencies, jumping: Clock, directory: Path) -> Iterator[There]:
    del jumping  # set before the node starts
    with ExitStack() as stack:
        database = stack.enter_context(new_database(server))
        migrate_all(database, short.protocol)
        with Ledger(environment(database)) as ledger:
            short.begin(ledger)
        settings = Settings(data_directory=directory / "node", port=0)
        settings.key_directory.mkdir(parents=True)
        for agency in short.keys:
            keys.save(short.keys[agency], settings.key_directory / f"{agency}.jwk")
        serving = stack.enter_context(running(settings, database, short))
        register_country_keys(serving)
        yield There(serving, database)


def pass_days(there: There, jumping: Clock, days: int) -> None:
    """Let days pass: on each, witnesses cosign what is there."""
    for _ in range(days):
        before = there.dated()
        jumping.ahead += timedelta(days=1)
        until(lambda before=before: there.dated() > before)  # type: ignore[misc]


def test_a_clock_a_year_ahead_erases_nothing_and_true_days_do(there: There, jumping: Clock) -> None:
    over, held = (there.closed(ClosureReason.NOT_A_VICTIM) for _ in range(2))
    kept = there.closed(ClosureReason.REINTEGRATED)
    there.hold(held)
    with there.server.client("me-nac") as montenegro:
        until(lambda: all(montenegro.case(c).disclosed for c in (over, held, kept)))

    # The clock of the whole node jumps by a year, and back; then it stays ahead for a while.
    for ahead in (365, 0, 365, -365, 0):
        before = there.dated()
        jumping.ahead = timedelta(days=ahead)
        until(lambda before=before: there.dated() > before)  # type: ignore[misc]
    until(lambda: "retention_announced" in there.kinds(over))
    assert there.erased() == set()
    assert there.kinds(held)[-1] == "legal_hold_placed"
    assert there.kinds(kept)[-1] == "case_closed"
    assert there.stands()[held] is RetentionStatus.HELD


def test_what_was_announced_is_erased_after_its_days_and_says_so(
    there: There, jumping: Clock
) -> None:
    over, held = (there.closed(ClosureReason.NOT_A_VICTIM) for _ in range(2))
    kept = there.closed(ClosureReason.REINTEGRATED)
    there.hold(held)
    until(lambda: there.stands().get(held) is RetentionStatus.HELD)
    with there.server.client("xk-nac") as client:
        (of_held,) = client.retention(case_id=held)
    assert (of_held.obstacles[0].kind, of_held.obstacles[0].party) == ("legal_hold", "ME")
    assert of_held.obstacles[0].blocks
    assert kept not in there.stands()
    with there.server.client("xk-dhtqnj") as police:
        with pytest.raises(RefusedError) as refused:
            list(police.retention())
        assert refused.value.problem.rule == "coordinators-and-oversight"
        before = police.read(over, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        assert (before.erased, [one.value for one in before.fields]) == (None, [NAME])

    pass_days(there, jumping, 1)
    until(lambda: "retention_announced" in there.kinds(over))
    until(lambda: there.stands().get(over) is RetentionStatus.ANNOUNCED)
    table = there.command("retention", "list", "-a", "xk-nac")
    assert "announced" in table
    assert "held" in table
    (listed,) = [
        one
        for one in json.loads(there.command("retention", "list", "-a", "xk-nac", "--json"))
        if one["case_id"] == str(over)
    ]
    assert listed["status"] == "announced"
    assert listed["announced_by"] in ("xk-node", "me-node")
    assert listed["erase_from"] >= listed["period_ends"]
    assert "Erasure announced" in there.page("xk-nac", "/retention")
    assert "will be erased from" in there.page("xk-csw-prishtina", f"/cases/{over}")
    assert there.erased() == set()

    pass_days(there, jumping, 5)
    until(lambda: there.kinds(over).count("erasure_confirmed") == 2)
    assert {case_id for _, case_id in there.erased()} == {over}
    assert there.kinds(held)[-1] == "legal_hold_placed"

    with there.server.client("xk-dhtqnj") as police:
        after = police.read(over, [FieldGroup.IDENTITY], Purpose.PROTECTION)
    assert after.fields == ()
    assert after.erased is not None
    assert (after.erased.reason, after.erased.kept_days) == (ErasureReason.RETENTION, 2)
    assert after.erased.announcement is not None
    said = there.command(
        "read", str(over), "-a", "xk-dhtqnj", "-g", "identity", "--purpose", "protection"
    )
    assert "was erased on" in said
    assert "the period of retention of 2 days was over" in " ".join(said.split())
    gone = json.loads(there.command("retention", "list", "-a", "xk-nac", "--erased", "--json"))
    assert [one["case_id"] for one in gone] == [str(over)]
    assert gone[0]["pending"] == []
    assert str(over)[:8] in there.command("retention", "list", "-a", "xk-nac", "--erased")
    assert over not in there.stands()
    listed_page = " ".join(there.page("me-nac", "/retention").split())
    assert "The period of retention of 2 days was over, announced on" in listed_page
    assert "is erased: the period of retention of 2 days" in there.page("xk-nac", f"/cases/{over}")
    asked = {"groups": "identity", "purpose": "protection"}
    opened = there.page("xk-dhtqnj", f"/cases/{over}/personal", asked)
    assert "What this country held on the person was erased on" in opened
    with there.server.client("xk-csw-prishtina") as office:
        file = json.loads(office.subject_access(over, "en", pdf=False))["file"]
    assert file["held"] == []
    assert file["erased"]["reason"] == "retention"


def check_notices(there: There, case_id: UUID) -> None:
    """Coordinators of the case's countries are told once, and nobody else is."""
    sent: list[tuple[str, UUID, Mapping[str, Any]]] = []

    class Letters:
        def send(
            self, to: Subscription, notice: UUID, message: Mapping[str, Any], _: Any = None
        ) -> None:
            sent.append((to.agency, notice, message))

    agencies = ("xk-nac", "me-nac", "al-nac", "xk-dhtqnj")
    to = [Subscription(agency=one, email=f"{one}@office.example") for one in agencies]
    with Database(there.database) as pool:
        protocol = there.server.agencies.protocol
        notifier = Notifier(pool, protocol, to, {"email": Letters()}, timedelta(days=1))
        for _ in range(2):
            notifier.look()
            notifier.send()
    told = [one for one in sent if one[2]["type"] == "retention.announced"]
    assert sorted(agency for agency, _, _ in told) == ["me-nac", "xk-nac"]
    letter = email_of(
        "node@office.example", "x@office.example", told[0][1], told[0][2], wording("en")
    )
    assert "Erasure announced" in letter["Subject"]
    assert str(case_id) in letter.get_content()


def test_a_coordinator_announces_and_extends_by_command(there: There) -> None:
    case_id = there.closed(ClosureReason.REINTEGRATED)
    until(lambda: there.server.client("xk-nac").case(case_id).view.closed_at)
    form = there.page("me-nac", f"/cases/{case_id}/act/retention_announced")
    assert '<option value="3650"' in form
    told = there.command("retention", "announce", "-a", "me-nac", str(case_id))
    assert "Announced" in told
    with there.server.client("xk-nac") as client:
        version = until(lambda: client.case(case_id).view.retention and client.case(case_id)).view
        proposed = ErasureProposed(acted_at=datetime.now(UTC), ground=ErasureGround.UNLAWFULLY_HELD)
        client.append(proposed, case_id, version.version)
        (waits,) = until(
            lambda: [
                tuple(one for one in case.obstacles if one.kind == "approval")
                for case in client.retention(case_id=case_id)
                if any(one.kind == "approval" for one in case.obstacles)
            ]
        )
    assert {(one.party, one.action, one.blocks) for one in waits} >= {
        ("ME", "erasure_approved", False)
    }
    listed = there.command("retention", "list", "-a", "xk-nac", "--within", "4000")
    assert "erasure approved (ME" in " ".join(listed.split())
    # The data-protection authority reads the same, and may announce nothing.
    by_authority = there.command(
        "retention", "list", "-a", "xk-data-protection", "--within", "4000"
    )
    assert by_authority == listed
    assert "act/retention_announced" not in there.page("xk-data-protection", "/retention")
    shown = json.loads(there.command("retention", "list", "-a", "xk-nac", "--schema"))
    assert "obstacles" in shown["$defs"]["RetainedCase"]["properties"]
    until(lambda: there.server.client("xk-nac").case(case_id).view.retention)
    check_notices(there, case_id)
    later = (datetime.now(UTC) + timedelta(days=5000)).strftime("%Y-%m-%d")
    until(lambda: there.server.client("xk-nac").case(case_id).view.retention)
    there.command("retention", "announce", "-a", "xk-nac", str(case_id), "--erase-from", later)
    until(
        lambda: [
            one.erase_from
            for one in there.server.client("xk-nac").retention(case_id=case_id)
            if one.announced_by == "xk-nac"
        ]
    )
