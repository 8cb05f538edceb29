"""Documents of a case, from the file to the download: who gets what, and what is written down."""

import base64
import hashlib
import io
import socket
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from pypdf import PdfReader, PdfWriter
from rich.console import Console
from typer.testing import CliRunner

from api.background_jobs.vault_checker import vault_check
from api.cli import app
from api.cli.steps.moving_documents import addition
from api.cli.steps.transfers import documents_table
from api.client.assertion import make_assertion
from api.client.client import LedgerClient
from api.client.documents import DocumentFile
from api.client.errors import RefusedError
from api.client.schemas import Receipt
from api.client.schemas.case_documents import ListedDocument, MadeKind, PageMark, UploadState
from api.client.schemas.personal import HeldBackGround
from api.http.chunk_places import ChunkPlaces
from api.paper.subject_access.archive import ArchiveIndex
from api.paper.subject_access.wording import wording
from api.services import named_documents
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import CopyKind
from ledger.signing import keys
from ledger.vault.documents.chunk_encryption import seal_chunk
from ledger.vault.documents.content_check import ContentCheck
from ledger.vault.documents.documents import opened_content_key
from ledger.vault.documents.uploads import place_of
from ledger.vault.ownership import NotOwnerError
from ledger.vault.vault_check import VaultFinding
from ledger.vocabulary import documents
from ledger.vocabulary.coordination import ConsentGiven, Correction, MeetingHeld
from ledger.vocabulary.documents import CaseDocument, DocumentAdded, document_of
from ledger.vocabulary.levels import CASE, FieldGroup
from ledger.vocabulary.picklists import (
    AgeGroup,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    DocumentKind,
    Purpose,
)
from tests.api.test_document_uploads import ask, authorised, begun
from tests.support.actions import START, opening
from tests.support.papers import PDF, docx, letter, pdf
from tests.support.pictures import scan
from tests.support.serving import Server
from tests.support.sharing import register_country_keys
from tests.support.waiting import until
from tests.support.web import FROM_HERE, signed_in

AGENCY = "xk-dhtqnj"
TITLE = "Consent of the mother"


@pytest.fixture(scope="module")
def served(served_once: Server) -> Server:
    """A server whose countries can seal to each other."""
    register_country_keys(served_once)
    return served_once


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (file := tmp_path / "consent.pdf").write_bytes(pdf(700_000))
    return file


def opened(served: Server, **fields: object) -> tuple[UUID, Receipt]:
    with served.client(AGENCY) as client:
        adult = opening().model_copy(update={"age_group": AgeGroup.ADULT, **fields})
        return (case := uuid4()), client.append(adult, case, 0)


def added(
    served: Server,
    case: UUID,
    version: int,
    file: Path,
    group: FieldGroup | None = None,
    belongs_to: UUID | None = None,
) -> Receipt:
    with served.client(AGENCY) as client:
        receipt = client.add_document(
            case,
            version,
            file,
            kind=DocumentKind.CONSENT_FORM,
            title=TITLE,
            group=group,
            language="sqi",
            belongs_to=belongs_to,
        )
        client.case(case, at_least=receipt.position)
        return receipt


