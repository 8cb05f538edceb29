"""Kinds of action that take a document in the same act, and how a command line names a document."""

from pathlib import Path
from uuid import UUID

import pytest

from api.cli.steps.attached import attached
from api.client.documents import DocumentFile
from ledger.importing.fields import place
from ledger.importing.row import ActionInRow, case_row
from ledger.signing import signed_action
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.coordination import ConsentGiven
from ledger.vocabulary.documents import (
    DOCUMENT_FIELDS,
    USUAL_KINDS,
    CaseDocument,
    document_field,
    document_of,
    field_of,
)
from ledger.vocabulary.levels import CASE, personal
from ledger.vocabulary.picklists import ConsentForm, ConsentGiver, ConsentScope, DocumentKind
from tests.support.actions import START
from tests.support.agencies import Agencies

FORM = CaseDocument(
    sha256="ab" * 32,
    size=1000,
    media_type="application/pdf",
    document_kind=DocumentKind.CONSENT_FORM,
    title="Consent of the mother",
)
CASE_ID = UUID(int=5)


def test_each_kind_with_paper_has_one_field_at_the_level_of_its_name() -> None:
    """The id of a document is that of its action, so an action has one document at most."""
    having = {
        kind: [name for name in DOCUMENT_FIELDS if name in model.model_fields]
        for kind, model in CASE_ACTIONS.items()
    }
    assert having.pop("document_added") == list(DOCUMENT_FIELDS)
    assert {kind: len(names) for kind, names in having.items() if names} == dict.fromkeys(
        USUAL_KINDS, 1
    )
    for kind, names in having.items():
        model = CASE_ACTIONS[kind]
        assert document_field(model) == (names[0] if names else None)
        for name in names:
            level = model.level(name)
            assert level == (personal(level.group) if level.group else CASE)
            assert name == field_of(level.group)
    assert document_field(CASE_ACTIONS["document_added"]) is None


def test_the_ledger_does_not_tell_whether_there_is_paper(agencies: Agencies) -> None:
    without = ConsentGiven(
        acted_at=START,
        scopes=tuple(ConsentScope),
        given_by=ConsentGiver.PERSON,
        form=ConsentForm.WRITTEN,
    )
    having = without.model_copy(update={"identity_document": FORM})
    told = []
    for action in (without, having):
        signed = agencies.sign("xk-dhtqnj", action, CASE_ID)
        recorded = signed_action.read(signed_action.parse(signed.without_disclosures()))
        told.append((recorded.fields, len(recorded.digests), len(recorded.sd_jwt)))
        assert FORM.sha256 not in recorded.sd_jwt
        whole = signed_action.check_disclosures(recorded, signed.disclosures)
        assert whole is not None
        found = document_of(whole)
        assert found == (("identity_document", FORM) if action is having else None)
    assert told[0] == told[1]


def test_a_table_that_is_imported_has_no_documents() -> None:
    assert place("consent_given.signed_by") is not None
    assert place("consent_given.identity_document") is None


def test_a_row_of_htcds_counts_documents_by_kind_and_tells_no_more() -> None:
    form = FORM.model_dump(mode="json")
    letter = form | {"document_kind": "letter"}
    acted = {"acted_at": "2026-01-05T08:00:00Z"}
    opening = ActionInRow(UUID(int=1), "case_opened", {**acted, "age_group": "adult"})
    consent = ActionInRow(UUID(int=2), "consent_given", {**acted, "identity_document": form})
    added = {
        3: {"case_document": letter},
        4: {"case_document": letter, "signs": str(UUID(int=3))},  # a second signature
        5: {},  # of a field group that was not opened
        6: {"health_document": letter},
        7: {"case_document": letter},
    }
    acts = [ActionInRow(UUID(int=n), "document_added", acted | one) for n, one in added.items()]
    annulment = {"corrects": str(UUID(int=7)), "effect": "annulled", **acted}
    correction = ActionInRow(UUID(int=8), "correction", annulment)
    row = case_row([opening, consent, *acts, correction], "Active")
    assert {name: n for name, n in row.values.items() if name.startswith("documents.")} == {
        "documents.consent_form": 1,
        "documents.letter": 2,
        "documents.not_opened": 1,
    }
    assert "document_added" not in row.not_told
    told = str(row.values)
    assert FORM.title not in told
    assert FORM.sha256 not in told


def test_a_command_line_names_a_document_with_what_is_usual_left_out(tmp_path: Path) -> None:
    (file := tmp_path / "a:b.pdf").write_bytes(b"1")
    court = DocumentKind.COURT_DECISION
    care = personal(CASE_ACTIONS["risk_assessed"].level("care_document").group)  # type: ignore[arg-type]
    for text, expected in (
        ("", DocumentFile(file, "a:b")),
        (":court_decision", DocumentFile(file, "a:b", court)),
        ("::case", DocumentFile(file, "a:b", None, CASE)),
        (":court_decision:care", DocumentFile(file, "a:b", court, care)),
        (":::Judgment: the first", DocumentFile(file, "Judgment: the first")),
    ):
        assert attached(f"{file}{text}") == expected
    for text, fault in ((":paper", "no kind of document"), ("::ledger", "no field group")):
        with pytest.raises(ValueError, match=fault):
            attached(f"{file}{text}")
    with pytest.raises(ValueError, match="no file"):
        attached(f"{tmp_path}/none.pdf:letter")
