"""The columns say what the ledger says, grow with it, and are whole whatever dies."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ledger.application import Ledger
from ledger.export.static_export import write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from ledger.procedure.case_fold import annulled_ids
from ledger.signing import sd_jwt, signed_action
from ledger.signing.keys import generate, key_id
from ledger.system.version import program_version
from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS
from ledger.vocabulary.action import ledger_part
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.upcasting import upcasters
from projections.columnar import cases, decoding, parquet_export, parquet_writer
from projections.columnar.column_shapes import NotCanonicalError
from projections.columnar.decoding import COMMON, Decoder, column_of, schema_of
from projections.columnar.duckdb_tables import connect, put_tables
from projections.columnar.manifest import ColumnarError, Manifest, read_manifest
from projections.columnar.parquet_export import export
from projections.columnar.parquet_writer import TableWriter
from projections.columnar.snapshot_sources import DirectorySource, NoLedgerError, database_source
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger, random_ledger
from tests.support.strategies import actions, found_in, markers

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
def ledger_of_two(agencies: Agencies) -> MemoryLedger:
    made = MemoryLedger(agencies)
    made.begin()
    made.take("xk-dhtqnj", opening(), uuid4())
    made.take("me-nac", opening(("ME", "AL")), uuid4())
    return made


def read(directory: Path, manifest: Manifest, table: str) -> list[dict[str, Any]]:
    return [
        row
        for file in manifest.of_table(table)
        for row in parquet.ParquetFile(directory / file.path).read().to_pylist()
    ]


def everything(directory: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """Every exported event, by position."""
    found = [r for kind in ALL_ACTIONS for r in read(directory, manifest, f"events/{kind}")]
    return sorted(found, key=lambda row: row["position"])


def cases_in(directory: Path, manifest: Manifest) -> Mapping[str, dict[str, Any]]:
    with connect() as connection:
        put_tables(connection, directory, manifest, text="cases")
        rows = connection.sql("SELECT * FROM cases").to_arrow_table().to_pylist()
    return {row["case_id"]: row for row in rows}


def test_columns_are_the_ledger_fields_and_no_other() -> None:
    for kind, model in ALL_ACTIONS.items():
        own = schema_of(kind).names[len(COMMON) :]
        fields = set(model.ledger_fields()) - {"acted_at"}
        assert set(own) == {column_of(name) for name in fields}
        assert {name for name in fields if column_of(name) != name} <= {"agency", "party", "role"}
        assert len(set(schema_of(kind).names)) == len(schema_of(kind))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reading_at_once_and_one_by_one_is_the_same(
    agencies: Agencies, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(sorted(CASE_ACTIONS)))
    ledger, marks = MemoryLedger(agencies), frozenset[str]()
    for _ in range(3):
        action = data.draw(
            actions(
                kind,
                agency_ids=[a.id for a in agencies.protocol.agencies],
                party_codes=agencies.protocol.party_codes,
                known_actions=[uuid4()],
                acted_at=NOW,
            )
        )
        marks |= markers(action)
        ledger.take("xk-nac", action, uuid4())
    at_once = Decoder(Agreement.of(agencies.protocol)).tables(ledger.recorded)[kind]
    read_back = [row.event().action for row in ledger.recorded]
    acted_at, own = decoding._read_one_by_one(kind, read_back)
    assert at_once.select(schema_of(kind).names[len(COMMON) :]).to_pydict() == {
        name: column.to_pylist()
        for name, column in zip(schema_of(kind).names[len(COMMON) :], own, strict=True)
    }
    assert at_once["acted_at"].to_pylist() == acted_at.to_pylist()
    assert at_once["signed_at"].to_pylist() == [action.signed_at for action in read_back]
    assert not found_in(marks, json.dumps(at_once.to_pylist(), default=str))


def test_kinds_that_are_read_at_once(agencies: Agencies) -> None:
    """So that the slow way is not taken unnoticed: of cases, no kind needs it."""
    action = signed_action.read(agencies.sign("xk-dhtqnj", opening(), uuid4()))
    action = replace(action, fields={"acted_at": "2026-01-05T08:00:00Z"})
    for kind in CASE_ACTIONS:
        acted_at, _ = decoding._read_at_once(kind, [replace(action, kind=kind)] * 2)
        assert acted_at.to_pylist() == [datetime(2026, 1, 5, 8, tzinfo=UTC)] * 2
    with pytest.raises(NotCanonicalError):
        decoding._read_at_once("protocol_adopted", [replace(action, kind="protocol_adopted")])


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("information_provided", {"request": "{UUID}", "complete": "yes"}),
        ("information_provided", {"request": "UPPER", "complete": 1}),
        ("lead_transfer_accepted", {"offer": "urn:uuid:"}),
        ("information_requested", {"addressee": "me-nac", "topics": ["family"],
            "purpose": "protection", "answer_by": 1767571200}),
        ("risk_assessed", {"risk_level": "high", "review_by": "2026-02-01T00:00:00"}),
        ("risk_assessed", {"risk_level": "high", "acted_at": "2026-01-05T10:00:00+02:00"}),
        ("risk_assessed", {"risk_level": "high", "review_by": None, "_pad": "\n"}),
    ],
)  # fmt: skip
def test_what_is_valid_in_another_way_of_writing_reads_the_same(
    agencies: Agencies, kind: str, act: dict[str, Any]
) -> None:
    """Earlier programs recorded what the model takes, in any form."""
    named = uuid4()
    forms = {
        "{UUID}": f"{{{named}}}",
        "UPPER": str(named).upper(),
        "urn:uuid:": f"urn:uuid:{named}",
    }
    pretty = act.pop("_pad", None) is not None
    act = {"acted_at": "2026-01-05T08:00:00Z"} | {
        name: forms.get(value, value) if isinstance(value, str) else value
        for name, value in act.items()
    }
    model = ledger_part(ALL_ACTIONS[kind]).model_validate(act)
    digests = [sd_jwt.decoy_digest() for _ in ALL_ACTIONS[kind].disclosable_fields()]
    act |= {"_sd": digests} if digests else {}
    key = generate()
    payload = {"iss": "xk-nac", "iat": 1767600000, "jti": str(uuid4()), "protocol": "p",
        "case": str(named), "kind": kind, "act": act, "_sd_alg": "sha-256"}  # fmt: skip
    if (version := upcasters().version(kind)) > 1:
        payload["version"] = version
    issued = sd_jwt.issue({"typ": "case-action+sd-jwt", "kid": key_id(key)}, payload, (), key)
    text = issued.without_disclosures()
    if pretty:
        header, _, signature = text.split(".")
        text = f"{header}.{_encoded(json.dumps(payload, indent=2))}.{signature}"
    ledger = MemoryLedger(agencies)
    ledger.put(text, named)
    (row,) = Decoder(Agreement.of(agencies.protocol)).tables(ledger.recorded)[kind].to_pylist()
    assert row["acted_at"] == getattr(model, "acted_at")  # noqa: B009
    for name in type(model).model_fields:
        expected = getattr(model, name)
        if isinstance(expected, tuple):
            expected = [str(item) for item in expected]
        elif isinstance(expected, UUID):
            expected = str(expected)
        assert row[name] == expected, name


def _encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def stated_by(case: Case) -> str | None:
    """Return the kind of the last action that states the trafficking status, if one does."""
    annulled = annulled_ids(case.history.values())
    stating = [
        act.kind
        for act in case.history.values()
        if act.id not in annulled
        and (
            act.kind in ("victim_identified", "victim_status_changed", "not_a_victim")
            or act.fields.get("protected_as") is not None
        )
    ]
    return stating[-1] if stating else None


def expected_case(case: Case) -> dict[str, Any]:
    """Return the fold's state of a case in the table's words."""
    state = case.state
    return {
        "case_version": state.version,
        "position": state.position,
        "opened_position": state.opened_position,
        "opened_at": state.opened_at,
        "last_recorded_at": state.last_recorded_at,
        "age_group": state.age_group,
        "parties": sorted(state.parties),
        "stage": state.stage,
        "priority": state.priority,
        "closure": state.closure,
        "closed_at": state.closed_at,
        "cas_Status": state.status,
        "cas_CaseOwner": state.lead_agency,
        "vic_TraffickingStatus": state.trafficking_status,
        "trafficking_status_kind": stated_by(case),
    }


@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # shrinking a walk takes minutes, and tells no more
)
@given(st.data())
def test_cases_are_as_their_fold_says_however_the_export_grew(
    agencies: Agencies, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    walk = random_ledger(data, agencies, cases=3, steps=24)
    head = walk.ledger.head()
    grown, at_once = tmp_path_factory.mktemp("grown"), tmp_path_factory.mktemp("at-once")
    stops = sorted(data.draw(st.sets(st.integers(1, head), max_size=4)))
    for stop in stops:
        assert export(walk.ledger, grown, upto=stop, partition=7, batch=5).upto == stop
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cases, "AT_ONCE", 2)
        manifest = export(walk.ledger, grown, partition=7, batch=5)
    whole = export(walk.ledger, at_once)
    assert everything(grown, manifest) == everything(at_once, whole)
    assert [row["position"] for row in everything(grown, manifest)] == list(range(1, head + 1))
    rows = cases_in(grown, manifest)
    assert rows == cases_in(at_once, whole)
    assert rows.keys() == {str(case) for case, folded in walk.cases.items() if folded}
    for case_id, folded in walk.cases.items():
        if folded is not None:
            expected = expected_case(folded)
            assert {name: rows[str(case_id)][name] for name in expected} == expected


def test_a_case_whose_opening_is_annulled_is_closed_in_the_export(
    agencies: Agencies, ledger_of_two: MemoryLedger, tmp_path: Path
) -> None:
    opened = next(row for row in ledger_of_two.recorded if row.kind == "case_opened")
    wrong = Correction(
        acted_at=NOW, corrects=opened.action_id, effect="annulled", reason="entry_error"
    )
    ledger_of_two.take("xk-dhtqnj", wrong, opened.originator_id)
    events = [
        row.event() for row in ledger_of_two.recorded if row.originator_id == opened.originator_id
    ]
    folded = Case.projector(Agreement.of(agencies.protocol))(None, events)
    assert folded is not None
    assert folded.state.closure == "opened_in_error"
    rows = cases_in(tmp_path, export(ledger_of_two, tmp_path))
    row, expected = rows[str(opened.originator_id)], expected_case(folded)
    assert {name: row[name] for name in expected} == expected
    assert [one["cas_Status"] for one in rows.values()].count("Closed") == 1


def check_files(directory: Path, manifest: Manifest) -> None:
    """Every file is there as the manifest says, and no other."""
    for file in manifest.files:
        content = (directory / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
        assert parquet.ParquetFile(directory / file.path).metadata.num_rows == file.rows
    there = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    assert there - {".lock"} == {"manifest.json", *(file.path for file in manifest.files)}


def test_an_export_grows_by_new_files_alone(ledger_of_two: MemoryLedger, tmp_path: Path) -> None:
    first = export(ledger_of_two, tmp_path)
    check_files(tmp_path, first)
    written = {file.path: (tmp_path / file.path).stat().st_mtime_ns for file in first.files}
    assert export(ledger_of_two, tmp_path) == first
    ledger_of_two.take("xk-dhtqnj", opening(), uuid4())
    second = export(ledger_of_two, tmp_path)
    check_files(tmp_path, second)
    assert second.files[: len(first.files)] == first.files
    assert {p: (tmp_path / p).stat().st_mtime_ns for p in written} == written
    assert {f.table for f in second.files[len(first.files) :]} == {
        "events/case_opened",
        "cases",
        "obligations",
    }
    assert (second.upto, second.root) == (first.upto + 1, ledger_of_two.root(second.upto).hex())
    described = second.tables["events/case_opened"]
    assert described.version == 2
    column = next(c for c in described.columns if c.name == "age_group")
    assert column.values == ("child", "adult", "presumed_child")


def test_an_export_names_the_programs_that_wrote_it_and_goes_on_from_one_that_names_none(
    ledger_of_two: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = export(ledger_of_two, tmp_path)
    assert {first.program_version, *(f.program_version for f in first.files)} == {program_version()}
    # As version 0.1.0 wrote it.
    old = json.loads((tmp_path / "manifest.json").read_text())
    for entry in (old, *old["files"]):
        del entry["program_version"]
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    earlier = read_manifest(tmp_path)
    assert earlier is not None
    assert earlier.program_version is None
    for owner in (parquet_export, parquet_writer):
        monkeypatch.setattr(owner, "program_version", lambda: "9.9.9")
    ledger_of_two.take("xk-dhtqnj", opening(), uuid4())
    second = export(ledger_of_two, tmp_path)
    check_files(tmp_path, second)
    assert second.program_version == "9.9.9"
    assert [f.program_version for f in second.files] == [
        *(None for _ in first.files), *("9.9.9" for _ in second.files[len(first.files) :])
    ]  # fmt: skip


class Died(Exception):
    pass


def test_what_dies_at_any_step_leaves_the_last_export(
    ledger_of_two: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = export(ledger_of_two, tmp_path)
    for _ in range(3):
        ledger_of_two.take("xk-dhtqnj", opening(), uuid4())
    steps = 0

    def dying(number: int, of: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == number:
                raise Died
            return of(*args, **kwargs)

        return call

    number, died = 1, True
    while died:
        steps, died = 0, False
        with monkeypatch.context() as patched:
            for owner, name in (
                (TableWriter, "write"), (TableWriter, "finish"), (parquet_export, "write_manifest"),
                (parquet_export, "write_cases"),
            ):  # fmt: skip
                patched.setattr(owner, name, dying(number, getattr(owner, name)))
            try:
                after = export(ledger_of_two, tmp_path, partition=2)
            except Died:
                died = True
        if died:
            assert read_manifest(tmp_path) == before
            assert [row["position"] for row in everything(tmp_path, before)] == list(
                range(1, before.upto + 1)
            )
        number += 1
    assert number > 6
    check_files(tmp_path, after)
    assert [row["position"] for row in everything(tmp_path, after)] == list(
        range(1, ledger_of_two.head() + 1)
    )


def test_what_others_put_there_is_left_alone(ledger_of_two: MemoryLedger, tmp_path: Path) -> None:
    theirs = tmp_path / "events" / "mine.parquet", tmp_path / "cases" / "mine.parquet"
    half = tmp_path / "events" / "kind=case_opened" / ".000000000001-000000000009.parquet.writing"
    for path in (*theirs, half, tmp_path / ".sorting-left" / "x"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    export(ledger_of_two, tmp_path)
    assert all(path.exists() for path in theirs)
    assert not half.exists()
    assert not (tmp_path / ".sorting-left").exists()


def test_another_ledger_is_not_gone_on_with(
    ledger_of_two: MemoryLedger, agencies: Agencies, tmp_path: Path
) -> None:
    export(ledger_of_two, tmp_path)
    forked = MemoryLedger(agencies)
    forked.begin()
    for _ in range(5):
        forked.take("xk-dhtqnj", opening(), uuid4())
    with pytest.raises(ColumnarError, match="are not those that were exported"):
        export(forked, tmp_path)
    with pytest.raises(ColumnarError, match="beyond the ledger's"):
        export(_up_to(ledger_of_two, 5), tmp_path)
    with pytest.raises(NoLedgerError):
        export(MemoryLedger(agencies), tmp_path / "new")


def _up_to(ledger: MemoryLedger, size: int) -> MemoryLedger:
    return MemoryLedger(ledger.agencies, ledger.recorded[:size])


def test_a_database_and_its_static_files_export_the_same(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    with database_source(database) as source:
        memory = MemoryLedger(agencies, list(source.rows(0, source.head())))
        size, root = source.head(), source.root(source.head())
        assert root == memory.root(size)
        made = export(source, tmp_path / "columns")
        assert made.root == root.hex()
    signer = SignerKey("example.org/log", SignatureType.ED25519, Ed25519PrivateKey.generate())
    checkpoint = Checkpoint("example.org/log", size, root)
    note = Note(str(checkpoint), (signer.sign(str(checkpoint)),))
    write_export(ledger.rows, note, tmp_path / "static", lambda *_: None)
    static = DirectorySource(tmp_path / "static")
    assert (static.head(), static.root(size)) == (size, root)
    assert static.root(size // 2) == memory.root(size // 2)
    again = export(static, tmp_path / "again")
    assert again.checkpoint == str(note)
    assert everything(tmp_path / "again", again) == everything(tmp_path / "columns", made)
