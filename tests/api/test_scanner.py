"""The malware scanner: only a whole stream that it calls clean counts. All else fails closed."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from api.client.errors import RefusedError
from api.runtime.clamd import ClamdScanner
from ledger.vault.documents.scanning import MalwareError, NotScannedError
from ledger.vocabulary.picklists import DocumentKind
from tests.api.test_case_documents import opened
from tests.api.test_document_uploads import ask, begun, offset, part
from tests.support.clamd import FakeClamd, fake_clamd
from tests.support.papers import PDF, pdf
from tests.support.serving import Server

AGENCY = "xk-dhtqnj"


@pytest.fixture
def clamd(tmp_path: Path) -> Iterator[FakeClamd]:
    with fake_clamd(tmp_path / "clamd.ctl") as made:
        yield made


@pytest.fixture
def scanned(
    served_once: Server, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The served node with a scanner, which is configured from now on."""
    scanner = ClamdScanner(clamd.address, 5.0)
    monkeypatch.setattr(served_once.node.vaults.of("XK").documents, "_scanner", scanner)
    return served_once


def test_a_clean_content_is_examined_in_whole(clamd: FakeClamd) -> None:
    parts = [b"a" * 300_000, b"", b"b" * 5]
    scanner = ClamdScanner(clamd.address, 5.0)
    scanner.scan(parts)
    assert clamd.streams == [b"".join(parts)]
    assert scanner.troubles() == ()


@pytest.mark.parametrize(
    "answer",
    [
        b"stream: OK",  # without its end, and the line is closed
        b"stream: OK\n\x00",
        b"STREAM: OK\x00",
        b"stream: OK\x00stream: OK\x00",
        b"stream: Eicar FOUND\x00more",
        b"",
        b"\x00",
        b"\xff\xfe\xfd\x00",
        b"x" * 10_000,
        b"INSTREAM size limit exceeded. ERROR\x00",
        b"stream: Can't allocate memory ERROR\x00",
        b"UNKNOWN COMMAND\x00",
    ],
)
def test_any_other_answer_fails_closed(clamd: FakeClamd, answer: bytes) -> None:
    clamd.answer = lambda _: answer
    with pytest.raises(NotScannedError):
        ClamdScanner(clamd.address, 5.0).scan([PDF])


def test_malware_is_named(clamd: FakeClamd) -> None:
    clamd.answer = lambda _: b"stream: Win.Test.EICAR_HDB-1 FOUND\x00"
    with pytest.raises(MalwareError, match=r"^Win.Test.EICAR_HDB-1$"):
        ClamdScanner(clamd.address, 5.0).scan([PDF])


def test_a_line_that_breaks_or_hangs_fails_closed(clamd: FakeClamd, tmp_path: Path) -> None:
    long = [bytes(256 * 1024)] * 20
    clamd.most_bytes = 300_000
    with pytest.raises(NotScannedError):
        ClamdScanner(clamd.address, 5.0).scan(long)
    clamd.most_bytes, clamd.half_closed = 10**9, True
    with pytest.raises(NotScannedError):
        ClamdScanner(clamd.address, 5.0).scan([PDF])
    clamd.half_closed = False
    begins = time.monotonic()
    clamd.answer = lambda _: time.sleep(3) or b"stream: OK\x00"  # type: ignore[func-returns-value]
    with pytest.raises(NotScannedError):
        ClamdScanner(clamd.address, 0.2).scan([PDF])
    assert time.monotonic() - begins < 2.5
    away = ClamdScanner(f"unix:{tmp_path / 'none'}", 1.0)
    with pytest.raises(NotScannedError):
        away.scan([PDF])
    assert [one.rule for one in away.troubles()] == ["scanner-away"]
    with pytest.raises(NotScannedError):
        ClamdScanner("tcp://127.0.0.1:1", 1.0).scan([PDF])


def test_an_upload_that_is_refused_is_removed(scanned: Server, clamd: FakeClamd) -> None:
    clamd.answer = lambda _: b"stream: Win.Test.EICAR_HDB-1 FOUND\x00"
    content = pdf(600_000)
    path = begun(scanned, uuid4(), content)
    refused = part(scanned, path, 0, content)
    assert (refused.status_code, refused.json()["rule"]) == (422, "document-infected")
    assert "EICAR" not in refused.text  # whoever probes the scanner learns no more
    assert ask(scanned, "HEAD", path).status_code == 404
    assert clamd.streams == [content]


def test_an_upload_that_was_not_examined_waits_for_the_scanner(
    scanned: Server, clamd: FakeClamd
) -> None:
    clamd.answer = lambda _: b"stream: no memory ERROR\x00"
    path = begun(scanned, uuid4(), PDF)
    told = part(scanned, path, 0, PDF)
    assert (told.status_code, told.json()["rule"]) == (503, "not-scanned")
    assert (told.headers["retry-after"], told.headers["tus-resumable"]) == ("10", "1.0.0")
    for way in ("", "/preview", "/metadata"):
        assert ask(scanned, "GET", path + way).json()["rule"] == "not-scanned"
    clamd.answer = lambda _: b"stream: OK\x00"
    assert offset(scanned, path) == len(PDF)
    assert ask(scanned, "GET", path).json()["is_whole"]
    count = len(clamd.streams)
    assert ask(scanned, "GET", path).json()["is_whole"]
    assert len(clamd.streams) == count  # it is examined once
    other = begun(scanned, uuid4(), PDF)
    clamd.answer = lambda _: b""
    part(scanned, other, 0, PDF)
    assert ask(scanned, "DELETE", other).status_code == 204


def test_no_action_has_an_upload_that_the_scanner_did_not_see(
    served_once: Server, clamd: FakeClamd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload of before the scanner was configured is examined when an action names it."""
    (file := tmp_path / "consent.pdf").write_bytes(PDF)
    case, _ = opened(served_once)
    with served_once.client(AGENCY) as client:
        client._patience = 0
        action = client.document_action(
            case, file, kind=DocumentKind.REPORT, title="Report", group=None
        )
        documents = served_once.node.vaults.of("XK").documents
        monkeypatch.setattr(documents, "_scanner", ClamdScanner(clamd.address, 5.0))
        clamd.answer = lambda _: b"stream: no memory ERROR\x00"
        with pytest.raises(RefusedError) as refused:
            client.append(action, case, 1)
        assert refused.value.problem.rule == "not-scanned"
        assert client.case(case).view.version == 1
        clamd.answer = lambda _: b"stream: OK\x00"
        assert client.append(action, case, 1).case_version == 2
