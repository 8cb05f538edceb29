"""Recorded events are read for ever: by today's code, and through upcasters after a change.

``recorded_events/`` holds a real signed event of every kind, as it was recorded when its kind's
schema was what the file's name says, with what was read of it then. They are never made anew: an
event whose reading changes is a schema that changed, and needs a version and an upcaster
(`ledger/vocabulary/upcasting.py`). For a new kind, or a new version of one, run this file as a
program; it adds what is missing and leaves the rest.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from ledger.events import event_bytes
from ledger.events.event import recorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.case import Case
from ledger.procedure.registry import SignatureState
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.keys import key_id
from ledger.signing.sd_jwt import issue
from ledger.signing.signed_action import Mark, read_recorded
from ledger.store.event_rows import RecordedRow
from ledger.verification.revalidation import RowReader, inspect
from ledger.vocabulary import (
    ALL_ACTIONS,
    CASE_ACTIONS,
    NOT_UNDERSTOOD,
    REGISTRY_ACTIONS,
    Action,
    upcasting,
)
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import (
    AbsenceAnnounced,
    AccessionAccepted,
    AgencyChangeConfirmed,
    AgencyChangeDeclined,
    AgencyInvited,
    AgencyRegistered,
    AgencyRenamed,
    AgencyRetired,
    AmendmentAccepted,
    AmendmentDeclined,
    AmendmentProposed,
    ContactCardEnded,
    ContactCardGiven,
    ContactPointEnded,
    ContactPointNamed,
    CoordinatorKeyRecovered,
    CountryKeyRegistered,
    KeyChangeConfirmed,
    KeyChangeDeclined,
    KeyCompromised,
    KeyRegistered,
    KeyRevoked,
    LogPolicyAdopted,
    NamedCheckpoint,
    Office,
    PartyWithdrawalDeclared,
    PartyWithdrawalRevoked,
    PresenceDeclared,
    ReadingsAnchored,
    WitnessesAligned,
)
from ledger.vocabulary.upcasting import Upcaster, Upcasters, upcasters
from projections.analysis import events, run_view
from projections.columnar.decoding import Decoder
from projections.columnar.parquet_export import export
from projections.folds.audit_trail import trail_document
from projections.folds.case_folder import CaseStep, Folder
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.recorded import MemoryLedger
from tests.support.strategies import actions

KEPT = Path(__file__).parent / "recorded_events"
FILES = sorted(KEPT.glob("*.json"))
OFFICE = Office(address="Street 1", email="office@example.invalid", telephone="+382 20 000 000")
CASE_ID = UUID("6f1d3f0e-3b0a-4d6e-9a53-2f8f0a6f8c11")


def test_there_is_one_of_every_kind_in_every_version() -> None:
    expected = {
        f"{kind}.{version}.json"
        for kind in ALL_ACTIONS
        for version in range(1, upcasters().version(kind) + 1)
    }
    assert {file.name for file in FILES} == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_read_by_todays_code(file: Path, agencies: Agencies) -> None:
    kept = json.loads(file.read_text())
    state = kept["entry"].encode()
    row = RowReader().row(1, state)
    assert row.kind == file.stem.split(".")[0] == kept["kind"]
    event = recorded(state, row.originator_id, 1, 1)
    assert event.action == read_recorded(event_bytes.unseal(state)[0])
    in_clear = signed_action.signed_in_clear(event.action)
    assert (event.action.fields, in_clear) == (kept["fields"], kept.get("in_clear", {}))
    assert [event.action.version, len(event.action.digests)] == [kept["version"], kept["digests"]]
    assert inspect(row).problem is None
    key = OKPKey.import_key(kept["public_key"])
    signed_action.verify(event.action, key)
    (told,) = Decoder(Agreement.of(agencies.protocol)).tables([row])[kept["kind"]].to_pylist()
    assert (told["action_id"], told["schema_version"]) == (str(event.action.id), kept["version"])


# An evolution, as there is none yet: risk assessments once called their level otherwise, and knew
# of two alone; they had no review. The product's own registry stays as it is.
OLD = "risk_assessed"


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in fields.items() if name != "danger"}
    return rest | {"risk_level": {"none": "low", "some": "high"}[fields["danger"]]}


def _reviewed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "review_by": "2026-06-01"}


EVOLVED = Upcasters(Upcaster(OLD, 2, _reviewed, digests=2), Upcaster(OLD, 1, _renamed, digests=1))


@pytest.fixture
def evolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcasting, "UPCASTERS", EVOLVED)


def old_event(agencies: Agencies, case_id: UUID, act: dict[str, Any], version: int | None) -> str:
    """An assessment as a program of that time signed it."""
    key = agencies.keys["xk-dhtqnj"]
    claims = {
        "iss": "xk-dhtqnj", "iat": int(START.timestamp()),
        "jti": str(UUID(int=77 + (version or 1))),
        "protocol": agencies.protocol.id, "case": str(case_id), "kind": OLD,
        "act": {"acted_at": "2026-01-06T08:00:00Z", **act}, "_sd_alg": "sha-256",
    }  # fmt: skip
    if version is not None:
        claims["version"] = version
    header = {"typ": signed_action.TYPE, "kid": key_id(key)}
    return issue(header, claims, (), key).without_disclosures()


FIRST: dict[str, Any] = {"danger": "some", "_sd": ["A" * 43]}
SECOND: dict[str, Any] = {"risk_level": "medium", "_sd": ["A" * 43, "B" * 43]}
AS_TODAY = [("high", "2026-06-01"), ("medium", "2026-06-01"), ("low", None)]


@pytest.fixture
def old_ledger(agencies: Agencies, evolved: None) -> MemoryLedger:
    """A case with an assessment of each version."""
    del evolved
    ledger = MemoryLedger(agencies)
    ledger.begin()
    ledger.take("xk-dhtqnj", opening(), CASE_ID)
    ledger.put(old_event(agencies, CASE_ID, FIRST, None), CASE_ID)
    ledger.put(old_event(agencies, CASE_ID, SECOND, 2), CASE_ID)
    today = ALL_ACTIONS[OLD](acted_at=START + timedelta(days=2), risk_level="low")
    ledger.take("xk-dhtqnj", today, CASE_ID)
    return ledger


def test_every_reader_sees_todays_fields(
    old_ledger: MemoryLedger, agencies: Agencies, tmp_path: Path
) -> None:
    rows = old_ledger.recorded[-3:]
    read = [recorded(r.state, r.originator_id, r.version, r.position) for r in rows]
    levels = [(e.action.fields["risk_level"], e.action.fields.get("review_by")) for e in read]
    assert levels == AS_TODAY
    assert [e.action.version for e in read] == [1, 2, 3]
    # Verification and the rules: the old signature holds, and old fields are judged as today's.
    for row, event in zip(rows, read, strict=True):
        inspected = inspect(row)
        assert inspected.problem is None
        assert inspected.action == event.action
        signed_action.verify(event.action, agencies.keys["xk-dhtqnj"])
    # The fold, and the trail.
    folder = Folder(None)  # type: ignore[arg-type]  # all is at hand
    steps = folder.steps([_event(row) for row in old_ledger.recorded])
    case = steps[-1].after
    assert isinstance(case, Case)
    assert isinstance(steps[-3], CaseStep)
    assert (case.version, "risk_assessed" in case.state.facts) == (4, True)
    trail = trail_document(steps[-3].event, steps[-3].registry, SignatureState.VALID, {}, {}, None)
    assert trail["fields"]["risk_level"] == "high"
    # The export, and a view of it.
    manifest = export(old_ledger, tmp_path / "columns")
    view = tmp_path / "levels.sql"
    view.write_text(
        "-- name: levels\n-- version: 1\n"
        "SELECT risk_level, CAST(review_by AS VARCHAR) AS review_by, schema_version"
        " FROM risk_assessed ORDER BY position"
    )
    found = run_view(view, parquet=tmp_path / "columns").table.to_pylist()
    assert [(row["risk_level"], row["review_by"]) for row in found] == AS_TODAY
    assert [row["schema_version"] for row in found] == [1, 2, 3]
    assert manifest.tables[f"events/{OLD}"].version == 3
    seen = events(parquet=tmp_path / "columns", kinds=(OLD,))
    assert [event.fields["risk_level"] for event in seen] == [level for level, _ in AS_TODAY]


def _event(row: RecordedRow) -> Any:
    return recorded(row.state, row.originator_id, row.version, row.position)


def test_old_bytes_are_not_touched(old_ledger: MemoryLedger) -> None:
    row = old_ledger.recorded[-3]
    before = bytes(row.state)
    event = _event(row)
    assert row.state == before
    assert event_bytes.seal(event.action.sd_jwt, row.recorded_at) == before


@pytest.mark.usefixtures("evolved")
def test_what_is_signed_today_says_its_version(agencies: Agencies) -> None:
    today = ALL_ACTIONS[OLD](acted_at=START, risk_level="low")
    signed = agencies.sign("xk-dhtqnj", today, CASE_ID)
    assert signed.payload["version"] == 3
    assert signed_action.read(signed).version == 3
    assert "version" not in agencies.sign("xk-dhtqnj", opening(), CASE_ID).payload


@pytest.mark.usefixtures("evolved")
@pytest.mark.parametrize(
    ("act", "version", "rule"),
    [
        (FIRST, 4, "unknown-version"),
        (FIRST, 1, "model"),  # the first version is said by saying nothing
        (FIRST, "2", "model"),
        (FIRST | {"danger": "other"}, None, "model"),
        (SECOND, None, "digest-count"),
        (FIRST, 2, "digest-count"),
        ({"risk_level": "none", "_sd": SECOND["_sd"]}, 2, "model"),
    ],
)
def test_what_is_of_no_version_is_refused(
    agencies: Agencies, act: dict[str, Any], version: Any, rule: str
) -> None:
    signed = old_event(agencies, CASE_ID, act, version) if version != "2" else _as_text(agencies)
    with pytest.raises(Refusal) as refused:
        signed_action.read(signed_action.parse(signed))
    assert refused.value.rule == rule


def _as_text(agencies: Agencies) -> str:
    key = agencies.keys["xk-dhtqnj"]
    claims = {"iss": "xk-dhtqnj", "iat": 1, "jti": str(UUID(int=1)), "protocol": "p", "kind": OLD,
        "version": "2", "act": {}, "_sd_alg": "sha-256"}  # fmt: skip
    header = {"typ": signed_action.TYPE, "kid": key_id(key)}
    return issue(header, claims, (), key).without_disclosures()


def test_a_later_version_is_not_guessed_at(agencies: Agencies) -> None:
    """By the product's own registry, in which assessments are in their second version."""
    signed = old_event(agencies, CASE_ID, SECOND, 3)
    event = recorded(event_bytes.seal(signed, START), CASE_ID, 1, 1)
    assert (event.action.kind, event.action.mark) == (NOT_UNDERSTOOD, Mark.UNKNOWN_VERSION)
    assert upcasters().version(OLD) == 2


