"""A breach whose truth is known: a second key of the police is stolen, and reads and records."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.client import LedgerClient, RefusedError
from api.client.schemas import AuditRequest
from api.client.schemas.breach import BreachReport, BreachRequest
from api.paper.privacy.page_parts import BLANK
from ledger.procedure.protocol import Operation
from ledger.signing import keys
from ledger.vault.access_log import NO_CASE
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.story import tell

NAME = "zqStolenName"


@dataclass
class Breach:
    node: Server
    conninfo: str
    stolen: Any = field(default_factory=keys.generate)
    seqs: list[int] = field(default_factory=list)
    cases: set[UUID] = field(default_factory=set)
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(seconds=1))

    @property
    def key_id(self) -> str:
        return keys.key_id(self.stolen)

    def thief(self) -> LedgerClient:
        node = self.node
        return LedgerClient(
            node.url, agency="xk-dhtqnj", key=self.stolen, protocol=node.agencies.protocol.id
        )

    def report(self, auditor: str = "xk-nac", **asked: Any) -> BreachReport:
        asked = {"since": self.since, **asked}
        with self.node.client(auditor) as client:
            return client.breach(BreachRequest(**asked))


@pytest.fixture(scope="module")
def breach(server: str, begun: str, agencies: Agencies) -> Iterator[Breach]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as node:
        told = tell(node)
        made = Breach(node, conninfo)
        with node.client("xk-nac") as coordinator:
            grant = agencies.grant("xk-dhtqnj", made.stolen)
            coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
        first, *others = told.cases.values()
        with node.client("xk-dhtqnj") as police, made.thief() as thief:
            for client in (police, thief, thief, police):
                done = client.read(first, [FieldGroup.IDENTITY], Purpose.IDENTIFICATION)
                if client is thief:
                    made.seqs.append(done.reading.seq)
            with pytest.raises(RefusedError):
                thief.read(first, [FieldGroup.HEALTH], Purpose.PROTECTION)
            opened = thief.open_case(opening(first_name=NAME))
            police.read(others[0], [FieldGroup.IDENTITY], Purpose.IDENTIFICATION)
            thief.case(opened.case_id, at_least=opened.position)
        made.cases = {first, opened.case_id}
        yield made


def test_the_report_has_every_entry_and_action_of_the_key_and_no_other(breach: Breach) -> None:
    aware = datetime.now(UTC)
    report = breach.report(key_id=breach.key_id, aware_at=aware)
    assert [one.seq for one in report.readings if one.granted] == breach.seqs
    assert {one.asked.key_id for one in report.readings} == {breach.key_id}
    assert (report.granted, report.refused, report.searches) == (2, 1, 0)
    (act,) = report.acts
    assert (act.kind, act.key_id) == ("case_opened", breach.key_id)
    assert {one.case_id for one in report.cases} == breach.cases
    assert report.persons == 2
    by_case = {one.case_id: one for one in report.cases}
    assert by_case[act.case_id].acts == 1
    (read,) = (one for one in report.cases if one.readings)
    assert (read.readings, read.opened) == (2, (FieldGroup.IDENTITY,))
    told = {one.country: one.cases for one in report.countries}
    assert told == {
        party: sum(party in one.parties for one in report.cases)
        for party in {party for one in report.cases for party in one.parties}
    }
    (reach,) = report.reach
    assert reach.cases >= 3
    assert FieldGroup.IDENTITY in reach.groups
    assert FieldGroup.HEALTH not in reach.groups
    assert report.notify_by == aware + timedelta(hours=72)
    assert (report.is_cut, report.changed, report.log_begins_at) == (False, (), None)
    assert NAME not in report.model_dump_json()


def test_a_look_is_an_entry_and_the_span_is_kept(breach: Breach) -> None:
    first = breach.report(key_id=breach.key_id)
    assert first.look.asked.operation is Operation.AUDIT
    assert first.look.asked.case_id == NO_CASE
    # It is on record that the report was made, on which key, and of which time.
    sought = first.look.sought
    assert sought is not None
    assert (sought.key_id, sought.since, sought.until) == (
        breach.key_id,
        breach.since,
        first.until,
    )
    with breach.node.client("xk-ombudsperson") as overseeing:
        listed = overseeing.audit(AuditRequest(operation=Operation.AUDIT)).readings
    assert first.look in listed
    again = breach.report(agency="xk-nac")
    assert first.look.seq in {one.seq for one in again.readings}
    earlier = breach.report(
        key_id=breach.key_id, since=breach.since - timedelta(days=2), until=breach.since
    )
    assert (earlier.readings, earlier.acts, earlier.cases, earlier.persons) == ((), (), (), 0)


def test_an_agency_has_the_entries_of_all_its_keys(breach: Breach) -> None:
    of_key = {one.seq for one in breach.report(key_id=breach.key_id).readings}
    of_agency = breach.report(auditor="xk-ombudsperson", agency="xk-dhtqnj")
    assert {one.asked.agency for one in of_agency.readings} == {"xk-dhtqnj"}
    assert of_key < {one.seq for one in of_agency.readings}
    assert len(of_agency.keys) == 2
    nobody = breach.report(person="a" * 43)
    assert (nobody.readings, nobody.acts, nobody.keys) == ((), (), ())


@pytest.mark.parametrize(
    ("auditor", "asked", "rule"),
    [
        ("xk-dhtqnj", {"agency": "xk-dhtqnj"}, "coordinators-and-oversight"),
        ("me-nac", {"agency": "xk-dhtqnj"}, "unknown-suspect"),
        ("xk-nac", {"key_id": "k" * 43}, "unknown-suspect"),
        ("xk-nac", {"member": UUID(int=5)}, "unknown-suspect"),
    ],
)
def test_others_and_other_countries_get_no_report(
    breach: Breach, auditor: str, asked: dict[str, Any], rule: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        breach.report(auditor, **asked)
    assert refused.value.problem.rule == rule


def test_a_suspect_is_named_once_and_a_span_has_an_end_after_its_beginning() -> None:
    now = datetime.now(UTC)
    for wrong in ({}, {"agency": "xk-nac", "person": "p"}, {"agency": "xk-nac", "until": now}):
        with pytest.raises(ValueError, match=r"name one of|later than since"):
            BreachRequest(since=now, **wrong)  # type: ignore[arg-type]


def test_a_changed_entry_is_told_and_a_revoked_key_too(breach: Breach, tmp_path: Path) -> None:
    with psycopg.connect(breach.conninfo) as owner:
        owner.execute(
            "UPDATE vault_xk.readings SET entry = replace(entry, 'key_id', 'key_ix')"
            " WHERE seq = %s",
            (breach.seqs[0],),
        )
    with breach.node.client("xk-nac") as coordinator:
        coordinator.append_to_registry(KeyRevoked(acted_at=datetime.now(UTC), key_id=breach.key_id))
    report = breach.report(key_id=breach.key_id)
    assert breach.seqs[0] in report.changed
    assert breach.seqs[0] not in {one.seq for one in report.readings}
    assert report.keys[0].revoked_at is not None

    own, draft = tmp_path / "own.jwk", tmp_path / "draft.md"
    keys.save(breach.node.agencies.keys["xk-nac"], own)
    asked = ["breach", "-a", "xk-nac", "-k", str(own), "--url", breach.node.url]
    span = ["--key", breach.key_id, "--since", f"{breach.since:%Y-%m-%d}"]
    told = CliRunner().invoke(
        app, [*asked, *span, "--aware", "2026-11-30T10:00:00Z", "--draft", str(draft)]
    )
    assert told.exit_code == 0, told.output
    assert "Persons affected: 2" in told.output
    assert "Notify the authority by 03 Dec 2026 10:00 UTC" in told.output
    assert "which may be the suspect's" in told.output
    text = draft.read_text(encoding="utf-8")
    assert BLANK in text
    assert "03 Dec 2026 10:00 UTC" in text
    assert not [one for one in breach.cases if str(one) in text]
    unnamed = CliRunner().invoke(app, [*asked, "--since", "2026-01-01"])
    assert unnamed.exit_code == 1
    assert "name one suspect" in unnamed.output
    assert "notify_by" in CliRunner().invoke(app, [*asked, "--schema"]).output
