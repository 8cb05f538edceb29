"""The tables beside the kinds: steps, obligations, deadlines, and kinds without the annulled."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.events.event_mapper import UnsealedEvent
from ledger.export.static_export import write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.procedure.agreement import Agreement
from ledger.vocabulary.coordination import (
    CaseClosed,
    Correction,
    InformationProvided,
    InformationRequested,
)
from ledger.vocabulary.linking import CaseMerged, MergeAccepted, MergeProposed
from ledger.vocabulary.picklists import AgeGroup
from ledger.vocabulary.protection import GuardianAppointed
from projections.analysis import ViewError, run_view, sql_meaning, tables
from projections.columnar import deadlines, obligations
from projections.columnar.parquet_export import export
from projections.columnar.proof import prove
from projections.columnar.snapshot_sources import DirectorySource, database_source
from projections.folds import obligations as fold
from projections.folds.joined_cases import JoinedCases
from projections.statistics.counting import count_cases
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.recorded import BEGAN, MemoryLedger
from tests.support.stories import tell

EXAMPLES = Path(__file__).parents[2] / "examples" / "views"
DOCS = Path(__file__).parents[2] / "docs" / "analysis.md"
OURS, THEIRS = "xk-dhtqnj", "me-nac"
DAY = timedelta(days=1)


@pytest.fixture
def told() -> MemoryLedger:
    """Random cases, two of which a merge joined."""
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(5), 12)
    ends, goes_on = uuid4(), uuid4()
    opened = ledger.take(OURS, opening(("XK", "ME"), acted_at=ledger.now), ends)
    ledger.take(THEIRS, opening(("ME",), acted_at=ledger.now), goes_on)
    told = {"addressee": THEIRS, "told": ("XK", "ME")}
    proposal = ledger.take(OURS, MergeProposed(acted_at=ledger.now, **told), ends)
    accepted = MergeAccepted(
        acted_at=ledger.now, ended_case=ends, proposal=proposal.action.id,
        opened_at=opened.as_act().acted_at, countries=("XK",),
    )  # fmt: skip
    acceptance = ledger.take(THEIRS, accepted, goes_on).action.id
    into = {"continues_in": goes_on, "acceptance": acceptance}
    ledger.take(OURS, CaseMerged(acted_at=ledger.now, **into), ends)
    return ledger


def folded(ledger: MemoryLedger) -> dict[str, fold.Obligation]:
    """Return the obligations as the fold of the recorded events has them."""
    agreement = Agreement.of(ledger.agencies.protocol)
    acts: dict[UUID, list[Any]] = {}
    for row in ledger.recorded:
        if row.originator_id != agreement.ledger_id:
            acts.setdefault(row.originator_id, []).append(row.event().as_act())
    joined = JoinedCases(act for of_case in acts.values() for act in of_case)
    return {
        str(one.id): one
        for case_id, of_case in acts.items()
        for one in fold.obligations(
            of_case, agreement, {other: acts[other] for other in joined.others(case_id)}
        ).by_id.values()
    }


def exported(directory: Path) -> dict[str, Mapping[str, Any]]:
    with tables(directory) as duckdb:
        found = duckdb.sql("SELECT * FROM obligations").to_arrow_table().to_pylist()
    assert len(found) == len({row["obligation_id"] for row in found})
    return {row["obligation_id"]: row for row in found}


def test_obligations_are_those_of_the_fold_however_the_export_grew(
    told: MemoryLedger, tmp_path: Path
) -> None:
    grown, at_once, late = (tmp_path / name for name in ("grown", "at_once", "late"))
    for upto in (40, 70, told.head() - 2, told.head() - 1, None):
        export(told, grown, upto=upto)
    whole = export(told, at_once)
    found, expected = exported(at_once), folded(told)
    assert exported(grown) == found
    assert found.keys() == expected.keys()
    for name, row in found.items():
        one = expected[name]
        closed = one.closed
        assert row["case_id"] == str(one.case_id)
        assert (row["due"], row["expected_by"]) == (one.due, one.expected_by)
        assert (row["kind"], row["action"]) == (one.kind, one.action)
        assert (row["debtor"], row["debtor_agency"]) == (one.debtor, one.debtor_agency)
        assert tuple(row["creditors"]) == one.creditors
        assert (row["state"], row["outcome"], row["late"]) == (one.state, one.outcome, one.late)
        assert (row["opened_position"], row["opened_at"]) == (
            one.opened.position,
            one.opened.acted_at,
        )
        assert (row["closed_position"], row["closed_at"]) == (
            (None, None) if closed is None else (closed.position, closed.acted_at)
        )
    assert {row["outcome"] for row in found.values()} >= {None, "done", "annulled", "merged"}
    # An export of an earlier program has no such table, and gets it whole.
    bare = export(told, late, upto=60, with_obligations=False)
    assert not bare.has_obligations
    assert prove(late, told, None, lambda *_: None).upto == 60
    again = export(told, late)
    assert exported(late) == found
    assert again.tables == whole.tables
    for directory in (grown, late):
        assert prove(directory, told, None, lambda *_: None).upto == told.head()


def test_deadlines_are_those_of_the_text(told: MemoryLedger, tmp_path: Path) -> None:
    export(told, tmp_path, upto=50)
    export(told, tmp_path)
    with tables(tmp_path) as duckdb:
        rows = duckdb.sql("SELECT * FROM deadlines").to_arrow_table().to_pylist()
    protocol = told.agencies.protocol
    expected = [row for row in rows if row["kind"] == "procedure"]
    assert [(row["action"], tuple(row["after"]), row["until"]) for row in expected] == [
        one.key for one in protocol.expected
    ]
    assert [row["within_days"] for row in expected] == [
        one.within_days for one in protocol.expected
    ]
    assert [row["makes_late"] for row in expected] == [
        one.within_days is not None and not one.is_assumed for one in protocol.expected
    ]
    answers = {row["form"]: row["within_days"] for row in rows if row["kind"] == "form_answer"}
    assert answers == {
        form.number: form.answer_within_days
        for form in protocol.forms_by_number.values()
        if form.answer_within_days is not None
    }
    assert {row["protocol_version"] for row in rows} == {protocol.version}
    erasures = [row["within_days"] for row in rows if row["action"] == "erasure_confirmed"]
    terms = protocol.accountability_terms, protocol.withdrawal_terms
    assert erasures == [terms[0].erasure_days, terms[1].erase_within_days]


COUNTED = """-- name: counted
-- version: 1
SELECT o.obligation_id, o.case_id, o.kind, o.state, o.due, d.within_days, s.times
FROM obligations o
LEFT JOIN deadlines d ON d.kind = o.kind AND d.action = o.action AND d.kind = 'procedure'
LEFT JOIN steps s ON s.case_id = o.case_id AND s.kind = 'case_opened'
WHERE o.case_id IN (SELECT c.case_id FROM standing_case_opened c)
ORDER BY o.obligation_id, d.until
"""


def test_every_place_of_events_answers_alike(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    ids = uuid4(), uuid4()
    for case_id in ids:
        action_id = uuid4()
        signed = agencies.sign(OURS, opening(("XK", "ME")), case_id, action_id)
        text = signed.without_disclosures().encode()
        event = UnsealedEvent(case_id, 1, "case_opened", text, action_id)
        ledger.rows.insert_events([event])
    with database_source(database) as source:
        export(source, tmp_path / "columns")
        size, root = source.head(), source.root(source.head())
    signer = SignerKey("example.org/log", SignatureType.ED25519, Ed25519PrivateKey.generate())
    checkpoint = str(Checkpoint("example.org/log", size, root))
    note = Note(checkpoint, (signer.sign(checkpoint),))
    write_export(ledger.rows, note, tmp_path / "static", lambda *_: None)
    assert DirectorySource(tmp_path / "static").head() == size
    file = tmp_path / "counted.sql"
    file.write_text(COUNTED)
    found = [
        run_view(file, kept=False, **where).table.to_pylist()  # type: ignore[arg-type]
        for where in (
            {"database": database},
            {"export": tmp_path / "static"},
            {"parquet": tmp_path / "columns"},
        )
    ]
    assert found[0] == found[1] == found[2]
    assert {row["case_id"] for row in found[0]} == {str(one) for one in ids}
    with pytest.raises(ViewError, match="of the whole ledger"):
        run_view(file, parquet=tmp_path / "columns", last=size - 1)
    export(DirectorySource(tmp_path / "static"), tmp_path / "bare", with_obligations=False)
    with pytest.raises(ViewError, match="this export has no table `obligations`"):
        run_view(file, parquet=tmp_path / "bare", kept=False)


def rows(name: str, columns: Path) -> list[tuple[Any, ...]]:
    found = run_view(EXAMPLES / name, parquet=columns, kept=False).table.to_pylist()
    return [tuple(row.values()) for row in found]


def test_guardians_and_overdue_answers_are_as_counted_by_hand(tmp_path: Path) -> None:
    """Five children and an adult; three guardians, of which one in time and one annulled."""
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    first, then = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 5, 1, 12, tzinfo=UTC)
    cases = [uuid4() for _ in range(6)]
    opened = [first, first, first, then, then, first]
    openings = [
        ledger.take(
            OURS,
            opening(("XK", "ME"), acted_at=at).model_copy(
                update={"age_group": AgeGroup.ADULT if number == 5 else AgeGroup.CHILD}
            ),
            case_id,
        )
        for number, (case_id, at) in enumerate(zip(cases, opened, strict=True))
    ]

    def guardian(case: int, days: float) -> UUID:
        act = GuardianAppointed(acted_at=opened[case] + days * DAY, guardian_kind="relative")
        return ledger.take("xk-csw-prishtina", act, cases[case]).action.id

    def annul(case: int, action: UUID) -> None:
        wrong = Correction(
            acted_at=then + 20 * DAY, corrects=action, effect="annulled", reason="entry_error"
        )
        ledger.take(OURS, wrong, cases[case])

    guardian(0, 7)  # within a week
    guardian(1, 7.1)  # a little later
    annul(2, guardian(2, 1))  # never appointed
    guardian(3, 3)
    annul(4, openings[4].action.id)  # opened in error
    guardian(5, 1)  # of an adult

    def ask(case: int, by: str, of: str, answer_by: int) -> UUID:
        asked = InformationRequested(
            acted_at=then, addressee=of, topics=("family",), purpose="protection",
            answer_by=(then + answer_by * DAY).date(),
        )  # fmt: skip
        return ledger.take(by, asked, cases[case]).action.id

    ask(0, OURS, THEIRS, 10)  # open, and overdue
    ask(1, OURS, THEIRS, 900)  # open, and not due yet
    answered = ask(1, OURS, THEIRS, 10)
    provided = InformationProvided(acted_at=then + 15 * DAY, request=answered, complete=True)
    ledger.take(THEIRS, provided, cases[1])  # late
    annul(2, ask(2, OURS, THEIRS, 10))  # never asked
    ask(3, THEIRS, OURS, 5)  # overdue, the other way
    ledger.now = then + 30 * DAY
    ledger.take(OURS, opening(("XK",), acted_at=ledger.now), uuid4())
    export(ledger, tmp_path)
    assert rows("guardians.sql", tmp_path) == [
        (2026, 1, 3, 2, 1),
        (2026, 2, 2, 1, 1),
    ]
    answers = [row for row in rows("overdue_by_creditor.sql", tmp_path) if row[2] == "answer"]
    assert answers == [
        ("ME", "XK", "answer", 1, 0, 1, 1),
        ("XK", "ME", "answer", 3, 1, 2, 1),
    ]


def test_a_case_opened_in_error_and_then_closed_is_counted_by_nobody(tmp_path: Path) -> None:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    real, wrong = uuid4(), uuid4()
    ledger.take(OURS, opening(("XK", "ME"), acted_at=BEGAN), real)
    error = ledger.take(OURS, opening(("XK", "ME"), acted_at=BEGAN), wrong)
    ledger.take(
        OURS,
        Correction(
            acted_at=BEGAN, corrects=error.action.id, effect="annulled", reason="entry_error"
        ),
        wrong,
    )
    ledger.take(OURS, CaseClosed(acted_at=BEGAN, reason="referred"), wrong)
    export(ledger, tmp_path)
    _, counts, _ = count_cases(tmp_path, ("AL", "ME", "XK"), ("country",))
    assert counts == {("XK",): 1}


def test_every_column_is_documented() -> None:
    text = DOCS.read_text()
    for names in (obligations.SCHEMA.names, deadlines.SCHEMA.names, sql_meaning._STEPS):
        assert [name for name in names if f"`{name}`" not in text] == []