def test_steps_follow_one_another() -> None:
    with pytest.raises(ValueError, match="no step from version 1"):
        Upcasters(Upcaster(OLD, 2, _reviewed, digests=2))
    with pytest.raises(ValueError, match="no step from version 2"):
        Upcasters(Upcaster(OLD, 1, _renamed, 1), Upcaster(OLD, 1, _renamed, 1))
    given_fields = {"danger": "some"}
    assert EVOLVED.upcast(OLD, 1, given_fields)["risk_level"] == "high"
    assert given_fields == {"danger": "some"}


def record_missing() -> None:
    """Add an event for each kind and version that has none; written once, and then kept."""
    agencies = Agencies()

    made: dict[Path, Action] = {}

    # Of what is drawn the last is taken: the first has next to nothing in it.
    @seed(20260105)
    @settings(
        max_examples=3,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        for kind in ALL_ACTIONS:
            file = KEPT / f"{kind}.{upcasters().version(kind)}.json"
            if not file.exists():
                made[file] = _some(kind, agencies, data)

    draw()
    for file, action in made.items():
        write(file, agencies, action)


def _some(kind: str, agencies: Agencies, data: st.DataObject) -> Action:
    grant = agencies.grant("xk-dhtqnj")
    kid = key_id(agencies.keys["xk-dhtqnj"])
    acts: dict[str, Any] = {
        "key_registered": lambda: KeyRegistered(acted_at=PAST, grant=grant, member=UUID(int=8)),
        "coordinator_key_recovered": lambda: CoordinatorKeyRecovered(acted_at=PAST, grant=grant),
        "key_revoked": lambda: KeyRevoked(acted_at=PAST, key_id=kid),
        "key_change_confirmed": lambda: KeyChangeConfirmed(acted_at=PAST, proposal=UUID(int=7)),
        "key_change_declined": lambda: KeyChangeDeclined(acted_at=PAST, proposal=UUID(int=7)),
        "amendment_proposed": lambda: AmendmentProposed(
            acted_at=PAST,
            protocol=text_of(agencies.protocol),
            digest=text_digest(text_of(agencies.protocol)),
            reason="A shelter opens in Podgorica.",
            earliest_day=date(2026, 3, 1),
        ),
        "amendment_accepted": lambda: AmendmentAccepted(
            acted_at=PAST,
            proposal=UUID(int=7),
            digest="0" * 64,
            checkpoint=NamedCheckpoint(size=1, root="0" * 64),
        ),
        "amendment_declined": lambda: AmendmentDeclined(
            acted_at=PAST, proposal=UUID(int=7), digest="0" * 64, reason="The deadline is short."
        ),
        "agency_registered": lambda: AgencyRegistered(
            acted_at=PAST,
            agency="me-shelter-bar",
            role="shelter",
            name="Shelter in Bar",
            names={"cnr": "Sklonište u Baru", "sq": "Streha në Bar"},
            city="Bar",
            office=OFFICE,
        ),
        "agency_invited": lambda: AgencyInvited(
            acted_at=PAST, agency="iom-podgorica", role="ngo", name="A body", city="Podgorica"
        ),
        "agency_renamed": lambda: AgencyRenamed(
            acted_at=PAST, agency="me-shelter-bar", name="Shelter of Bar", office=OFFICE
        ),
        "agency_retired": lambda: AgencyRetired(
            acted_at=PAST, agency="me-shelter-bar", reason="It closes."
        ),
        "agency_change_confirmed": lambda: AgencyChangeConfirmed(
            acted_at=PAST, proposal=UUID(int=7)
        ),
        "agency_change_declined": lambda: AgencyChangeDeclined(acted_at=PAST, proposal=UUID(int=7)),
        "contact_point_named": lambda: ContactPointNamed(
            acted_at=PAST,
            agency="me-nac",
            function="Head of the office",
            functions={"cnr": "Rukovodilac"},
            deputy=True,
            languages=("cnr", "eng"),
            office=OFFICE,
            replaces=UUID(int=7),
        ),
        "contact_point_ended": lambda: ContactPointEnded(acted_at=PAST, contact=UUID(int=7)),
        "contact_card_given": lambda: ContactCardGiven(
            acted_at=PAST,
            contact=UUID(int=7),
            full_name="Arta Berisha",
            telephone_24h="+383 44 100 200",
            email="arta@example.org",
        ),
        "contact_card_ended": lambda: ContactCardEnded(acted_at=PAST, contact=UUID(int=7)),
        "key_compromised": lambda: KeyCompromised(acted_at=PAST, key_id=kid, since=PAST),
        "accession_accepted": lambda: AccessionAccepted(
            acted_at=PAST,
            proposal=UUID(int=7),
            digest="0" * 64,
            party="MK",
            statement=f"e30.e30.{'A' * 86}",
            checkpoint=NamedCheckpoint(size=1, root="0" * 64),
        ),
        "party_withdrawal_declared": lambda: PartyWithdrawalDeclared(
            acted_at=PAST, party="XK", day=date(2026, 6, 1), reason="By its own decision."
        ),
        "party_withdrawal_revoked": lambda: PartyWithdrawalRevoked(
            acted_at=PAST, declaration=UUID(int=7)
        ),
        "witnesses_aligned": lambda: WitnessesAligned(acted_at=PAST),
        "absence_announced": lambda: AbsenceAnnounced(
            acted_at=PAST, party="AL", subjects=(VoteSubject.LOG_KEY, VoteSubject.WITNESSES)
        ),
        "presence_declared": lambda: PresenceDeclared(acted_at=PAST),
        "log_policy_adopted": lambda: LogPolicyAdopted(
            acted_at=PAST,
            policy="quorum none\n",
            checkpoint=NamedCheckpoint(size=1, root="0" * 64),
        ),
        "country_key_registered": lambda: CountryKeyRegistered(acted_at=PAST, key="A" * 1622),
        "readings_anchored": lambda: ReadingsAnchored(acted_at=PAST, entries=7, head="0" * 64),
    }
    if kind in acts:
        made: Action = acts[kind]()
        return made
    if kind == "protocol_adopted":
        parsed = agencies.adoption()
        fields = {k: v for k, v in parsed.payload["act"].items() if k != "_sd"}
        return ALL_ACTIONS[kind].model_validate(fields)
    assert kind in CASE_ACTIONS, f"say what {kind} is like"
    return data.draw(
        actions(
            kind,
            agency_ids=[a.id for a in agencies.protocol.agencies],
            party_codes=agencies.protocol.party_codes,
            known_actions=[UUID(int=5)],
            acted_at=START,
        )
    )


def write(file: Path, agencies: Agencies, action: Action) -> None:
    case_id = None if action.kind in REGISTRY_ACTIONS else CASE_ID
    signed = agencies.sign("xk-nac", action, case_id).without_disclosures()
    state = event_bytes.seal(signed, datetime(2026, 1, 7, 9, 30, 0, 123456, tzinfo=UTC))
    event = recorded(state, CASE_ID, 1, 1)
    kept = {
        "kind": action.kind,
        "version": event.action.version,
        "digests": len(event.action.digests),
        "fields": event.action.fields,
        "in_clear": signed_action.signed_in_clear(event.action),
        "key_id": event.action.key_id,
        "public_key": agencies.keys["xk-nac"].as_dict(private=False),
        "entry": state.decode("ascii"),
    }
    file.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    record_missing()
