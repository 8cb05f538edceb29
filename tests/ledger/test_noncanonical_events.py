"""A ledger with events in other forms than the canonical one heals with this program."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from joserfc.jwk import OKPKey

from api.client.schemas.health import Effect
from api.node.marked_events import marked_troubles
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import leaf_hash
from ledger.log.note import Note
from ledger.log.policy import Policy
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import LATEST_EDITION
from ledger.refusals import Refusal
from ledger.replication.mirror import DivergedError, Mirror
from ledger.signing import keys, sd_jwt, signed_action
from ledger.signing.signed_action import Mark
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from ledger.verification.evidence_reader import stored_rows
from ledger.verification.verification import ExpectedLedger, verify_ledger
from ledger.vocabulary import REGISTRY_ACTIONS, Action
from ledger.vocabulary.coordination import JointActionDone, LeadTransferOffered
from ledger.vocabulary.picklists import JointActionOutcome, ReferralReason, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked, LogPolicyAdopted
from ledger.vocabulary.upcasting import UPCASTERS
from projections.columnar.parquet_export import export
from projections.columnar.snapshot_sources import database_source
from projections.tables.all_views import VIEWS
from projections.time.bitemporal import Moment, acts_of, state_at
from projections.time.event_sources import DatabaseEvents
from projections.time.ledger_at import ledger_at
from tests.ledger.test_order_before_clocks import Given
from tests.projections.test_columnar import cases_in
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.auditor import auditor_names
from tests.support.databases import new_database
from tests.support.event_readers import (
    HAS_NODE,
    ROOT,
    by_auditor,
    by_browser,
    by_columns,
    by_definition,
    by_rebuild,
    by_replay,
    by_verification,
    by_views,
    entries_of,
    rows_from,
)
from tests.support.logs import ORIGIN, signer
from tests.support.views import rows_of

# See tests/ledgers/README.md.
FIXTURE = ROOT / "tests" / "ledgers" / "other_forms"
ENTRIES = (FIXTURE / "events.jsonl").read_bytes().splitlines()
KEYS = {n: OKPKey.import_key(k) for n, k in json.loads((FIXTURE / "keys.json").read_text()).items()}
OTHER = (33, 35, 36, 37)
"""The positions of events in other forms; the last is the registration of a key."""
POLICE = "xk-dhtqnj"
RISK = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)


def copy_into(database: str, rows: list[RecordedRow]) -> None:
    with (
        Ledger(environment(database)) as ledger,
        Database(database) as pool,
        pool.transaction() as connection,
    ):
        ledger.rows.copy(connection, rows)


@pytest.fixture
def healed(database: str) -> str:
    """A database with the ledger that the earlier program recorded."""
    copy_into(database, rows_from(ENTRIES))
    return database


def signed(action: Action, case_id: UUID, protocol: str, key: str) -> signed_action.SignedAction:
    sd = signed_action.sign(
        action, agency=POLICE, key=KEYS[key], protocol=protocol, case_id=case_id,
        signed_at=datetime.now(UTC),
    )  # fmt: skip
    return signed_action.read(signed_action.parse(str(sd)))


def test_it_goes_on_and_is_read_by_all_alike(healed: str) -> None:
    cases = [row.originator_id for row in rows_from(ENTRIES)[31:]]
    with Ledger(environment(healed)) as ledger:
        registry = ledger.adopted()
        assert registry.directory.edition == 1
        # The registration in another form counts: the key that it registered signs.
        new = "xk-dhtqnj, registered last"
        for case_id, version in ((cases[0], 3), (cases[3], 2)):
            case = ledger.case(case_id)
            assert case is not None
            assert case.version == version
            assert "victim_identified" in case.state.facts
        opened = ledger.append(
            signed(opening(), UUID(int=7), registry.protocol_id, new), UUID(int=7), 0
        )
        assert opened.position == len(ENTRIES) + 1
    entries = entries_of(healed)
    told = by_definition(entries)
    assert {told[p].kind for p in OTHER} == {"victim_identified", "case_opened", "key_registered"}
    for reader in (by_views, by_rebuild, by_columns, by_replay):
        assert reader(healed) == told, reader.__name__
    assert by_verification(entries) == by_auditor(entries) == told
    if HAS_NODE:
        assert by_browser(entries) == {p: (told[p], p not in OTHER) for p in told}


def test_its_trails_mark_these_events_and_no_others(healed: str) -> None:
    by_views(healed)
    marks = {}
    for (row,) in rows_of(healed, "audit_trail"):
        entry = row["document"]  # type: ignore[index]
        marks[entry["position"]] = entry.get("mark")
    assert {p for p, mark in marks.items() if mark} == set(OTHER)
    assert {marks[p] for p in OTHER} == {Mark.NOT_CANONICAL}
    assert len(rows_of(healed, "case_views")) == 4
    with Database(healed) as pool:
        assert marked_troubles(pool) == ()


def test_it_verifies_with_marks() -> None:
    report = verify_ledger(rows_from(ENTRIES), ExpectedLedger(), workers=1)
    assert report.findings == ()
    assert tuple(mark.first for mark in report.marks) == OTHER
    assert all("not-canonical" in mark.what for mark in report.marks)
    script = auditor_names()
    registry = script["Registry"]()
    for position, state in enumerate(ENTRIES, 1):
        registry.take(position, script["event_of"](state))
    assert registry.marks == [f"position {p}: not in canonical form (edition 1)" for p in OTHER]


def test_a_copy_takes_it(database: str) -> None:
    key = signer()
    with Ledger(environment(database)) as ledger, Database(database) as pool:
        mirror = Mirror(ledger, pool, Policy.of(key.verifier, {}))
        frontier, _ = ledger.rows.frontier().extend(map(leaf_hash, ENTRIES))
        text = str(Checkpoint(ORIGIN, len(ENTRIES), frontier.root()))
        assert mirror.step(Given(ENTRIES, Note(text, (key.sign(text),))))
        assert (mirror.size, mirror.evidence()) == (len(ENTRIES), [])


def test_an_act_on_the_protocol_names_no_case(agencies: Agencies) -> None:
    """Readers of bytes alone would take it for an event of that case."""
    registered = KeyRegistered(acted_at=START, grant=agencies.grant(POLICE, keys.generate()))
    claims = agencies.sign("xk-nac", registered, uuid4())
    with pytest.raises(Refusal, match="on no case") as refused:
        signed_action.read(claims)
    assert (refused.value.rule, refused.value.field) == ("not-canonical", "payload.case")


def test_an_act_on_the_protocol_that_named_a_case_is_read_by_all_alike(healed: str) -> None:
    """An earlier program recorded it on the protocol; nobody takes it for an event of a case."""
    act = KeyRevoked(acted_at=START, key_id=keys.key_id(KEYS["xk-dhtqnj, registered last"]))
    with Ledger(environment(healed)) as ledger:
        registry = ledger.adopted()
        sd = signed_action.sign(
            act, agency=POLICE, key=KEYS["xk-dhtqnj, registered last"],
            protocol=registry.protocol_id, case_id=uuid4(),
        )  # fmt: skip
        text = sd.without_disclosures()
        event = UnsealedEvent(
            registry.ledger_id, registry.version + 1, act.kind, text.encode(),
            UUID(sd.payload["jti"]),
        )  # fmt: skip
        (position,) = ledger.rows.insert_events([event]) or ()
    entries = entries_of(healed)
    told = by_definition(entries)
    assert told[position].case is None
    for reader in (by_views, by_rebuild, by_columns, by_replay):
        assert reader(healed) == told, reader.__name__
    assert by_verification(entries) == by_auditor(entries) == told
    script = auditor_names()
    assert script["event_of"](entries[-1]).case is None
    assert script["ON_PROTOCOL"] == set(REGISTRY_ACTIONS)
    versions = {kind: UPCASTERS.version(kind) for kind in REGISTRY_ACTIONS}
    assert script["VERSIONS"] == {kind: of for kind, of in versions.items() if of > 1}
    assert script["EDITION"] == LATEST_EDITION
    if HAS_NODE:
        assert by_browser(entries)[position] == (told[position], False)
    report = verify_ledger(rows_from(entries), ExpectedLedger(), workers=1)
    assert report.findings == ()
    assert position in [mark.first for mark in report.marks]


@dataclass
class Hostile:
    """Records, past append, what no honest node records."""

    ledger: Ledger
    agencies: Agencies
    versions: Counter[UUID] = field(default_factory=Counter)
    marks: dict[int, Mark | None] = field(default_factory=dict)

    def record(self, originator: UUID, text: str, mark: Mark | None) -> None:
        if originator == self.agencies.protocol.ledger_id and not self.versions[originator]:
            self.versions[originator] = self.ledger.adopted().version
        self.versions[originator] += 1
        version = self.versions[originator]
        event = UnsealedEvent(originator, version, "some", text.encode(), uuid4())
        (position,) = self.ledger.rows.insert_events([event]) or ()
        self.marks[position] = mark

    def act(self, case: UUID | None, action: Action, mark: Mark | None, **claims: object) -> None:
        sd = self.agencies.sign(POLICE, action, case)
        header = {"typ": signed_action.TYPE, "kid": sd.header["kid"]}
        text = sd_jwt.issue(header, {**sd.payload, **claims}, (), self.agencies.keys[POLICE])
        originator = case or self.agencies.protocol.ledger_id
        self.record(originator, text.without_disclosures(), mark)


def test_around_events_that_no_honest_node_records_everything_goes_on(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    node, case, dead = Hostile(ledger, agencies), uuid4(), uuid4()
    done = JointActionDone(
        acted_at=START, agreed_action=uuid4(), outcome=JointActionOutcome.ACHIEVED
    )
    offered = LeadTransferOffered(
        acted_at=START, to_agency="xk-nobody", reason=ReferralReason.OTHER
    )
    node.act(case, opening(), None)
    node.act(case, RISK, Mark.NOT_CANONICAL, iat="1")
    node.act(case, RISK, Mark.NOT_UNDERSTOOD, act={})
    node.act(case, RISK, Mark.NOT_UNDERSTOOD, iat=None)
    node.record(case, "no.event~", Mark.NOT_UNDERSTOOD)
    node.act(case, done, None)
    node.act(case, offered, Mark.NO_EFFECT)
    node.act(dead, RISK, Mark.NO_EFFECT)
    node.act(dead, RISK, Mark.NOT_UNDERSTOOD, jti=None)
    node.act(None, KeyRevoked(acted_at=START, key_id="A" * 43), Mark.NO_EFFECT)
    node.act(None, KeyRevoked(acted_at=START, key_id="A" * 43), Mark.NOT_UNDERSTOOD, act={})
    registry = agencies.protocol.ledger_id
    node.record(registry, agencies.adoption().without_disclosures(), Mark.NO_EFFECT)
    policy = LogPolicyAdopted(acted_at=START, policy="# \x00\nquorum none\n")
    node.act(None, policy, Mark.NOT_CANONICAL)
    node.act(case, RISK, None)

    with Ledger(environment(database)) as restarted:
        assert restarted.adopted().version == node.versions[registry]
        known = restarted.case(case)
        assert known is not None
        assert known.version == known.state.version == node.versions[case]
        assert restarted.case(dead) is None
        signed_next = signed_action.read(agencies.sign(POLICE, RISK, case))
        receipt = restarted.append(signed_next, case, known.version)
        key = agencies.sign("xk-nac", KeyRegistered(
            acted_at=START, grant=agencies.grant(POLICE, keys.generate())), None)  # fmt: skip
        restarted.append_to_registry(signed_action.read(key))
    node.marks |= {receipt.position: None, receipt.position + 1: None}

    entries = entries_of(database)
    followed = by_views(database)
    views = {name: rows_of(database, name) for name in VIEWS}
    marks = {}
    for (row,) in views["audit_trail"]:
        entry = row["document"]  # type: ignore[index]
        marks[entry["position"]] = entry.get("mark")
    assert {p: marks[p] for p in node.marks} == node.marks
    with Database(database) as pool:
        (trouble,) = marked_troubles(pool)
    assert trouble.effect is Effect.WARNING
    assert by_rebuild(database) == followed
    assert {name: rows_of(database, name) for name in VIEWS} == views
    kinds = {p: fact.kind for p, fact in followed.items()}
    for other in (by_columns(database), by_replay(database), by_definition(entries)):
        assert {p: fact.kind for p, fact in other.items()} == kinds
    assert {p: f.kind for p, f in by_verification(entries).items()} == kinds

    acts = acts_of(DatabaseEvents(database).case(case))
    state = state_at(acts, Agreement.of(agencies.protocol), Moment())
    assert state == ledger.case(case).state  # type: ignore[union-attr]
    told = ledger_at(DatabaseEvents(database).events(), Moment())
    assert (told.position, told.cases) == (len(entries), 1)
    assert told.kinds["not_understood"] == 5
    with database_source(database) as source:
        manifest = export(source, tmp_path)
        (row,) = cases_in(tmp_path, manifest).values()
    assert (row["case_id"], row["case_version"]) == (str(case), state.version)  # type: ignore[union-attr]

    # An honest node of edition 2 records none of these, so that each is found.
    with psycopg.connect(database) as connection:
        report = verify_ledger(stored_rows(connection), ExpectedLedger(), workers=1)
    found = {finding.first for finding in report.findings}
    assert {p for p, mark in node.marks.items() if mark} <= found
    assert (report.marks, receipt.position in found) == ((), False)


def test_a_copy_stops_at_another_form_where_edition_2_forbids_it(
    ledger: Ledger, agencies: Agencies, server: str, migrated: str, database: str
) -> None:
    Hostile(ledger, agencies).act(uuid4(), opening(), Mark.NOT_CANONICAL, iat="1")
    entries, key = entries_of(database), signer()
    with (
        new_database(server, migrated) as copy,
        Ledger(environment(copy)) as copied,
        Database(copy) as pool,
    ):
        mirror = Mirror(copied, pool, Policy.of(key.verifier, {}))
        frontier, _ = copied.rows.frontier().extend(map(leaf_hash, entries))
        text = str(Checkpoint(ORIGIN, len(entries), frontier.root()))
        with pytest.raises(DivergedError, match="not in canonical form"):
            mirror.step(Given(entries, Note(text, (key.sign(text),))))
        assert mirror.size == 0


def test_a_text_with_a_character_that_a_database_cannot_hold_is_refused(
    agencies: Agencies,
) -> None:
    policy = LogPolicyAdopted(acted_at=START, policy="# \x00\nquorum none\n")
    with pytest.raises(Refusal, match="NUL character") as refusal:
        signed_action.read(agencies.sign("xk-nac", policy, None))
    assert refusal.value.rule == "not-canonical"