@pytest.fixture(scope="module")
def begun_case(served: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[UUID, UUID]:
    """A case, and the action that has its document."""
    (file := tmp_path_factory.mktemp("paper") / "paper.pdf").write_bytes(pdf(2_000))
    case, _ = opened(served)
    return case, added(served, case, 1, file).action_id


def test_a_reader_that_is_slow_gives_its_place_to_the_next_one(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(served.app.state._state, "sent_chunks", ChunkPlaces(1))
    (file := tmp_path / "large.pdf").write_bytes(pdf(12_000_000))
    case, _ = opened(served)
    receipt = added(served, case, 1, file)
    assertion = make_assertion(AGENCY, served.agencies.keys[AGENCY], "case-ledger")
    path = f"/v1/cases/{case}/documents/{receipt.action_id}/content"
    host, port = served.url.removeprefix("http://").split(":")
    asked = f"{path}?copy=original&purpose=protection"
    head = f"GET {asked} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {assertion}\r\n"
    limiter = served.app.state.sent_chunks.limiter
    with socket.create_connection((host, int(port))) as line:
        line.sendall(f"{head}Connection: close\r\n\r\n".encode())
        until(lambda: limiter.borrowed_tokens == 1)
        with served.client(AGENCY) as client:
            to = tmp_path / "fast.pdf"
            client.download(case, receipt.action_id, to, purpose=Purpose.PROTECTION)
        with line.makefile("rb") as answer:
            content = answer.read().partition(b"\r\n\r\n")[2]
    assert to.read_bytes() == content == file.read_bytes()
    until(lambda: limiter.borrowed_tokens == 0)


CONSENT = ConsentGiven(
    acted_at=START,
    scopes=tuple(ConsentScope),
    given_by=ConsentGiver.PERSON,
    form=ConsentForm.WRITTEN,
    groups=(FieldGroup.IDENTITY, FieldGroup.HEALTH),
)
"""An adult consents to the reading of some groups, which is a legal basis."""


def consented(served: Server, case: UUID, version: int) -> Receipt:
    with served.client(AGENCY) as client:
        receipt = client.append(CONSENT, case, version)
        client.case(case, at_least=receipt.position)
        return receipt


def test_a_document_is_added_listed_and_downloaded(served: Server, file: Path) -> None:
    case, opening_receipt = opened(served)
    receipt = added(served, case, 1, file, belongs_to=opening_receipt.action_id)
    with served.client(AGENCY) as client:
        (one,) = client.documents(case).documents
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert (one.id, one.agency, one.group) == (receipt.action_id, AGENCY, None)
        assert (one.belongs_to, one.is_here) == (opening_receipt.action_id, True)
        assert (one.document.sha256, one.document.title) == (digest, TITLE)
        assert one.document.media_type == "application/pdf"
        to = file.with_name("again.pdf")
        got = client.download(case, one.id, to, purpose=Purpose.PROTECTION)
        assert (got, to.read_bytes()) == (digest, file.read_bytes())
        last = client.readings(case).readings[-1]
        assert (last.granted, last.concerning) == (True, one.id)
        assert last.asked.purpose is Purpose.PROTECTION
    with signed_in(served, AGENCY) as browser:  # documents are told apart by their ids
        verified = browser.get(f"/cases/{case}/verify").text
    assert f"<code>{str(receipt.action_id)[:8]}</code>" in verified
    # The ledger has digests alone.
    with served.client("xk-nac") as coordinator:
        event = coordinator.events(receipt.position - 1).events[0].model_dump_json()
    assert str(receipt.action_id) in event
    assert TITLE not in event
    assert digest not in event


def test_a_personal_document_needs_matrix_basis_and_purpose(served: Server, file: Path) -> None:
    case, _ = opened(served)
    receipt = added(served, case, 1, file, FieldGroup.IDENTITY)
    to = file.with_name("again.pdf")
    with served.client("xk-ngo-support") as client:
        assert client.documents(case).documents == ()
        for ask in (
            lambda: client.download(case, receipt.action_id, to, purpose=Purpose.PROTECTION),
            lambda: client.documents(case, [FieldGroup.IDENTITY], Purpose.PROTECTION),
        ):
            with pytest.raises(RefusedError) as refused:
                ask()
            assert refused.value.problem.rule == "no-legal-basis"
        assert not to.exists()
        refusals = [one for one in client.readings(case).readings if not one.granted]
        assert [one.concerning for one in refusals] == [receipt.action_id, None]
        consented(served, case, 2)
        with pytest.raises(RefusedError) as refused:
            client.documents(case, [FieldGroup.IDENTITY])
        assert refused.value.problem.rule == "purpose"
        page = client.documents(case, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        assert [one.group for one in page.documents] == [FieldGroup.IDENTITY]
        client.download(case, receipt.action_id, to, purpose=Purpose.PROTECTION)
        assert to.read_bytes() == file.read_bytes()
    with served.client("xk-ngo-support") as client, pytest.raises(RefusedError) as refused:
        client.documents(case, [FieldGroup.PROCEEDINGS], Purpose.PROTECTION)
    assert refused.value.problem.rule == "access-matrix"
    for agency, rule in (
        ("me-csw-podgorica", "unknown-case"), ("xk-ombudsperson", "no-documents"),
    ):  # fmt: skip
        with served.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.download(
                case, receipt.action_id, file.with_name("no"), purpose=Purpose.PROTECTION
            )
        assert refused.value.problem.rule == rule


def test_a_download_has_ranges_and_runs_nowhere(served: Server, file: Path) -> None:
    case, _ = opened(served)
    receipt = added(served, case, 1, file)
    content = file.read_bytes()
    url = f"{served.url}/v1/cases/{case}/documents/{receipt.action_id}/content"

    def get(wanted: str | None) -> httpx.Response:
        headers = authorised(served) | ({"Range": wanted} if wanted else {})
        asked = {"purpose": "protection", "copy": "original"}
        return httpx.get(url, params=asked, headers=headers)

    whole = get(None)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-disposition"].startswith('attachment; filename="')
    assert whole.headers["content-disposition"].endswith('.pdf"')
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in whole.headers["content-security-policy"]
    assert whole.headers["cache-control"] == "no-store"
    for wanted, expected in (
        ("bytes=0-9", content[:10]),
        ("bytes=262140-262150", content[262140:262151]),
        ("bytes=699990-", content[699990:]),
        ("bytes=-5", content[-5:]),
    ):
        part = get(wanted)
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["content-range"].endswith("/700000")
    beyond = get("bytes=700000-")
    assert (beyond.status_code, beyond.json()["rule"]) == (416, "document-range")
    assert httpx.get(url, headers=authorised(served)).status_code == 422  # no purpose


@pytest.mark.parametrize(
    "elsewhere", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                  {"Sec-Fetch-Site": "none"}, {"Origin": "https://evil.example"}, {}]
)  # fmt: skip
def test_a_link_elsewhere_opens_no_document_and_makes_no_entry(
    served: Server, begun_case: tuple[UUID, UUID], elsewhere: dict[str, str]
) -> None:
    """ASVS V3.5 request forgery: its author would write the access log in the reader's name."""
    case, document = begun_case
    paths = [f"{document}/{what}?purpose=protection" for what in ("content", "preview")]
    paths += [f"{document}/content?purpose=protection&copy=original"]
    paths = [f"/v1/cases/{case}/documents/{path}" for path in paths]
    paths += [f"/v1/cases/{case}/documents?group=identity&purpose=protection"]
    with served.client(AGENCY) as client, signed_in(served, AGENCY) as browser:
        before = len(client.readings(case).readings)
        for path in paths:
            answer = browser.get(path, headers=elsewhere)
            assert (answer.status_code, answer.json()["rule"]) == (403, "cross-site")
        assert len(client.readings(case).readings) == before
        assert browser.get(paths[-2], headers=FROM_HERE).is_success
        assert len(client.readings(case).readings) == before + 1


def test_an_action_without_its_upload_is_refused_and_nothing_is_kept(
    served: Server, file: Path
) -> None:
    case, _ = opened(served)
    with served.client(AGENCY) as client:
        action = client.document_action(
            case, file, kind=DocumentKind.REPORT, title=TITLE, group=FieldGroup.HEALTH
        )
        field, document = document_of(action) or ("", None)
        assert document is not None
        other = action.model_copy(update={field: document.model_copy(update={"sha256": "0" * 64})})
        picture = document.model_copy(update={"media_type": "image/png"})
        wrong = action.model_copy(update={field: picture})
        stray = action.model_copy(update={"belongs_to": uuid4()})
        for refused_action, rule in (
            (other, "document-not-uploaded"),
            (wrong, "document-type"),
            (stray, "unknown-belonging"),
        ):
            with pytest.raises(RefusedError) as refused:
                client.append(refused_action, case, 1)
            assert refused.value.problem.rule == rule
        # A refusal of the rules gives the upload back: the same document goes with the next action.
        with pytest.raises(RefusedError) as refused:
            client.append(action, case, 7)
        assert refused.value.problem.rule == "case-version"
        receipt = client.append(action, case, 1)
        assert receipt.case_version == 2
        assert client.case(case, at_least=receipt.position).view.version == 2


def checked(served: Server, party: str, case: UUID) -> Sequence[VaultFinding]:
    """Return what the check of a country's vault finds of a case."""
    vault, node = served.node.vaults.of(party), served.node
    chunks = vault.documents.chunks
    check = vault_check(node.ledger, node.database, node.outbox, party, vault.keys, chunks)
    return check.check([case], served.agencies.protocol).findings


def annulling(action: UUID) -> Correction:
    return Correction(
        acted_at=datetime.now(UTC),
        corrects=action,
        reason=next(iter(CorrectionReason)),
        effect=CorrectionEffect.ANNULLED,
    )


def test_an_action_takes_its_document_in_the_same_act(served: Server, file: Path) -> None:
    case, _ = opened(served)
    (other := file.with_name("other.pdf")).write_bytes(pdf(900))
    papers = [
        DocumentFile(file, TITLE),
        DocumentFile(other, "A letter", DocumentKind.LETTER, CASE),
    ]
    with served.client(AGENCY) as client:
        with pytest.raises(ValueError, match="say the kind"):
            client.acts_with_documents(annulling(case), uuid4(), case, papers[:1])
        acts = client.acts_with_documents(CONSENT, action := uuid4(), case, papers)
        assert len(acts) == 2
        signed = [client.sign(one, case, action_id) for action_id, one in acts]
        receipts = [client.send(one, case, 1 + number) for number, one in enumerate(signed)]
        assert client.send(signed[0], case, 1) == receipts[0]  # as after a lost answer
        asked = [FieldGroup.IDENTITY], Purpose.PROTECTION
        own, letter = client.documents(case, *asked).documents
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert (own.id, own.belongs_to, own.group) == (action, action, FieldGroup.IDENTITY)
        assert own.document.document_kind is DocumentKind.CONSENT_FORM
        assert (letter.belongs_to, letter.group) == (action, None)
        to = file.with_name("again.pdf")
        assert client.download(case, action, to, purpose=Purpose.PROTECTION) == digest
        # Without the upload nothing of the action is recorded.
        lost = acts[0][1].model_copy(
            update={"identity_document": own.document.model_copy(update={"sha256": "0" * 64})}
        )
        with pytest.raises(RefusedError) as refused:
            client.append(lost, case, 3)
        assert refused.value.problem.rule == "document-not-uploaded"
        # A correction of the action is one of its document too.
        client.append(annulling(action), case, 3)
        page = client.documents(case).documents
        assert [one.id for one in page] == [letter.id]
        with pytest.raises(RefusedError) as refused:
            client.download(case, action, file.with_name("no"), purpose=Purpose.PROTECTION)
        assert refused.value.problem.rule == "unknown-document"


def test_the_coordinators_of_both_sides_sign_the_minutes(served: Server, file: Path) -> None:
    case, _ = opened(served)
    held = MeetingHeld(
        acted_at=START, host="XK", countries=("XK", "ME"), agencies=("xk-nac", "me-nac")
    )
    with served.client("xk-nac") as coordinator:
        (met,) = coordinator.act(held, case, 1, [DocumentFile(file, "Minutes")])
    assert met.action_id is not None

    def minutes(client: LedgerClient) -> ListedDocument | None:
        return next(
            (one for one in client.documents(case).documents if one.id == met.action_id), None
        )

    with served.client("me-nac") as other:
        until(lambda: minutes(other) is not None)
        one = minutes(other)
        assert one is not None
        assert [by.agency for by in one.signatures] == ["xk-nac"]
        assert one.unsigned_by == ("ME",)
        signature = other.sign_document(one)
        changed = one.document.model_copy(update={"sha256": "0" * 64})
        for refused_act, rule in (
            (signature.model_copy(update={"case_document": changed}), "another-document"),
            (signature.model_copy(update={"signs": uuid4()}), "unknown-signed"),
        ):
            with pytest.raises(RefusedError) as refused:
                other.append(refused_act, case, 2)
            assert refused.value.problem.rule == rule
        second = other.append(signature, case, 2)
        by = minutes(other)
        assert by is not None
        assert [(one.agency, one.action) for one in by.signatures] == [
            ("xk-nac", met.action_id),
            ("me-nac", second.action_id),
        ]
        assert by.unsigned_by == ()
        # A signature has no content of its own, and none signs a signature.
        assert len(other.documents(case).documents) == 1
        with pytest.raises(RefusedError) as refused:
            other.append(signature.model_copy(update={"signs": second.action_id}), case, 3)
        assert refused.value.problem.rule == "unknown-signed"
        other.append(annulling(second.action_id), case, 3)
        by = minutes(other)
        assert by is not None
        assert [one.agency for one in by.signatures] == ["xk-nac"]
    with served.client(AGENCY) as police, pytest.raises(RefusedError) as refused:
        police.append(signature, case, 4)
    assert refused.value.problem.rule == "minutes-signature"
    check = checked(served, "ME", case)
    assert [finding.what for finding in check] == []


def test_the_node_makes_papers_that_an_agency_files(served: Server, tmp_path: Path) -> None:
    case, opening_told = opened(served, first_name="Zqname", phone="+38344100200")
    with served.client("xk-csw-prishtina") as client:
        client.case(case, at_least=opening_told.position)
        (summary,) = client.make_documents(case, MadeKind.SUMMARY, "sq")
        receipt = client.append(summary, case, 1)
        (one,) = client.documents(case).documents
        assert (one.document.language, one.document.document_kind) == ("sqi", DocumentKind.REPORT)
        read = tmp_path / "summary.pdf"
        digest = client.download(case, receipt.action_id, read, purpose=Purpose.PROTECTION)
        assert (digest, read.read_bytes()[:5]) == (one.document.sha256, b"%PDF-")
        before = client.readings(case).readings
        acts = client.make_documents(case, MadeKind.PERSON_FILE, "en")
        made = [document_of(act) for act in acts]
        assert [field for field, _ in filter(None, made)][:2] == [
            "case_document",
            "identity_document",
        ]
        entries = client.readings(case).readings[len(before) :]
        given = [one for one in entries if one.asked.operation is Operation.SUBJECT_ACCESS]
        assert len(given) == 1  # the comparison of cases has entries too, at any time
        identity = client.append(acts[1], case, 2)
        consented(served, case, 3)
        read = tmp_path / "identity.pdf"
        client.download(case, identity.action_id, read, purpose=Purpose.PROTECTION)
        told = "".join(page.extract_text() for page in PdfReader(read).pages)
        assert "part of the file" in told
        assert "Who has read" not in told
        for asked, rule in (
            ({"made": MadeKind.FORM, "language": "en"}, "request"),
            ({"made": MadeKind.SUMMARY, "language": "en", "form": uuid4()}, "request"),
            ({"made": MadeKind.SUMMARY, "language": "de"}, "language"),
            ({"made": MadeKind.FORM, "language": "en", "form": uuid4()}, "no-such-form"),
        ):
            with pytest.raises(RefusedError) as refused:
                client.make_documents(case, **asked)  # type: ignore[arg-type]
            assert refused.value.problem.rule == rule
    with served.client(AGENCY) as police, pytest.raises(RefusedError) as refused:
        police.make_documents(case, MadeKind.PERSON_FILE, "en")
    assert refused.value.problem.rule == "access-matrix"
    with served.client("xk-ombudsperson") as body, pytest.raises(RefusedError) as refused:
        body.make_documents(case, MadeKind.SUMMARY, "en")
    assert refused.value.problem.rule == "no-documents"


@pytest.mark.process
def test_a_filed_paper_says_what_was_annulled_since(served: Server, file: Path) -> None:
    """The paper outlives what it was made of, so each list names it, in every country."""
    case, told = opened(served, countries=("XK", "ME"), first_name="Zqname")
    letter_sent, consent = added(served, case, 1, file), consented(served, case, 2)
    with served.client("xk-csw-prishtina") as client:
        client.case(case, at_least=consent.position)
        (summary,) = client.make_documents(case, MadeKind.SUMMARY, "en")
        assert summary.paper_as_of == 3
        for untrue in (summary.model_copy(update={"paper_as_of": 2}),
                       summary.model_copy(update={"paper_as_of": None})):  # fmt: skip
            with pytest.raises(RefusedError) as refused:
                client.append(untrue, case, 3)
            assert refused.value.problem.rule == "another-paper"
        client.append(summary, case, 3)
        parts = client.make_documents(case, MadeKind.PERSON_FILE, "en")
        identity = next(one for one in parts if one.identity_document is not None)
        filed = client.append(identity, case, 4)
    with served.client(AGENCY) as client:
        later = client.append(annulling(consent.action_id), case, 5)
        later = client.append(annulling(letter_sent.action_id), case, 6)
        client.case(case, at_least=later.position)

        def papers(other: LedgerClient, *groups: FieldGroup) -> dict[UUID, tuple[UUID, ...]]:
            listed = other.documents(case, groups, Purpose.PROTECTION if groups else None)
            return {one.id: one.annulled_in_it for one in listed.documents}

        both = (letter_sent.action_id, consent.action_id)
        assert list(papers(client).values()) == [both]
        # A part of the person's file tells of the kinds that have fields of its group.
        assert papers(client, FieldGroup.IDENTITY)[filed.action_id] == both
        table = Console(width=300, file=io.StringIO())
        table.print(documents_table(client.documents(case).documents))
        assert isinstance(table.file, io.StringIO)
        assert f"annulled since, and told here: {consent.action_id}" in table.file.getvalue()
    with served.client("me-nac") as there:
        until(lambda: list(papers(there).values()) == [both])
    with served.client("xk-csw-prishtina") as client:
        (again,) = client.make_documents(case, MadeKind.SUMMARY, "en")
        receipt = client.append(again, case, 7)
        assert papers(client)[receipt.action_id] == ()
    with signed_in(served, "xk-csw-prishtina") as pages:
        shown = pages.get(f"/cases/{case}/documents").text
        assert "may tell of what was annulled since" in shown
        form = pages.get(f"/cases/{case}/act/correction").text
        assert "tells of actions up to number 3" in form
        assert "tells of actions up to number 7" in form
    assert told.case_version == 1


def test_an_annulled_document_does_not_open_and_a_lost_one_is_found(
    served: Server, file: Path
) -> None:
    case, _ = opened(served)
    receipt = added(served, case, 1, file)
    with psycopg.connect(served.node.conninfo) as connection:
        row = connection.execute(
            "DELETE FROM vault_xk.documents WHERE action_id = %s RETURNING *", (receipt.action_id,)
        ).fetchone()
        assert row is not None
        connection.commit()
    found = checked(served, "XK", case)
    assert [(one.what, one.field) for one in found] == [
        ("the content of the document is missing", "case_document")
    ]
    other = added(served, case, 2, file)
    with served.client(AGENCY) as client:
        client.append(annulling(other.action_id), case, 3)
        assert [one.id for one in client.documents(case).documents] == [receipt.action_id]
        with pytest.raises(RefusedError) as refused:
            client.download(case, other.action_id, file.with_name("no"), purpose=Purpose.PROTECTION)
    assert refused.value.problem.rule == "unknown-document"


def test_the_contents_of_a_vault_are_compared_with_the_signed_digests(
    served: Server, file: Path
) -> None:
    case, _ = opened(served)
    receipt = added(served, case, 1, file)
    vault, conninfo = served.node.vaults.of("XK"), served.node.conninfo

    def findings() -> list[str]:
        check = ContentCheck("XK", vault.keys, vault.documents.chunks)
        found = [
            what for row, what in check.findings(conninfo) if row["action_id"] == receipt.action_id
        ]
        assert check.checked > 0
        return found

    def changed(sealed: bytes | None = None) -> None:
        """Change a chunk as the database's owner can."""
        new = "overlay(sealed placing '\\x00'::bytea from 50)" if sealed is None else "%(new)s"
        statement = (
            f"UPDATE vault_xk.document_chunks c SET sealed = {new} FROM vault_xk.documents d"
            " WHERE d.document_id = c.document_id AND d.action_id = %(action)s AND number = 0"
        )
        values = {"action": receipt.action_id, "new": sealed}
        with psycopg.connect(conninfo) as connection:
            assert connection.execute(statement.encode(), values).rowcount == 1

    assert findings() == []
    with psycopg.connect(conninfo, row_factory=dict_row) as connection:
        row = connection.execute(
            "SELECT * FROM vault_xk.documents WHERE action_id = %s", (receipt.action_id,)
        ).fetchone()
    assert row is not None
    place, content = place_of(row), file.read_bytes()[: place_of(row).length(0)]
    changed()
    assert findings() == ["a chunk of the document was changed"]
    # Whoever has the keys too seals another content at the place.
    content_key = opened_content_key(vault.keys, row)
    changed(seal_chunk(content_key, content[:-1] + b"?", place, 0))
    assert findings() == ["the content has another digest than the action that was signed"]
    changed(seal_chunk(content_key, content, place, 0))
    assert findings() == []
    named = make_conninfo(conninfo, options="-c role=case_ledger_vault_xk")
    with pytest.raises(NotOwnerError):
        list(ContentCheck("XK", vault.keys, vault.documents.chunks).findings(named))


@pytest.mark.process
def test_a_download_is_a_marked_copy_unless_the_original_is_asked_for(
    served: Server, file: Path, tmp_path: Path
) -> None:
    case, _ = opened(served)
    file.write_bytes(scan(3))
    receipt = added(served, case, 1, file)
    url = f"{served.url}/v1/cases/{case}/documents/{receipt.action_id}/content"
    headers = authorised(served) | {"Range": "bytes=0-9"}
    answer = httpx.get(url, params={"purpose": "protection"}, headers=headers)
    assert (answer.status_code, answer.headers["document-copy"]) == (200, "marked")
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["content-disposition"].startswith('attachment; filename="copy-of-')
    pages = PdfReader(io.BytesIO(answer.content)).pages
    assert len(pages) == 3
    assert all(page.mediabox.height > 400 for page in pages)
    get = ("document", "get", case, receipt.action_id)
    own = ("--purpose", "protection", "-a", AGENCY)
    told = command(served, tmp_path, *get, tmp_path / "copy.pdf", *own)
    assert "your mark on each page" in " ".join(told.split())
    command(served, tmp_path, *get, tmp_path / "original.pdf", *own, "--original")
    assert (tmp_path / "original.pdf").read_bytes() == file.read_bytes()
    assert (tmp_path / "copy.pdf").read_bytes() != file.read_bytes()
    # Each is an entry of the access log, which says which of both it was.
    with served.client(AGENCY) as client:
        entries = client.readings(case).readings
        kinds = [one.copy_kind for one in entries if one.concerning == receipt.action_id]
        assert kinds == ["marked", "marked", "original"]
        (office := tmp_path / "letter.docx").write_bytes(docx())
        letter = added(served, case, 2, office)
        with pytest.raises(RefusedError) as refused:
            client.download(
                case, letter.action_id, tmp_path / "no", purpose=Purpose.PROTECTION,
                copy=CopyKind.MARKED,
            )  # fmt: skip
        assert refused.value.problem.rule == "document-not-markable"
        to = tmp_path / "again.docx"
        client.download(case, letter.action_id, to, purpose=Purpose.PROTECTION)
        assert to.read_bytes() == office.read_bytes()


@pytest.mark.process
def test_a_version_without_pages_is_a_document_that_names_its_original(
    served: Server, file: Path, tmp_path: Path
) -> None:
    case, _ = opened(served)
    file.write_bytes(scan(4))
    receipt = added(served, case, 1, file, FieldGroup.IDENTITY)
    asked = ("document", "redact", case, receipt.action_id, "--purpose", "protection")
    own = ("-g", "identity", "-a", AGENCY)
    refused = command(served, tmp_path, *asked, "--leave-out", "5", *own, code=2)
    assert "document-page" in refused
    command(served, tmp_path, *asked, "--leave-out", "2,4", "--title", "For the court", *own)
    with served.client(AGENCY) as client:
        page = client.documents(case, [FieldGroup.IDENTITY], Purpose.PROTECTION)
        original, version = page.documents
        assert (original.redacts, version.redacts) == (None, original.id)
        assert (version.pages_left_out, version.group) == ("2,4", FieldGroup.IDENTITY)
        assert (version.pages_of_original, version.pages_marked) == (4, None)
        assert (version.agency, version.document.title) == (AGENCY, "For the court")
        to = tmp_path / "version.pdf"
        client.download(case, version.id, to, purpose=Purpose.PROTECTION)
        assert len(PdfReader(to).pages) == 2
        # The making was a reading of the original, and the original is as it was.
        log = [one.concerning for one in client.readings(case).readings if one.granted]
        assert original.id in log
        action = client.document_action(
            case, file, kind=DocumentKind.REPORT, title=TITLE, group=FieldGroup.HEALTH
        )
        stray = action.model_copy(update={"redacts": uuid4()})
        with pytest.raises(RefusedError) as unknown:
            client.append(stray, case, 3)
        assert unknown.value.problem.rule == "unknown-redacted"
        # A document that this node did not compare with the original is no version of it.
        stray = action.model_copy(update={"redacts": original.id})
        with pytest.raises(RefusedError) as unknown:
            client.append(stray, case, 3)
        assert unknown.value.problem.rule == "version-not-compared"
    table = Console(width=300, file=io.StringIO())
    table.print(documents_table(page.documents))
    assert isinstance(table.file, io.StringIO)
    assert f"version of {original.id} without pages 2, 4" in table.file.getvalue()


@pytest.mark.process
def test_a_version_says_what_was_hidden_and_is_compared_with_its_original(
    served: Server, file: Path, tmp_path: Path
) -> None:
    case, _ = opened(served)
    writer = PdfWriter()
    for line in ("Ana Marovic", "School", "Health"):
        writer.append(io.BytesIO(letter(line)))
    writer.write(file)
    receipt = added(served, case, 1, file, FieldGroup.IDENTITY)
    asked = ("document", "redact", case, receipt.action_id, "--purpose", "protection")
    own = ("-g", "identity", "-a", AGENCY)
    hidden = ("--mark", "1:20,10,60,4", "--leave-out", "3", "--title", "Version")
    command(served, tmp_path, *asked, *hidden, *own)
    compare = ("document", "compare", case)
    to = ("--purpose", "protection", "-a", AGENCY)
    with served.client(AGENCY) as client:

        def listed() -> Sequence[ListedDocument]:
            return client.documents(case, [FieldGroup.IDENTITY], Purpose.PROTECTION).documents

        original, version = listed()
        assert (version.pages_left_out, version.pages_marked) == ("3", "1")
        assert version.pages_of_original == 3
        assert "Each page that is said" in command(served, tmp_path, *compare, version.id, *to)
        assert "not-a-version" in command(served, tmp_path, *compare, original.id, *to, code=2)
        # What the version is said to be must be what the node found.
        made = client.redact_document(
            case, original.id, None, [mark(2)], purpose=Purpose.PROTECTION
        )
        picture = client.upload_preview(case, made.id, 2, purpose=Purpose.PROTECTION)
        before = client.preview(case, original.id, 2, purpose=Purpose.PROTECTION)
        assert (picture.pages, before.pages) == (3, 3)
        assert picture.picture != before.picture
        entries = [one for one in client.readings(case).readings if one.granted]
        assert [one.concerning for one in entries[-3:]] == [original.id] * 3
        assert made.version_of is not None
        for untrue, rule in (
            ({"pages_marked": None}, "another-version"),
            ({"pages_of_original": 4}, "another-version"),
            ({"redacts": version.id}, "version-not-compared"),
        ):
            action = version_action(made, original) | untrue
            with pytest.raises(RefusedError) as refused:
                client.append(DocumentAdded.model_validate(action), case, 3)
            assert refused.value.problem.rule == rule
        # An own version: what it changes must be said.
        writer = PdfWriter()
        for line in ("Ana Marovic", "[hidden]", "Health"):
            writer.append(io.BytesIO(letter(line)))
        writer.write(ours := tmp_path / "ours.pdf")
        refused_by = command(
            served, tmp_path, *asked, "--own", ours, "--pages-marked", "1", *own, code=2
        )
        assert "version-differs" in refused_by
        refused_by = command(
            served, tmp_path, *asked, "--own", ours, "--leave-out", "2", *own, code=2
        )
        assert "version-pages" in refused_by
        command(served, tmp_path, *asked, "--own", ours, "--pages-marked", "2", *own)
        assert listed()[-1].pages_marked == "2"
        # A file of which the node draws no page is a version that says so: it names no number.
        (office := tmp_path / "letter.docx").write_bytes(docx())
        command(served, tmp_path, *asked, "--own", office, "--pages-marked", "1-3", *own)
        assert (listed()[-1].pages_marked, listed()[-1].pages_of_original) == ("1-3", None)


@pytest.mark.process
def test_another_country_checks_a_version_as_far_as_it_can(
    served: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original of the first version is not here. A hostile country's node checks nothing."""
    case, _ = opened(served, countries=("XK", "ME"))
    file.write_bytes(scan(3))
    original = added(served, case, 1, file, FieldGroup.IDENTITY).action_id
    purpose = Purpose.PROTECTION
    with served.client(AGENCY) as client:

        def version(of: UUID, at: int, **untrue: object) -> UUID:
            made = client.redact_document(case, of, "2", [mark(1)], purpose=purpose)
            assert made.version_of is not None
            said = made.version_of.model_dump(exclude={"document"})
            document = CaseDocument(
                sha256=made.sha256, size=made.size, media_type="application/pdf",
                document_kind=DocumentKind.REPORT, title=f"Version {at}",
            )  # fmt: skip
            content = {"acted_at": datetime.now(UTC), "redacts": of, "case_document": document}
            action = DocumentAdded.model_validate(content | said)
            receipt = client.append(action.model_copy(update=untrue), case, at)
            client.case(case, at_least=receipt.position)
            return receipt.action_id

        honest = version(original, 2)
        monkeypatch.setattr(named_documents, "_check_origin", lambda *_: None)
        untrue = version(original, 3, pages_of_original=9)
        with monkeypatch.context() as other:
            other.setattr(documents, "version_trouble", lambda _: None)
            contradictory = version(original, 4, pages_of_original=1)
        shared = added(served, case, 5, file).action_id
        hidden = version(shared, 6, pages_marked=None)
    with served.client("me-nac") as there:

        def compared(action: UUID) -> tuple[bool, bool, Sequence[int]]:
            found = there.compare_version(case, action, purpose=purpose)
            return found.is_compared, found.agrees, found.differing

        until(lambda: sum(one.is_here for one in there.documents(case).documents) == 5)
        assert compared(honest) == (False, True, ())
        assert compared(untrue) == (False, False, ())
        assert compared(hidden) == (True, False, (1,))
        listed = {one.id: one for one in there.documents(case).documents}
        assert [listed[one].pages_contradict for one in (honest, contradictory)] == [False, True]
    with signed_in(served, "me-nac") as pages:
        assert "contradicts itself" in pages.get(f"/cases/{case}/documents").text


def mark(page: int) -> PageMark:
    return PageMark(page=page, left=2_000, top=1_000, width=6_000, height=400)


def version_action(made: UploadState, original: ListedDocument) -> dict[str, object]:
    """Return the content of the action that adds a version, as the node answered."""
    assert made.version_of is not None
    content = addition(original, made, FieldGroup.IDENTITY, None).model_dump(exclude_none=True)
    return content | {"redacts": original.id} | made.version_of.model_dump(exclude={"document"})


def test_all_documents_of_a_person_are_one_archive(
    served: Server, file: Path, tmp_path: Path
) -> None:
    case, _ = opened(served)
    first = added(served, case, 1, file, FieldGroup.HEALTH)
    (small := file.with_name("small.pdf")).write_bytes(PDF)
    second, back = added(served, case, 2, small), added(served, case, 3, small)
    elsewhere = added(served, case, 4, small)
    with psycopg.connect(served.node.conninfo) as connection:
        connection.execute(
            "DELETE FROM vault_xk.documents WHERE action_id = %s", (elsewhere.action_id,)
        )
    handing = "xk-csw-prishtina"
    with served.client(handing) as client:
        to, ground = tmp_path / "documents.zip", HeldBackGround.ANOTHER_PERSON
        with pytest.raises(RefusedError) as refused:
            client.subject_documents(case, to, "en", {uuid4(): ground})
        assert (refused.value.problem.rule, to.exists()) == ("unknown-document", False)
        before = client.readings(case).readings[-1].seq
        client.subject_documents(case, to, "en", {back.action_id: ground})
        later = [one for one in client.readings(case).readings if one.seq > before]
    # The comparison of cases has entries too, at any time.
    log = [one for one in later if one.asked.operation is Operation.SUBJECT_ACCESS]
    assert to.stat().st_mode & 0o777 == 0o600
    # The request, then what is held back, then each document before it is opened.
    assert [(one.concerning, one.granted, one.refused_by) for one in log] == [
        (None, True, None),
        (back.action_id, False, "held-back"),
        (first.action_id, True, None),
        (second.action_id, True, None),
    ]
    with zipfile.ZipFile(to) as archive:
        assert archive.testzip() is None
        index = ArchiveIndex.model_validate_json(archive.read("index.json"))
        lines = {one.id: one for one in index.documents}
        assert {one: line.state.value for one, line in lines.items()} == {
            first.action_id: "given",
            second.action_id: "given",
            back.action_id: "held_back",
            elsewhere.action_id: "elsewhere",
        }
        for action, content in ((first.action_id, file.read_bytes()), (second.action_id, PDF)):
            name = lines[action].file
            assert name is not None
            assert archive.read(name) == content
            assert hashlib.sha256(content).hexdigest() == lines[action].document.sha256
        assert len(archive.namelist()) == 4
        page = archive.read("index.html").decode()
        assert page.count(TITLE) == 4
        assert "not given: it tells of another person" in page
    held = f"{back.action_id}=danger"
    done = command(
        served, tmp_path, "subject-access", case, tmp_path / "again.zip", "--language", "sq",
        "--hold-back", held, "-a", handing, agency=handing,
    )  # fmt: skip
    assert "with an index" in done
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert "Dokumente për ju" in archive.read("index.html").decode()
    # The page of personal data saves the same, for an agency that hands out.
    with signed_in(served, handing) as browser:
        browser.headers["Accept-Language"] = "en"
        action = f"/cases/{case}/subject-access/documents"
        assert action in browser.get(f"/cases/{case}/personal").text
        saved = browser.post(action, headers=FROM_HERE)
        choice = browser.post(action.replace("/documents", "/choice"), headers=FROM_HERE)
        assert f'name="held-{back.action_id}"' in choice.text
        chosen = {f"held-{back.action_id}": "danger"}
        held_back = browser.post(action, data=chosen, headers=FROM_HERE)
        wrong = browser.post(action, data={"held-x": "danger"}, headers=FROM_HERE)
        assert wrong.status_code == 422
    with zipfile.ZipFile(io.BytesIO(saved.content)) as archive:
        assert len(archive.namelist()) == 5
    with zipfile.ZipFile(io.BytesIO(held_back.content)) as archive:
        assert len(archive.namelist()) == 4
        assert "not given: it would put somebody in danger" in archive.read("index.html").decode()
    with signed_in(served, AGENCY) as browser:
        assert action not in browser.get(f"/cases/{case}/personal").text
        assert browser.post(action, headers=FROM_HERE).status_code == 403
    # An agency that may not hand out a person's file hands out no documents.
    with served.client(AGENCY) as client, pytest.raises(RefusedError) as refused:
        client.subject_documents(case, tmp_path / "no.zip", "en")
    assert refused.value.problem.rule == "access-matrix"


def test_a_document_of_the_wrong_case_is_moved_and_opens_there_no_more(
    served: Server, file: Path, tmp_path: Path
) -> None:
    wrong, _ = opened(served)
    right, _ = opened(served)
    receipt = added(served, wrong, 1, file, FieldGroup.IDENTITY)
    moved = ("document", "move", wrong, receipt.action_id, "--to", right)
    asked = ("--purpose", "protection", "-g", "identity", "-a", AGENCY)
    command(served, tmp_path, *moved, *asked)
    with served.client(AGENCY) as client:
        (there,) = client.documents(right, [FieldGroup.IDENTITY], Purpose.PROTECTION).documents
        assert (there.agency, there.group) == (AGENCY, FieldGroup.IDENTITY)
        assert (there.case_id, there.document.title) == (right, TITLE)
        to = file.with_name("moved.pdf")
        client.download(right, there.id, to, purpose=Purpose.PROTECTION)
        assert to.read_bytes() == file.read_bytes()
        assert client.documents(wrong, [FieldGroup.IDENTITY], Purpose.PROTECTION).documents == ()
        with pytest.raises(RefusedError) as gone:
            client.download(
                wrong, receipt.action_id, file.with_name("no"), purpose=Purpose.PROTECTION
            )
        assert gone.value.problem.rule == "unknown-document"
        # The copy was a reading in the wrong case, which names the document.
        log = [one for one in client.readings(wrong).readings if one.granted]
        assert receipt.action_id in {one.concerning for one in log}
        kinds = [one.kind for one in client.trail(wrong)]
        assert kinds[-1] == "correction"
    # What a stopped move did is not done again: the document is in the right case already.
    again = added(served, wrong, 3, file)
    at_case = added(served, right, 2, file)
    command(
        served, tmp_path, "document", "move", wrong, again.action_id, "--to", right, "--purpose",
        "protection", "-a", AGENCY,
    )  # fmt: skip
    with served.client(AGENCY) as client:
        assert [one.id for one in client.documents(right).documents] == [at_case.action_id]
        assert client.documents(wrong).documents == ()


@pytest.mark.process
def test_another_countrys_document_becomes_no_upload_of_this_one(
    served: Server, file: Path
) -> None:
    """An own document could be added to another case, and released to a further country."""
    case, _ = opened(served, countries=("XK", "ME"))
    file.write_bytes(scan(2))
    receipt = added(served, case, 1, file)
    own, purpose = uuid4(), Purpose.PROTECTION
    with served.client("me-nac") as client:
        until(lambda: any(one.is_here for one in client.documents(case).documents))
        for made in (
            lambda: client.copy_document(case, receipt.action_id, own, purpose=purpose),
            lambda: client.redact_document(case, receipt.action_id, "1", purpose=purpose),
        ):
            with pytest.raises(RefusedError) as refused:
                made()
            assert refused.value.problem.rule == "received-document"
        to = file.with_name("read.pdf")
        client.download(case, receipt.action_id, to, purpose=purpose)
        assert to.read_bytes() == file.read_bytes()


@pytest.mark.process
def test_an_upload_that_the_node_made_of_a_document_is_shown_to_nobody(
    served: Server, file: Path
) -> None:
    """Each look at a document is an entry of the access log: a copy of it is no way around."""
    case, _ = opened(served)
    file.write_bytes(scan(2))
    receipt, purpose = added(served, case, 1, file, FieldGroup.IDENTITY), Purpose.PROTECTION
    other = uuid4()
    # An upload that was begun and never sent, with the digest that the list tells.
    begun(served, other, file.read_bytes())
    with served.client(AGENCY) as client:
        uploads = [
            (other, client.copy_document(case, receipt.action_id, other, purpose=purpose).id),
            (case, client.redact_document(case, receipt.action_id, "1", purpose=purpose).id),
        ]
    paper = {"made": "summary", "language": "en"}
    made = ask(served, "POST", f"/v1/cases/{case}/documents/made", json=paper).json()
    uploads.append((case, made["documents"][0]["upload"]["id"]))
    for to, upload in uploads:
        path = f"/v1/cases/{to}/uploads/{upload}"
        assert ask(served, "GET", path).json()["is_whole"]
        for method, way in (
            ("GET", "preview"), ("GET", "metadata"), ("POST", "without-metadata"),
        ):  # fmt: skip
            shown = ask(served, method, f"{path}/{way}")
            assert (shown.status_code, shown.json()["rule"]) == (403, "upload-of-node")
    # With a purpose, a redacted version is shown as a reading of its original, and nothing else is.
    of_version = uploads[1][1]
    for to, upload in uploads:
        asked = f"/v1/cases/{to}/uploads/{upload}/preview?purpose=protection"
        with served.client(AGENCY) as client:
            before = len([one for one in client.readings(case).readings if one.granted])
            shown = ask(served, "GET", asked)
            now = [one for one in client.readings(case).readings if one.granted]
        assert shown.status_code == (200 if upload == of_version else 403)
        if upload == of_version:
            assert [one.concerning for one in now[before:]] == [receipt.action_id]
    # Who may not read the original sees no version of it: the document is annulled.
    with served.client(AGENCY) as client:
        client.append(annulling(receipt.action_id), case, 2)
    refused = ask(
        served, "GET", f"/v1/cases/{case}/uploads/{of_version}/preview?purpose=protection"
    )
    assert (refused.status_code, refused.json()["rule"]) == (404, "unknown-document")


def test_a_document_gets_another_field_group(served: Server, file: Path, tmp_path: Path) -> None:
    case, _ = opened(served)
    receipt = added(served, case, 1, file)
    consented(served, case, 2)
    move = ("document", "move", case, receipt.action_id, "--to", case, "--purpose", "protection")
    assert "there already" in command(served, tmp_path, *move, "-a", AGENCY, code=1)
    # A group that the police do not read: they may still put the document where it belongs.
    command(served, tmp_path, *move, "--new-group", "health", "-a", AGENCY)
    with served.client("xk-csw-prishtina") as client:
        page = client.documents(case, [FieldGroup.HEALTH], Purpose.PROTECTION)
        assert [one.group for one in page.documents] == [FieldGroup.HEALTH]


def command(
    served: Server, directory: Path, *words: object, code: int = 0, agency: str = AGENCY
) -> str:
    """Run a command as an agency's person does, with the agency's key file."""
    settings = served.settings.model_copy(update={"data_directory": directory / "own"})
    settings.key_directory.mkdir(parents=True, exist_ok=True)
    if not (file := settings.key_directory / f"{agency}.jwk").exists():
        keys.save(served.agencies.keys[agency], file)
    env = {
        "CASE_LEDGER_URL": served.url,
        "CASE_LEDGER_DATA_DIRECTORY": str(settings.data_directory),
    }
    done = CliRunner(env=env).invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def test_subject_access_lists_documents(served: Server, file: Path) -> None:
    case, _ = opened(served)
    added(served, case, 1, file, FieldGroup.HEALTH)
    (small := file.with_name("small.pdf")).write_bytes(PDF)
    added(served, case, 2, small)
    with served.client("xk-csw-prishtina") as client:
        told = client.subject_access(case, "en").decode()
    assert told.count(TITLE) >= 2
    digest = hashlib.sha256(PDF).hexdigest()
    assert digest in told
    document = {
        "sha256": digest,
        "size": 1234567,
        "media_type": "application/pdf",
        "document_kind": "consent_form",
        "language": "sqi",
        "title": TITLE,
    }
    (line,) = wording("en").value("document_added", "case_document", document, {})
    assert line.startswith(
        f"{TITLE}, consent form, Albanian, application/pdf, 1,234,567 B, SHA-256"
    )


@pytest.mark.process  # the command reads the metadata of each file in one
def test_commands_act_with_documents_and_file_papers(served: Server, tmp_path: Path) -> None:
    case, _ = opened(served)
    (form := tmp_path / "consent.pdf").write_bytes(pdf(900))
    (letter := tmp_path / "letter.pdf").write_bytes(pdf(901))
    by = ("--case", case, "-a", AGENCY)
    consent = ("act", "consent_given", "scopes=assistance", "given_by=person", "form=written")
    consent = (*consent, "acted_at=2026-01-06T08:00:00Z", *by)
    told = command(served, tmp_path, *consent, "--document", f"{form}:paper", code=1)
    assert "no kind of document" in " ".join(told.split())
    papers = ("--document", form, "--document", f"{letter}:letter:case:A letter")
    told = command(served, tmp_path, *consent, *papers)
    assert told.count("Recorded") == 2
    assert [*(tmp_path / "own" / "unsent").glob("*")] == []
    with served.client(AGENCY) as client:
        until(lambda: client.case(case).view.version == 3)
        _, consented, added = client.trail(case)
        assert (consented.kind, added.kind) == ("consent_given", "document_added")
        (one,) = client.documents(case).documents
        assert (one.belongs_to, one.document.title) == (consented.action_id, "A letter")
    told = command(served, tmp_path, "document", "sign", case, one.id, form, "-a", AGENCY, code=1)
    assert "is not the document" in " ".join(told.split())
    command(served, tmp_path, "document", "file", "summary", case, "-a", AGENCY)
    with served.client(AGENCY) as client:
        assert [one.document.title[:12] for one in client.documents(case).documents] == [
            "A letter",
            "Case summary",
        ]
